"""An inference as an animation: the path over its loss surface, the objective, and the images on the way."""
from collections.abc import Mapping

import numpy as np

from lartpc_jax.plotting.display import (
  COLOURS,
  FONT,
  MARKS,
  Descent,
  Plane,
  charge_bar,
  heatmap,
  top_charge,
)

FRAME_MS = 150
NOW = "#d55e00"


def descent_figure(descent: Descent, plane: Plane | None, points: Mapping[str, np.ndarray], *, title: str):
  """A slider and a button move through the steps.

  Args:
    descent: the steps.
    plane: the objective underneath, None: not known.
    points: name of `display.MARKS` -> [2] MeV/c.
    title: above all.
  """
  import plotly.graph_objects as go
  from plotly.subplots import make_subplots
  drawn = descent.images is not None
  names = ["objective over the momentum", "objective along the descent",
           *(("target", "generated at this step") if drawn else ())]
  figure = make_subplots(2 if drawn else 1, 2, subplot_titles=names, horizontal_spacing=0.16,
                         vertical_spacing=0.13)
  _draw_plane(figure, descent, plane, points)
  steps = list(range(len(descent.values)))
  figure.add_trace(go.Scatter(x=steps, y=descent.values, mode="lines", line=dict(color="#0072b2"),
                              showlegend=False, hovertemplate="step %{x}: %{y:.2f} px<extra></extra>"), 1, 2)
  moving = len(figure.data)
  for trace, row, column in zip(_at_step(descent, 0), (1, 1, 2), (1, 2, 2)):
    figure.add_trace(trace, row, column)
  if descent.images is not None:
    top = max(top_charge(descent.target), top_charge(descent.images))
    figure.add_trace(heatmap(descent.target, top, bar=charge_bar(top, len=0.44, y=0.21, x=1.0)), 2, 1)
    for column in (1, 2):
      figure.update_xaxes(title="pixels from the vertex", constrain="domain", row=2, col=column)
      figure.update_yaxes(title="pixels", scaleanchor=f"x{2 + column}", constrain="domain", row=2, col=column)
  numbers = list(range(moving, moving + (3 if drawn else 2)))
  figure.frames = [go.Frame(data=_at_step(descent, step), traces=numbers, name=str(step)) for step in steps]
  figure.update_xaxes(title=f"{descent.labels[0]}, MeV/c", row=1, col=1)
  figure.update_yaxes(title=f"{descent.labels[1]}, MeV/c", row=1, col=1)
  figure.update_xaxes(title="step", row=1, col=2)
  figure.update_yaxes(title="objective, pixels", row=1, col=2)
  figure.update_layout(template="plotly_white", font=FONT, title=dict(text=title, y=0.985),
                       height=900 if drawn else 560,
                       margin=dict(l=60, r=20, t=120, b=120), legend=dict(orientation="h", y=1.09, x=0),
                       **_controls(len(steps)))
  return figure


def _draw_plane(figure, descent: Descent, plane: Plane | None, points: Mapping[str, np.ndarray]) -> None:
  """The surface, the marked momenta and the whole path, faint."""
  import plotly.graph_objects as go
  if plane is not None:
    figure.add_trace(go.Contour(
        x=plane.first, y=plane.second, z=np.round(plane.values, 3), colorscale=COLOURS, ncontours=16,
        colorbar=dict(title=dict(text="px", side="right"), thickness=12, len=0.44, y=0.79, x=0.42),
        line=dict(width=0.4), hovertemplate="(%{x:.0f}, %{y:.0f}) MeV/c: %{z:.2f} px<extra></extra>"), 1, 1)
  figure.add_trace(go.Scatter(**dict(zip("xy", descent.path_mev.T, strict=True)), mode="lines",
                              showlegend=False, line=dict(color="#888888", width=1), hoverinfo="skip"), 1, 1)
  for name, point in points.items():
    symbol, colour = MARKS[name]
    marker = dict(symbol=symbol, color=colour, size=12, line=dict(color="black", width=1))
    figure.add_trace(go.Scatter(x=[float(point[0])], y=[float(point[1])], mode="markers", name=name,
                                marker=marker), 1, 1)


def _at_step(descent: Descent, step: int) -> list:
  """What moves: the path so far, the point on the curve, the generated image."""
  import plotly.graph_objects as go
  path = descent.path_mev[:step + 1]
  still = dict(showlegend=False, hoverinfo="skip")
  traces = [go.Scatter(x=path[:, 0], y=path[:, 1], mode="lines+markers", line=dict(color=NOW, width=2),
                       marker=dict(size=[3] * step + [11], color=NOW), **still),
            go.Scatter(x=[step], y=[float(descent.values[step])], mode="markers",
                       marker=dict(color=NOW, size=11), **still)]
  if descent.images is not None:
    top_mev = max(top_charge(descent.target), top_charge(descent.images))
    traces.append(heatmap(descent.images[step], top_mev, bar=None))
  return traces


def _controls(num_steps: int) -> dict:
  """Layout of the button and the slider."""
  still = dict(transition=dict(duration=0), mode="immediate")
  show = lambda duration: {"frame": dict(duration=duration, redraw=True), **still}
  play = dict(label="▶ play", method="animate", args=[None, {**show(FRAME_MS), "fromcurrent": True}])
  pause = dict(label="❚❚ pause", method="animate", args=[[None], show(0)])
  slider = dict(active=0, x=0.2, len=0.8, y=-0.06, currentvalue=dict(prefix="step "), steps=[
      dict(label=str(step), method="animate", args=[[str(step)], show(0)]) for step in range(num_steps)])
  menu = dict(type="buttons", direction="left", x=0, y=-0.08, xanchor="left", yanchor="top", showactive=False,
              buttons=[play, pause])
  return dict(updatemenus=[menu], sliders=[slider])
