"""Results of a run as a table: rows, quantiles, warnings, CSV, JSON and what the terminal shows."""
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lartpc_jax.inference.errors import (
  EDGE,
  LARGE_ERROR_MEV,
  error_summary,
  hidden_name,
  momentum_error,
  outside_range,
)
from lartpc_jax.inference.selection import LEAST_DROPPED
from lartpc_jax.tables import write_csv, write_json

AXES = "xyz"
MAX_ROWS_SHOWN = 32
MAX_EVENTS_NAMED = 20


class Results(NamedTuple):
  """Columns of the table [n], a summary that JSON can hold, and the events to warn of."""
  columns: dict[str, np.ndarray]
  summary: dict
  unconverged: list[int]
  at_edge: list[int]
  kinetic_range_mev: tuple[float, float]
  # not converged or, where the truth is known, off by more than errors.LARGE_ERROR_MEV; the worst first
  failed: list[int]


def make_results(fields: dict, *, events: np.ndarray, views: tuple[str, ...], true_mev: np.ndarray | None,
                 baselines: dict[str, np.ndarray], clean: np.ndarray | None,
                 kinetic_range_mev: tuple[float, float], dropped: np.ndarray) -> Results:
  """Table of a run.

  Args:
    fields: momentum_mev [n 3], emd_start and emd_end [n v], converged [n], seconds [n], cold [n]; see
      `experiments.chunks`.
    events: numbers [n].
    views: names.
    true_mev: [n 3] or None.
    baselines: name -> momenta [n 3] of other estimators; "classical" among them.
    clean: [n] contained and non-interacting, or None.
    kinetic_range_mev: of the generator.
    dropped: share [n] of the charge that the distance does not see, of the worst view.
  """
  vector = lambda prefix, p: {f"{prefix}p{axis}_mev": p[:, i] for i, axis in enumerate(AXES)}
  momentum = fields["momentum_mev"]
  columns = {"event": events, **vector("", momentum), "emd_start": fields["emd_start"].mean(1),
             "emd_end": fields["emd_end"].mean(1), "converged": fields["converged"].astype(int)}
  if true_mev is not None:
    columns |= vector("true_", true_mev)
  for name, p in baselines.items():
    columns |= vector(f"{name}_", p)
  for name in ("emd_start", "emd_end"):
    columns |= {f"{name}_{view}": fields[name][:, i] for i, view in enumerate(views)}
  if hidden_name(views) is not None:
    columns[f"p{hidden_name(views)}_sign_ambiguous"] = np.ones(len(events), int)
  columns["dropped_charge"] = dropped
  at_edge = outside_range(momentum, kinetic_range_mev, margin=EDGE)
  summary = {"num_events": len(events), "num_converged": int(columns["converged"].sum()),
             "views": list(views), "baselines": list(baselines),
             "num_at_edge_of_range": int(at_edge.sum()),
             "seconds_per_event": _seconds(fields)}
  for name in ("emd_start", "emd_end"):
    summary[f"median_{name}_px"] = {view: float(np.median(fields[name][:, i]))
                                    for i, view in enumerate(views)}
  error = np.zeros(len(events))
  if true_mev is not None:
    error = momentum_error(momentum, true_mev, views)
    summary["inferred"] = error_summary(momentum, true_mev, views, clean)
    summary |= {name: error_summary(p, true_mev, views, clean) for name, p in baselines.items()}
    summary["num_clean"] = None if clean is None else int(clean.sum())
  else:
    apart = momentum_error(momentum, baselines["classical"], views)
    summary["median_distance_to_classical_mev"] = float(np.median(apart))
  number = lambda mask: events[mask].tolist()
  worst = np.argsort(-np.where(np.isnan(error), np.inf, error), kind="stable")
  failed = (columns["converged"] == 0) | ~(error <= LARGE_ERROR_MEV)
  return Results(columns, summary, number(columns["converged"] == 0), number(at_edge), kinetic_range_mev,
                 events[worst[failed[worst]]].tolist())


def _seconds(fields: dict) -> float:
  """Mean seconds an event, without the first chunk of each run, which compiles, unless there is nothing
  else.
  """
  warm = ~fields["cold"].astype(bool)
  return float(fields["seconds"][warm if np.any(warm) else slice(None)].mean())


def write_results(out: str | os.PathLike, table: Results, metadata: dict) -> None:
  """Writes results.csv and results.json into `out`, each whole or not at all. NaN is null in JSON."""
  columns = {name: column.tolist() for name, column in table.columns.items()}
  write_csv(Path(out) / "results.csv", columns)
  rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
  write_json(Path(out) / "results.json", {
      **metadata, "summary": table.summary, "unconverged": table.unconverged,
      "at_edge_of_range": table.at_edge,
      "failed": table.failed, "events": rows})


def write_hypotheses(out: str | os.PathLike, fields: dict, events: np.ndarray) -> Path:
  """Writes hypotheses.csv: one row an event and start, with where the first stage took it and which one was
  chosen.

  Args:
    out: directory.
    fields: momentum_mev [n 3], start_momentum_mev and end_momentum_mev [n h 3], trajectory [n s 3] of the
      chosen one.
    events: numbers [n].
  Returns:
    The file. distance_to_result_mev is that of the end of the first stage to the momentum inferred: its
    scatter over the starts of an event tells whether the objective has other minima.
  """
  start, end = fields["start_momentum_mev"], fields["end_momentum_mev"]
  from_chosen = np.linalg.norm(start - fields["trajectory"][:, :1], axis=-1)
  chosen = np.argmin(np.where(np.isnan(from_chosen), np.inf, from_chosen), axis=1)
  distance = np.linalg.norm(end - fields["momentum_mev"][:, None], axis=-1)
  starts = np.arange(start.shape[1])
  columns = {"event": np.repeat(events, len(starts)), "hypothesis": np.tile(starts, len(start)),
             "chosen": (chosen[:, None] == starts).astype(int).ravel()}
  columns |= {f"{when}_p{axis}_mev": p[..., i].ravel() for when, p in (("start", start), ("end", end))
              for i, axis in enumerate(AXES)}
  return write_csv(Path(out) / "hypotheses.csv", columns | {"distance_to_result_mev": distance.ravel()})


def summary_text(table: Results) -> str:
  """What the terminal shows: the events if there are few, the summary, the warnings."""
  parts = [event_table(table)] if len(table.columns["event"]) <= MAX_ROWS_SHOWN else []
  return "\n\n".join([*parts, summary_table(table), *warnings(table)])


def event_table(table: Results) -> str:
  """One line an event: truth (if known), inferred momentum and those of the baselines in MeV/c, distances in
  px.
  """
  columns, baselines = table.columns, table.summary["baselines"]
  prefixes = {"truth": "true_", "inferred": "", **{name: f"{name}_" for name in baselines}}
  shown = {label: np.stack([columns[f"{prefix}p{axis}_mev"] for axis in AXES], axis=1)
           for label, prefix in prefixes.items() if f"{prefix}px_mev" in columns}
  views = tuple(table.summary["views"])
  errors = {}
  if "truth" in shown:
    errors = {f"|dp| {label}": momentum_error(shown[label], shown["truth"], views)
              for label in ("inferred", *baselines)}
  head = ["event".rjust(6), *(f"{label + ' (px, py, pz)':>24}" for label in shown),
          *(f"{e:>14}" for e in errors),
          "EMD start", "  end", "converged"]
  lines = ["Momenta in MeV/c, Earth Mover's Distance (EMD) in pixels, mean over views", "  ".join(head)]
  for i, event in enumerate(columns["event"]):
    momenta = ["({:7.1f},{:7.1f},{:7.1f})".format(*p[i]).rjust(24) for p in shown.values()]
    lines.append("  ".join([f"{event:6d}", *momenta, *(f"{e[i]:14.1f}" for e in errors.values()),
                            f"{columns['emd_start'][i]:9.2f}", f"{columns['emd_end'][i]:5.2f}",
                            f"{'yes' if columns['converged'][i] else 'NO':>9}"]))
  return "\n".join(lines)


def summary_table(table: Results) -> str:
  """Inferred against the baselines, and the distances; what needs the truth only where it is known."""
  summary, lines = table.summary, []
  if "inferred" in summary:
    rows = [("median |dp|, MeV/c", "median_dp_mev", 1), ("68 % quantile of |dp|", "q68_dp_mev", 1),
            ("95 % quantile of |dp|", "q95_dp_mev", 1), ("median |d|p||", "median_abs_dp_magnitude_mev", 1),
            ("|dp| above 50 MeV/c, % of all", "share_above_50_mev", 100),
            (f"|dp| above 50 MeV/c, % of {summary['num_clean']} clean*", "share_above_50_mev_clean", 100)]
    shown = ("inferred", *summary["baselines"])
    lines.append(f"{'':40}" + "".join(f"{who:>12}" for who in shown))
    for label, name, factor in rows:
      if name in summary["inferred"]:
        lines.append(f"{label:40}" + "".join(f"{factor * summary[who][name]:12.1f}" for who in shown))
    if "share_above_50_mev_clean" in summary["inferred"]:
      lines.append("* contained in the views, and without nuclear interaction")
  else:
    apart = summary["median_distance_to_classical_mev"]
    lines.append(f"{'median distance inferred - classical':40}{apart:12.1f} MeV/c")
  for view in summary["views"]:
    start, end = (summary[f"median_{name}_px"][view] for name in ("emd_start", "emd_end"))
    lines.append(f"{f'median EMD in {view}, start -> end':40}{start:12.2f} -> {end:.2f} px")
  lines.append(f"{'converged':40}{summary['num_converged']:12d} of {summary['num_events']}")
  lines.append(f"{'seconds an event':40}{summary['seconds_per_event']:12.2f}")
  return "\n".join(lines)


def dropped_note(columns: dict, num_pixels: int | None) -> list[str]:
  """A line that says how much charge the distance did not see, if it did not see all of it."""
  dropped = columns["dropped_charge"]
  if num_pixels is None or not (some := int((dropped > LEAST_DROPPED).sum())):
    return []
  return [f"NOTE: the distance sees the {num_pixels} brightest pixels of an image; in {some} of "
          f"{len(dropped)} events they lack charge, at most {100 * dropped.max():.1f} % of it (column "
          "dropped_charge). --config.distance.num_pixels sets another number."]


def warnings(table: Results) -> list[str]:
  """Lines that say which results not to trust."""
  def named(events):
    more = f" and {len(events) - MAX_EVENTS_NAMED} more" if len(events) > MAX_EVENTS_NAMED else ""
    return ", ".join(map(str, events[:MAX_EVENTS_NAMED])) + more
  found, (low, high) = [], table.kinetic_range_mev
  if table.unconverged:
    found.append(f"WARNING: {len(table.unconverged)} events did not converge: {named(table.unconverged)}.")
  if table.at_edge:
    found.append(f"WARNING: the inferred kinetic energy of {len(table.at_edge)} events is at the edge of, or "
                 f"outside, the {low:g} to {high:g} MeV that the generator was trained on: "
                 f"{named(table.at_edge)}.")
  views = tuple(table.summary["views"])
  if (hidden := hidden_name(views)) is not None:
    found.append(f"NOTE: one view tells |p{hidden}| and not its sign: p and its mirror image fit alike "
                 f"(column p{hidden}_sign_ambiguous); errors compare |p{hidden}|.")
  return found
