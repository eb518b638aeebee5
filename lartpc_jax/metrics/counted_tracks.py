"""How well tracks are counted and found: shares of counts, and errors, against the opening angle of pairs."""
import numpy as np

from lartpc_jax.metrics.estimate import share_estimate
from lartpc_jax.tables import markdown_table

ANGLE_EDGES_DEGREES = (0, 10, 20, 40, 60, 90, 120, 150, 170, 180)
HEAD = ("opening angle, degrees", "pairs", "counted as two or more", "median error, MeV/c", "95 % quantile")
FROM_DEGREES = 20.0  # pairs with a smaller angle are one track to the eye


def error_quantiles(errors: np.ndarray) -> dict:
  """Median, 68 and 95 % quantile in MeV/c of |dp| [n t] of all matched tracks."""
  return {f"q{q}_dp_mev": float(np.quantile(errors, q / 100)) for q in (50, 68, 95)}


def shares(number: np.ndarray) -> dict:
  """Count -> [share, error] of events that are counted so."""
  return {str(n): list(share_estimate(number == n)[:2]) for n in sorted(set(number.tolist()))}


def by_angle(angle_degrees: np.ndarray, errors: np.ndarray | None, number: np.ndarray | None) -> list[dict]:
  """One entry for each bin of the opening angle [n] that holds pairs, and one for all above 20 degrees, if
  any (the last).

  Args:
    angle_degrees: [n].
    errors: |dp| [n 2] in MeV/c; None if nothing was refined.
    number: counts [n]; None if nothing was counted.
  """
  bins = [(low, high) for low, high in zip(ANGLE_EDGES_DEGREES[:-1], ANGLE_EDGES_DEGREES[1:], strict=True)]
  found = []
  for low, high in [*bins, (FROM_DEGREES, 180)]:
    inside = (angle_degrees >= low) & ((angle_degrees < high) | (high == 180))
    if not inside.any():
      continue
    entry = {"low": float(low), "high": float(high), "num": int(inside.sum())}
    if errors is not None:
      entry |= error_quantiles(errors[inside])
    if number is not None:
      share = share_estimate(number[inside] >= 2)
      entry |= {"efficiency": share.value, "efficiency_error": share.error}
    found.append(entry)
  return found


def bins_only(entries: list[dict]) -> list[dict]:
  """What `by_angle` gives, without the entry for all above 20 degrees, which is not there if no pair is."""
  return [e for e in entries if (e["low"], e["high"]) != (FROM_DEGREES, 180.0)]


def tables(performance: dict) -> list[str]:
  """Lines of Markdown for what `experiments.tracks` finds; empty without truth."""
  lines = []
  for key, value in performance.items():
    kind, _, number = key.partition("_")
    if kind == "errors":
      lines += [
          "",
          f"Events of {number} tracks: |dp| of matched tracks, MeV/c: median {value['q50_dp_mev']:.1f}, 68 % "
          f"{value['q68_dp_mev']:.1f}, 95 % {value['q95_dp_mev']:.1f}"
      ]
    elif kind == "counted":
      lines.append(f"Events of {number} tracks are counted as: " + ", ".join(
          f"{n} in {100 * share:.1f} +- {100 * error:.1f} %" for n, (share, error) in value.items()))
  if "by_angle" in performance:
    rows = []
    for e in performance["by_angle"]:
      counted = "-"
      if "efficiency" in e:
        counted = f"{100 * e['efficiency']:.1f} +- {100 * e['efficiency_error']:.1f} %"
      errors = [f"{e[q]:.1f}" if q in e else "-" for q in ("q50_dp_mev", "q95_dp_mev")]
      rows.append((f"{e['low']:g} to {e['high']:g}", e["num"], counted, *errors))
    lines += ["", *markdown_table(HEAD, rows).splitlines()]
  return [*lines, ""] if lines else []
