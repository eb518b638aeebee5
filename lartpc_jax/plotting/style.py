"""What all figures share: one colour a name, ticks and legends that do not overlap, nothing that vanishes."""
from collections.abc import Iterable

import numpy as np
from matplotlib import ticker

# Okabe & Ito 2008: eight colours that people with any common colour blindness tell apart; black is the
# reference's, and yellow is too pale for lines on white.
CYCLE = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "0.45"
# A histogram whose median bin is below this share of its highest one shows only that bin on a linear axis.
SQUASHED = 0.04


def colours(names: Iterable[str], *, first: str = GREY) -> dict[str, dict]:
  """Name -> keyword arguments (colour and dashes) of its lines, the same in every plot that is given this.

  Args:
    names: any number of them; after six the colours come again with other dashes.
    first: colour of the first, which things are compared with.
  """
  dashes = ("-", "--", ":", "-.")
  one, *others = list(names)
  found = {one: {"color": first, "linestyle": "-"}}
  for i, name in enumerate(others):
    found[name] = {"color": CYCLE[i % len(CYCLE)], "linestyle": dashes[i // len(CYCLE) % len(dashes)]}
  return found


def log_axis(axis, which: str) -> None:
  """Makes an axis ("x" or "y") logarithmic with few plain numbers as labels, whatever its range."""
  getattr(axis, f"set_{which}scale")("log")
  shown = getattr(axis, f"{which}axis")
  low, high = getattr(axis, f"get_{which}lim")()
  narrow = np.log10(high / max(low, 1e-300)) < 2.0
  shown.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,), numticks=8))
  if narrow or 1e-4 < low < high < 1e6:
    shown.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
  shown.set_minor_formatter(ticker.NullFormatter())


def legend_above(axis, *, columns: int = 1, fontsize: float = 8) -> None:
  """A legend between the title and the axes, where it covers no data."""
  axis.legend(frameon=False, fontsize=fontsize, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns,
              borderaxespad=0.2)


def is_squashed(heights: np.ndarray) -> bool:
  """Whether a few bins [n] are so high that a linear axis would hide the others."""
  filled = np.asarray(heights)[np.asarray(heights) > 0]
  return len(filled) > 2 and float(np.median(filled)) < SQUASHED * float(filled.max())


def share_outside(values: np.ndarray, edges: np.ndarray) -> float:
  """Share of the finite values [n] that a histogram with edges [bins + 1] leaves out; NaN if there are none.
  """
  finite = np.asarray(values)[np.isfinite(values)]
  return float(np.mean((finite < edges[0]) | (finite > edges[-1]))) if len(finite) else float("nan")


def outside_text(shares: dict[str, float], *, least: float = 0.01) -> str:
  """Which samples a panel does not show in full: "outside: a 37 %, b 100 %"; empty if none."""
  named = [f"{name} {100 * share:.0f} %" for name, share in shares.items() if share >= least]
  return "outside: " + ", ".join(named) if named else ""


def clip_to(values: np.ndarray, low, high) -> tuple[np.ndarray, np.ndarray]:
  """Values [n] moved to the border that they lie beyond, and which were moved; borders broadcast to them."""
  values = np.asarray(values, float)
  return np.clip(values, low, high), (values < low) | (values > high)


def draw_within(axis, x: np.ndarray, y: np.ndarray, low: float, high: float, **style) -> None:
  """Points x [n], y [n] of a panel whose vertical axis ends at `low` and `high`: those beyond stand on the
  border as triangles that point outwards.
  """
  shown, moved = clip_to(y, low, high)
  axis.plot(x, shown, **style)
  for beyond, marker in ((y < low, "v"), (y > high, "^")):
    axis.plot(np.asarray(x)[beyond & moved], shown[beyond & moved], linestyle="none", marker=marker,
              markersize=8, color=style.get("color"), clip_on=False)
