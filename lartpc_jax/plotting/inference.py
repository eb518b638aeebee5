"""Pictures of inferred momenta: targets against what was generated, the descent, errors of many events."""
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from lartpc_jax.plotting import style
from lartpc_jax.plotting.images import show_image

MARKERS = {"truth": ("*", "tab:green"), "classical": ("s", "tab:orange"),
           "amortised": ("D", "tab:purple"), "start": ("o", "white"),
           "inferred": ("X", "tab:red")}
BINS = 31  # edges of the histogram of errors


class Surface(NamedTuple):
  """The objective over directions around the inferred one, at its |p|."""
  angle: np.ndarray             # [g] radians, both axes
  values: np.ndarray            # [g g] px; rows follow the second coordinate
  trajectory: np.ndarray        # [s 2] radians
  points: dict[str, np.ndarray]  # name -> [2] radians; names of MARKERS


def event_figure(targets: np.ndarray, generated: np.ndarray, *, views: tuple[str, ...], values: np.ndarray,
                 surface: Surface | None, title: str) -> Figure:
  """Figure with target, generated and difference of each view, the objective along the descent, and its
  surface.

  Args:
    targets: images [v n n] in MeV.
    generated: one draw a view at the end [v n n].
    views: names.
    values: objective [s] at each step, px.
    surface: None leaves it out.
    title: above all.
  """
  figure = Figure(figsize=(7.0 + 6.4, max(2.3 * len(views), 3.6) + 0.5), layout="constrained")
  figure.suptitle(title, fontsize=9)
  halves: Any = figure.subfigures(1, 2, width_ratios=(7.0, 6.4))
  left, right = halves
  rows = left.subplots(len(views), 3, squeeze=False)
  for axes, view, target, image in zip(rows, views, targets, generated, strict=True):
    top = max(float(target.max()), float(np.nan_to_num(image).max()))
    for axis, pixels, name in zip(axes, (target, image, target - image),
                                  ("target", "generated", "difference")):
      show_image(axis, pixels, top=top, signed=name == "difference")
      axis.set_title(f"{name}, {pixels.sum():.1f} MeV", fontsize=8)
    axes[0].set(xlabel=view[0] if len(view) == 2 else "x",
                ylabel=view[1] if len(view) == 2 else f"across {view}")
  curve, plane = right.subplots(1, 2, width_ratios=(1.0, 1.6))
  curve.plot(np.arange(len(values)), values, color="tab:blue", marker=".")
  curve.set(xlabel="step", ylabel="objective, pixels")
  curve.grid(alpha=0.3)
  if surface is None:
    plane.set_axis_off()
  else:
    draw_surface(plane, surface)
    figure.legend(*plane.get_legend_handles_labels(), loc="outside lower right", ncols=5, frameon=False,
                  fontsize=8)
  return figure


def draw_surface(axis, surface: Surface) -> None:
  """Contours of the objective, the trajectory of the descent on it, and the marked directions, each with its
  label for a legend."""
  if np.isfinite(surface.values).all():
    filled = axis.contourf(surface.angle, surface.angle, surface.values, levels=16, cmap="viridis")
    axis.figure.colorbar(filled, ax=axis, label="objective at this |p|, pixels", shrink=0.6)
  axis.plot(*surface.trajectory.T, color="white", linewidth=1, marker=".", markersize=3)
  limit = (surface.angle[0], surface.angle[-1])
  mark_points(axis, surface.points, limit, limit)
  axis.set(xlabel="turn, radians", ylabel="turn across it, radians", xlim=limit, ylim=limit, aspect="equal")


def mark_points(axis, points: dict[str, np.ndarray], xlim: tuple[float, float],
                ylim: tuple[float, float]) -> None:
  """Marks named points [2] (names of MARKERS); one beyond the limits stands on the border, and says so."""
  for name, point in points.items():
    marker, colour = MARKERS[name]
    shown, moved = style.clip_to(point, np.array([xlim[0], ylim[0]]), np.array([xlim[1], ylim[1]]))
    label = f"{name} (outside)" if moved.any() else name
    axis.plot(*shown, marker=marker, color=colour, markeredgecolor="black", markersize=9, linestyle="none",
              label=label, clip_on=False, zorder=5)


def summary_figure(errors: dict[str, np.ndarray], *, magnitude_mev: np.ndarray, angle_degrees: np.ndarray,
                   of: str) -> Figure:
  """Histogram of |dp|, and |dp| against |p| and against the angle to the nearest line of sight.

  Args:
    errors: label -> |dp| [n] in MeV/c.
    magnitude_mev: |p| [n].
    angle_degrees: [n], 0 to 90.
    of: whose |p| and angle these are, "true" or "inferred".
  """
  figure = Figure(figsize=(13, 3.8), layout="constrained")
  histogram, by_magnitude, by_angle = figure.subplots(1, 3)
  finite = np.concatenate([e[np.isfinite(e) & (e > 0)] for e in errors.values()])
  low, high = (finite.min(), finite.max()) if len(finite) else (1.0, 10.0)
  bins = np.geomspace(0.9 * low, 1.1 * high, BINS)
  for (label, error), look in zip(errors.items(), style.colours(errors, first="black").values(),
                                  strict=True):
    found = error[np.isfinite(error)]
    median = f"median {np.median(found):.1f} MeV/c" if len(found) else "none"
    lost = f", {len(error) - len(found)} without" if len(found) < len(error) else ""
    histogram.hist(found, bins=bins, histtype="step", label=f"{label}, {median}{lost}", **look)
    for axis, x in ((by_magnitude, magnitude_mev), (by_angle, angle_degrees)):
      axis.plot(x, error, ".", color=look["color"], alpha=0.6, label=label)
  histogram.set(xlabel="|dp|, MeV/c", ylabel="events")
  by_magnitude.set(xlabel=f"{of} |p|, MeV/c", ylabel="|dp|, MeV/c")
  by_angle.set(xlabel=f"{of} p to nearest line of sight, degrees", ylabel="|dp|, MeV/c")
  for axis, which in ((histogram, "x"), (by_magnitude, "y"), (by_angle, "y")):
    if len(finite):
      style.log_axis(axis, which)
    axis.grid(alpha=0.3)
    style.legend_above(axis, columns=1 if axis is histogram else 3)
  return figure
