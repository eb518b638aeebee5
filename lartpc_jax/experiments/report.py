"""Writes a report: metrics.json, a Markdown table, and one HTML page that needs no other file."""
import base64
import html
import io
import math
from pathlib import Path

import numpy as np

from lartpc_jax.experiments.evaluate import FLOOR, Report
from lartpc_jax.metrics.estimate import significance
from lartpc_jax.plotting import evaluation as figures
from lartpc_jax.plotting.style import colours
from lartpc_jax.tables import markdown_table, measured, write_json, write_text

HEADER = ("<!doctype html><html lang=en><meta charset=utf-8>"
          "<meta name=viewport content=\"width=device-width,initial-scale=1\">")
# Wide tables scroll inside their frame, so that the page itself fits a phone.
STYLE = """body{font:14px/1.45 sans-serif;max-width:1200px;margin:2em auto;padding:0 1em}
.wide{overflow-x:auto}figure{margin:0}figcaption{color:#444;max-width:75ch;margin:.3em 0 1em}
table{border-collapse:collapse;font-size:12px}td,th{border:1px solid #bbb;padding:2px 7px;text-align:right}
td:first-child,td:nth-child(2),th{text-align:left}
tr.published{color:#777}td.bad{background:#f6c0b8}img{max-width:100%}h2{margin-top:1.6em}"""
# Title of a figure, up to its colon -> what it shows.
CAPTIONS = {
    "Images": "The first images of each sample, on one scale that follows the square root of charge.",
    "What each metric sees": "How many standard errors a sample lies above the floor, real against real, by "
                             "each corrected metric; up to 3 is what chance does.",
    "Physics": "Reference with the errors of its counts, samples scaled to its number of images. Logarithmic "
               "where a few bins tower over the rest; values outside of the bins are told above a panel.",
    "Classifiers": "Left: ROC curves; the diagonal is a classifier that cannot tell. Right: what it states "
                   "against what is true.",
    "t-SNE of the reference": "Real images laid out by each distance, above by class, below by charge.",
    "Nearest training images in Earth Mover's Distance": "Generated images and the training images nearest "
                                                         "to them, with the distance in pixels.",
}
HEAD = ("Value +- standard error; p: probability of so large a value if both samples come from one "
        "distribution. The first column is real against real: what perfection looks like at this number of "
        "images. Rows of the published definitions are for comparison with the literature only.")


def cell(row) -> str:
  """One estimate in words."""
  if row is None:
    return ""
  value, error, p = row.estimate
  return measured(value, error) + (f", p {p:.2g}" if math.isfinite(p) else "")


def as_json(report: Report) -> dict:
  """Everything numeric."""
  clean = lambda x: None if isinstance(x, float) and not math.isfinite(x) else x
  rows = [{"part": part, "metric": name, "definition": definition,
           "values": {column: {**{k: clean(v) for k, v in row.estimate._asdict().items()}, "note": row.note,
                               "sigma_above_floor": clean(_sigma(found, column))}
                      for column, row in found.items()}}
          for (part, name, definition), found in report.rows.items()]
  ranks = [{"column": name, "mean_rank": clean(rank), "rows_above_3_sigma": above, "seen_best_by": best}
           for name, rank, above, best in ranking(report)]
  embedding = None if report.separations is None else {
      "labels": report.separations.labels, "sets": report.separations.num_subsets, **{
          name: {k: v._asdict() for k, v in s._asdict().items()}
          for name, s in report.separations.numbers.items()}}
  near = {name: {"distance_px": found.distance.tolist(), "index": found.index.tolist(),
                 "exact_distances": found.num_exact.tolist()}
          for name, (_, found, _) in report.neighbours.items()}
  return {"images": report.counts, "rows": rows, "ranking": ranks, "embedding": embedding,
          "emd_neighbours": near,
          "sources": report.sources, "missing": report.missing, **{
              name: {part: round(s, 1) for part, s in values.items()}
              for name, values in (("seconds", report.seconds), ("cpu_seconds", report.cpu_seconds))}}


def ranking(report: Report) -> list[tuple[str, float, int, str]]:
  """Columns from worst to best: (name, mean rank, rows more than 3 sigma from the floor, the row that shows
  it best).

  Ranks run over the corrected rows that have a direction; 1 is the worst column of a row.
  """
  others = report.columns[1:]
  ranks, found = {name: [] for name in others}, {name: [] for name in others}
  for (_, name, definition), row in report.rows.items():
    if definition != "corrected" or FLOOR not in row or not row[FLOOR].worse:
      continue
    present = [c for c in others if c in row and np.isfinite(row[c].estimate.value)]
    score = np.array([row[c].worse * row[c].estimate.value for c in present])
    sigma = {c: row[c].worse * significance(row[c].estimate, row[FLOOR].estimate) for c in present}
    for column, s in zip(present, score, strict=True):
      ranks[column].append(1 + np.sum(score > s) + 0.5 * (np.sum(score == s) - 1))
      if np.isfinite(sigma[column]):
        found[column].append((sigma[column], name))
  table = []
  for name in others:
    best = max(found[name], default=(0.0, "none"))
    table.append((name, float(np.mean(ranks[name])) if ranks[name] else float("nan"),
                  int(sum(s > 3.0 for s, _ in found[name])),
                  f"{best[1]} ({best[0]:.1f} sigma)"))
  return sorted(table, key=lambda row: (row[1], -row[2]))


def _sigma(found: dict, column: str) -> float:
  if column == FLOOR or FLOOR not in found or not found[column].worse:
    return float("nan")
  return found[column].worse * significance(found[column].estimate, found[FLOOR].estimate)


def markdown(report: Report) -> str:
  """The tables."""
  head = ["metric", "definition", *(f"{c} ({report.counts[c]})" for c in report.columns)]
  lines = [HEAD, "", markdown_table(head, [
      (name, definition, *(cell(found.get(column)) for column in report.columns))
      for (_, name, definition), found in report.rows.items()])]
  if len(report.columns) > 1:
    lines += ["", "Ranking, worst first, over the corrected metrics:", "",
              markdown_table(["sample", "mean rank", "metrics 3 sigma above the floor", "seen best by"],
                             [(name, f"{rank:.2f}", above, best)
                              for name, rank, above, best in ranking(report)])]
  if report.separations is not None:
    s = report.separations
    lines += ["",
              f"Tracks against showers (by {s.labels}; mean of {s.num_subsets} sets of {len(s.is_track)} "
              "images):", "",
              markdown_table(["distance", "k-NN accuracy", "silhouette"], [
                  (name, *(measured(x.value, x.error) for x in (s.knn_accuracy, s.silhouette)))
                  for name, s in report.separations.numbers.items()])]
  lines += ["", "Left out:", ""] + [f"- {text}" for text in report.missing or ["nothing"]]
  lines += ["", *(f"{name}: {path}" + "  " for name, path in report.sources.items()), "", _times(report)]
  return "\n".join(lines) + "\n"


def _times(report: Report) -> str:
  total = f"{sum(report.seconds.values()):.0f} s wall and {sum(report.cpu_seconds.values()):.0f} s CPU"
  parts = ", ".join(f"{name} {s:.0f} ({report.cpu_seconds.get(name, 0.0):.0f})"
                    for name, s in report.seconds.items())
  return f"{total}; wall (CPU) seconds of all columns together: {parts}."


def report_figures(report: Report) -> dict[str, object]:
  """Title -> Figure. A column has one colour in all of them."""
  found, styles = {"Images": figures.mosaic(report.samples)}, colours(report.columns)
  directed = [(name, row) for (_, name, definition), row in report.rows.items()
              if definition == "corrected" and FLOOR in row and row[FLOOR].worse]
  if len(report.columns) > 1:
    sigma = np.array([[_sigma(row, c) if c in row else float("nan") for c in report.columns[1:]]
                      for _, row in directed])
    found["What each metric sees"] = figures.significance_map(
        [name for name, _ in directed], report.columns[1:], sigma)
  first = report.extras[FLOOR].histograms
  if first:
    found["Physics"] = figures.histogram_grid({
        name: (edges, {"reference": values, **{c: report.extras[c].histograms[name][2] for c in report.columns
                                               if name in report.extras[c].histograms}})
        for name, (edges, values, _) in first.items()}, styles)
  classifiers = report.extras[FLOOR].calibrations
  if classifiers:
    found["Classifiers"] = figures.reliability_grid({
        name: {c: report.extras[c].calibrations[name] for c in report.columns
               if name in report.extras[c].calibrations}
        for name in classifiers}, styles)
  if report.separations is not None:
    s = report.separations
    titles = {name: f"{name}: k-NN {x.knn_accuracy.value:.2f}, silhouette {x.silhouette.value:.2f}"
              for name, x in s.numbers.items()}
    found["t-SNE of the reference"] = figures.maps(s.maps, s.is_track, s.charge, titles)
  for name, (queries, near, images) in report.neighbours.items():
    if name != FLOOR:
      found[f"Nearest training images in Earth Mover's Distance: {name}"] = figures.neighbour_grid(
          queries, images, near.distance)
  return found


def page(report: Report) -> str:
  """The HTML page, figures inside."""
  escape = html.escape
  table = ["<div class=wide><table><tr><th>metric<th>definition"
           + "".join(f"<th>{escape(c)}" for c in report.columns)]
  for (_, name, definition), found in report.rows.items():
    note = lambda c, found=found: escape(found[c].note) if c in found else ""
    cells = "".join(f"<td{' class=bad' if c in found and _sigma(found, c) > 3.0 else ''} title=\"{note(c)}\">"
                    f"{escape(cell(found.get(c)))}" for c in report.columns)
    table.append(f"<tr class={definition}><td>{escape(name)}<td>{definition}{cells}")
  text = [HEADER,
          f"<title>Is it good enough?</title><style>{STYLE}</style>",
          "<h1>Is it good enough?</h1>",
          f"<p>{escape(HEAD)} Red cells lie more than three standard errors above the floor.",
          "<p>Images: " + escape("; ".join(f"{name}: {count} of "
                                           f"{report.sources.get(name, report.sources.get(FLOOR))}"
                                           for name, count in report.counts.items())) + ".",
          "<p>Left out: " + escape("; ".join(report.missing) or "nothing") + ".", *table, "</table></div>"]
  if len(report.columns) > 1:
    text.append("<h2>Ranking, worst first</h2><div class=wide><table><tr><th>sample<th>mean rank<th>metrics "
                "3 sigma above the floor<th>seen best by")
    text += [f"<tr><td>{escape(name)}<td>{rank:.2f}<td>{above}<td>{escape(best)}"
             for name, rank, above, best in ranking(report)]
    text.append("</table></div>")
  for title, figure in report_figures(report).items():
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    data = base64.b64encode(buffer.getvalue()).decode()
    caption = CAPTIONS[title.partition(":")[0]]
    text.append(f"<h2>{escape(title)}</h2><figure><img alt=\"{escape(title)}\" "
                f"src=\"data:image/png;base64,{data}\"><figcaption>{escape(caption)}</figcaption></figure>")
  return "\n".join(text) + "\n"


def write_report(report: Report, out: str | Path) -> list[Path]:
  """Writes metrics.json, report.md and report.html into `out`; returns their paths."""
  out = Path(out)
  out.mkdir(parents=True, exist_ok=True)
  return [write_json(out / "metrics.json", as_json(report)), write_text(out / "report.md", markdown(report)),
          write_text(out / "report.html", page(report))]
