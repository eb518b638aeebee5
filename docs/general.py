"""Collects what launch/measure_general.sh measured into docs/results/, as `docs/tables.py` wants it, and
shows it on docs/results/general.md; `make docs` then fills the tables.

python docs/general.py protons OUT      writes general.json and surface_general.json
python docs/general.py particles OUT    writes identification.json

The columns of the specialist and of the published descent are cells of the results that are there. MACHINE in
the environment says what it ran on. Needs Python and git alone.
"""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"
PAGE, FIGURES = RESULTS / "general.md", RESULTS.parent / "figures"
PERCENT = 100.0


def read(path: Path) -> dict:
  """A JSON file."""
  return json.loads(path.read_text(encoding="utf-8"))


def write(name: str, title: str, command: str, *, columns: list[str], rows: list[list], note: str) -> Path:
  """Writes docs/results/NAME.json with the present commit; returns the path."""
  commit = subprocess.run(["git", "rev-parse", "--short=7", "HEAD"], cwd=RESULTS, capture_output=True,
                          text=True, check=True).stdout.strip()
  measured = {"commands": [command], "commit": commit, "machine": os.environ.get("MACHINE", "one CPU core")}
  content = {"title": title, "runs": [measured], "columns": columns, "rows": rows, "note": note}
  path = RESULTS / f"{name}.json"
  path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
  return path


def show(name: str, picture: Path | None = None, about: str = "") -> None:
  """Puts the marks of a table, and a picture above it, where the page says that it is not measured yet."""
  marks, text = f"<!-- table {name} -->\n<!-- end -->", PAGE.read_text(encoding="utf-8")
  if picture is not None:
    shutil.copy(picture, FIGURES / f"{name}.png")
    marks = f"![{about}](../figures/{name}.png)\n\n{marks}"
  PAGE.write_text(text.replace(f"*Not measured yet: {name}.*", marks), encoding="utf-8")


def farthest(values: list[float]) -> float:
  """Of ratios, how far the worst is from 1, in per cent, with its sign."""
  return round(PERCENT * (max(values, key=lambda x: abs(x - 1.0)) - 1.0), 1)


def closure(rows: list[dict]) -> dict[str, float]:
  """Generated over simulated, worst case in per cent: mean lengths, median and mean charges, mean dE/dx."""
  ratio = lambda name: [row[name][1] / row[name][0] for row in rows]
  bins = [list(zip(*row["dedx"], strict=True)) for row in rows]
  known = [[pair for pair in column if None not in pair] for column in zip(*bins, strict=True)]
  dedx = [sum(b for _, b in pairs) / sum(a for a, _ in pairs) for pairs in known if pairs]
  return {"length": farthest(ratio("length_mm")), "charge_median": farthest(ratio("charge_median")),
          "charge": farthest(ratio("charge_ratio")), "dedx": farthest(dedx)}


def auc(metrics: dict, name: str) -> list[float]:
  """[value, error] of a classifier in the metrics.json of launch.evaluate."""
  row = next(row for row in metrics["rows"] if row["metric"] == f"AUC, {name}")
  return [round(row["values"]["general"][key], 3) for key in ("value", "error")]


def protons(out: Path) -> list[Path]:
  """general.json and surface_general.json of a run of `measure_general.sh protons`."""
  command = "bash launch/measure_general.sh protons protons_geant4.npz protons64_images runs/general"
  found, one_view = (read(out / name / "results.json")["summary"] for name in ("infer", "infer_one_view"))
  near, metrics = closure(read(out / "fidelity" / "fidelity.json")), read(out / "report" / "metrics.json")
  rows_of = lambda name: read(RESULTS / f"{name}.json")["rows"]
  (published, base), ours = rows_of("published")[:2], rows_of("inference_random")[0]
  report, fidelity = rows_of("protons_report"), rows_of("fidelity")
  inferred, share = found["inferred"], lambda value: round(PERCENT * value, 1)
  rows = [
      ["median |dp|, MeV/c, two views, random starts", published[1], inferred["median_dp_mev"], ours[1]],
      ["68 %", published[2], inferred["q68_dp_mev"], ours[2]],
      ["95 %", published[3], inferred["q95_dp_mev"], ours[3]],
      ["above 50 MeV/c, all, %", None, share(inferred["share_above_50_mev"]), ours[5]],
      ["median EMD in xy at the end, px", published[5], found["median_emd_end_px"]["xy"], base[5]],
      ["median |dp|, MeV/c, one view, up to the sign of p_z", None, one_view["inferred"]["median_dp_mev"],
       None],
      ["s an event, two views", published[10], found["seconds_per_event"], base[10]],
      ["AUC of a CNN on images, 5,000 draws", None, auc(metrics, "CNN on images"), report[0][2]],
      ["AUC of boosting on features", None, auc(metrics, "boosting on physics"), report[-1][2]],
      ["mean length over Geant4's, worst of 18 samples, %", None, near["length"], fidelity[0][4]],
      ["median charge, worst, %", None, near["charge_median"], fidelity[1][4]],
      ["mean charge, worst, %", None, near["charge"], fidelity[2][4]],
      ["mean dE/dx, worst of nine bins, %", None, near["dedx"], fidelity[3][4]]]
  rows = [[round(cell, 1) if isinstance(cell, float) and cell > 1 else
           round(cell, 2) if isinstance(cell, float) else cell for cell in row] for row in rows]
  number = found["num_events"]
  note = (f"{number} sample events, {one_view['num_events']} for one view. Published form: the descent "
          "of the 2026 talk by the specialist's generator, first 16, as the specialist's EMD and seconds. "
          f"Charge and centroids alone: {found['classical']['median_dp_mev']:.1f} MeV/c. "
          f"{found['num_converged']} of {number} converged. 12 sampler steps, but 5 in the inference.")
  columns = ["quantity", "published form", "general", "specialist"]
  first = write("general", "Published form, general generator (images and labels alone), specialist", command,
                columns=columns, rows=rows, note=note)
  ends = read(out / "surface" / "surface.json")
  cells = lambda i: [*(round(x) for x in ends["momentum_mev"][i]), *(
      round(ends[name][i], 3) for name in ("mean_px", "best_px", "published_px", "charge_off"))]
  show("general")
  show("surface_general", out / "surface" / "surface.png",
       "Objective over px and py with truth, start, descent and end; how far its gradient can be trusted")
  columns = ["point", "px, MeV/c", "py", "pz", "W1, mean of 32 draws, px", "best draw, px",
             "published: best draw, blur 0.01 px", "charge off, share"]
  return [first, write(
      "surface_general", "Descent of the general generator: one view, truth (-356, -245, 40) MeV/c", command,
      columns=columns, rows=[["start", *cells(0)], ["end", *cells(1)]],
      note="Distances are of normalised images. The published descent went from 20.162 to 0.019.")]


def particles(out: Path) -> list[Path]:
  """identification.json of a run of `measure_general.sh particles`."""
  found, refined = (read(out / name / "identify.json") for name in ("identify", "identify_refined"))
  types, rows = found["types"], []
  for method, told in (("inversion", found["inversion"]), ("classifier", found["classifier"])):
    rows += [[method, name, *(round(PERCENT * count / sum(counts), 1) for count in counts), sum(counts)]
             for name, counts in zip(types, told["counts"], strict=True)]
  shown = lambda told: (
      f"{told['accuracy']['value']:.3f} ± {told['accuracy']['error']:.3f} right, log loss "
      f"{told['log_loss']['value']:.3f}, calibration error {told['calibration']['expected_error']:.3f}")
  bins = found["inversion"]["calibration"]
  reliable = "; ".join(f"{stated:.2f}: {right:.2f} ({count})" for stated, right, count in zip(
      bins["confidence"], bins["accuracy"], bins["count"], strict=True) if count)
  number = sum(map(sum, refined["inversion"]["counts"]))
  note = (f"Inversion: {shown(found['inversion'])}; {found['ms_per_event']:.0f} ms an event. Classifier: "
          f"{shown(found['classifier'])}. With the descent, {number} events: {shown(refined['inversion'])}; "
          f"{refined['ms_per_event']:.0f} ms an event. Reliability of the inversion, mean stated "
          f"probability: share right (events): {reliable}.")
  command = ("bash launch/measure_general.sh particles particles_batches particles64 runs/particles "
             "runs/classifier/weights 105306")
  show("identification", out / "identify" / "identify.png", "Confusion matrices of inversion and classifier, "
       "and their reliability")
  columns = ["by", "true", *(f"called {name}" for name in types), "events"]
  return [write("identification", "Particle types by inversion of the generator and by a classifier: per "
                "cent of the true type, one view, held-out events", command, columns=columns, rows=rows,
                note=note)]


if __name__ == "__main__":
  if len(sys.argv) != 3 or sys.argv[1] not in ("protons", "particles"):
    sys.exit(__doc__)
  for written in {"protons": protons, "particles": particles}[sys.argv[1]](Path(sys.argv[2])):
    print(f"Wrote {written}; `make docs` shows it on {PAGE}.")
