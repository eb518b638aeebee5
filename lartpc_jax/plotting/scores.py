"""Pictures of score-based diffusion in the plane, and of images along the forward and the reverse process."""
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

LIMIT = 2.0  # of the axes
GRID = 15    # arrows a side


def _square(axis, title: str) -> None:
  axis.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), aspect="equal", xticks=[], yticks=[])
  axis.set_title(title, fontsize=9)


def point_rows(rows: dict[str, Sequence[np.ndarray]], titles: Sequence[str]) -> Figure:
  """Scatter plots of points [n 2]: one row an entry, one column a title."""
  figure = Figure(figsize=(1.9 * len(titles) + 0.4, 1.95 * len(rows) + 0.2), layout="constrained")
  axes = figure.subplots(len(rows), len(titles), squeeze=False)
  for row, (line, (label, columns)) in enumerate(zip(axes, rows.items(), strict=True)):
    for axis, points, title in zip(line, columns, titles, strict=True):
      axis.plot(*points.T, ".", markersize=1, color="tab:blue", alpha=0.5, rasterized=True)
      _square(axis, "" if row else title)
    line[0].set_ylabel(label)
  return figure


def grid_points() -> np.ndarray:
  """Points [GRID^2 2] of the arrows."""
  line = np.linspace(-LIMIT, LIMIT, GRID, dtype=np.float32)
  return np.stack(np.meshgrid(line, line, indexing="xy"), axis=-1).reshape(-1, 2)


def score_fields(fields: dict[str, Callable], points: dict[str, np.ndarray]) -> Figure:
  """Directions of scores (arrows of one length, coloured by the logarithm of their size) over the points of
  the data.

  Args:
    fields: title -> (x [n 2] -> score [n 2]).
    points: title -> data drawn under the arrows.
  """
  figure = Figure(figsize=(3.1 * len(fields) + 0.6, 3.3), layout="constrained")
  axes, where = figure.subplots(1, len(fields), squeeze=False)[0], grid_points()
  for axis, (title, field) in zip(axes, fields.items(), strict=True):
    score = np.asarray(field(where), float)
    size = np.maximum(np.linalg.norm(score, axis=1), 1e-6)
    arrows = axis.quiver(*where.T,
                         *(score / size[:, None]).T, np.log10(size), cmap="viridis", clim=(-0.5, 3.5),
                         scale=20, width=0.005)
    axis.plot(*points[title].T, ".", markersize=1, color="tab:red", alpha=0.4)
    _square(axis, title)
  figure.colorbar(arrows, ax=axes.tolist(), label="log10 |score|", shrink=0.8)
  return figure


def image_strip(rows: dict[str, np.ndarray], titles: Sequence[str], *, limit: float) -> Figure:
  """Rows of states [k h w] on one colour scale from -limit to limit."""
  figure = Figure(figsize=(1.5 * len(titles) + 0.5, 1.65 * len(rows) + 0.1), layout="constrained")
  axes = figure.subplots(len(rows), len(titles), squeeze=False)
  for row, (line, (label, images)) in enumerate(zip(axes, rows.items(), strict=True)):
    for axis, image, title in zip(line, images, titles, strict=True):
      axis.imshow(image.T, origin="lower", cmap="magma", vmin=-limit / 4, vmax=limit, interpolation="nearest")
      axis.set(xticks=[], yticks=[])
      axis.set_title("" if row else title, fontsize=8)
    line[0].set_ylabel(label, fontsize=8)
  return figure
