"""Interactive figures of an event: its images, voxels, the transport to another image, a posterior.

All are plotly figures, as is that of `plotting.display_descent`; `plotting.html_page` makes one page of them.
"""
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

COLOURS = "Viridis"
NUM_TICKS = 5
MARKS = {"truth": ("star", "#009e73"), "amortised": ("diamond", "#cc79a7"),
         "start": ("circle", "#f0f0f0"), "inferred": ("x", "#d55e00")}  # colours of Okabe & Ito 2008
CLASS_COLOURS = ("#ffffff", "#0072b2", "#d55e00", "#009e73", "#e69f00")  # of `data.labels.PIXEL_CLASSES`
# share of the charge up to which, width of an arrow
WIDTHS = ((0.01, 0.8), (0.03, 1.6), (0.1, 2.8), (1.0, 4.5))
FONT = dict(family="system-ui, DejaVu Sans, sans-serif", size=13)


class Descent(NamedTuple):
  """s steps of an inference over a plane of two components of the momentum."""
  path_mev: np.ndarray       # [s 2] MeV/c
  values: np.ndarray         # [s] objective, px
  images: np.ndarray | None  # [s n n] MeV, generated at the momentum of each step
  target: np.ndarray         # [n n] MeV
  labels: tuple[str, str]    # of the two components


class Plane(NamedTuple):
  """The objective over the same plane."""
  first: np.ndarray   # [c] MeV/c
  second: np.ndarray  # [r] MeV/c
  values: np.ndarray  # [r c] px


def _figure(**layout):
  import plotly.graph_objects as go
  margin = dict(l=60, r=20, t=48, b=52)
  return go.Figure(layout=dict(template="plotly_white", font=FONT, margin=margin, **layout))


def charge_bar(top_mev: float, **place) -> dict:
  """Colour bar of root charge with ticks in MeV."""
  ticks = top_mev * np.linspace(0.0, 1.0, NUM_TICKS)**2
  return dict(title=dict(text="MeV", side="right"), tickvals=np.sqrt(ticks), thickness=14,
              ticktext=[f"{tick:.2g}" for tick in ticks], **place)


def heatmap(image: np.ndarray, top_mev: float, *, bar: dict | None):
  """Of an image [n n] in MeV, colours by the root of charge, pixels from the vertex in the middle."""
  import plotly.graph_objects as go
  shown, centres = _short(np.asarray(image, np.float32).T), np.arange(len(image)) - (len(image) - 1) / 2
  return go.Heatmap(z=np.sqrt(shown), x=centres, y=centres, customdata=shown, colorscale=COLOURS, zmin=0.0,
                    zmax=float(np.sqrt(top_mev)), showscale=bar is not None, colorbar=bar,
                    hovertemplate="(%{x}, %{y}) px: %{customdata:.3f} MeV<extra></extra>")


def _short(values: np.ndarray) -> np.ndarray:
  """Four digits, so that the page stays small."""
  return np.round(values, 4).astype(np.float32)


def top_charge(images: np.ndarray) -> float:
  """Charge of the brightest pixel of images [... n n], MeV, above 0."""
  return max(float(np.max(images)), 1e-6)


def axis_names(view: str) -> tuple[str, str]:
  """What image axes 0 and 1 of a view are."""
  return (view[0], view[1]) if view in ("xy", "xz", "yz") else ("x", f"across {view}")


def image_figure(image: np.ndarray, *, view: str, title: str, top_mev: float | None = None):
  """One image [n n] in MeV with its colour bar; axis 0 to the right, axis 1 up."""
  top_mev = top_mev or top_charge(image)
  right, up = axis_names(view)
  figure = _figure(title=f"{title}, {image.sum():.1f} MeV", height=430)
  figure.add_trace(heatmap(image, top_mev, bar=charge_bar(top_mev)))
  figure.update_xaxes(title=f"{right}, pixels from the vertex", constrain="domain")
  figure.update_yaxes(title=f"{up}, pixels", scaleanchor="x", constrain="domain")
  return figure


def label_figure(label: np.ndarray, classes: Sequence[str], *, title: str):
  """Classes of the pixels [n n], numbers into `classes`."""
  import plotly.graph_objects as go
  num, centres = len(classes), np.arange(len(label)) - (len(label) - 1) / 2
  edges = [(i / num, colour) for i, colour in enumerate(CLASS_COLOURS[:num])]
  scale = [pair for i, (low, colour) in enumerate(edges) for pair in ((low, colour), ((i + 1) / num, colour))]
  figure = _figure(title=title, height=430)
  figure.add_trace(go.Heatmap(
      z=label.T, x=centres, y=centres, colorscale=scale, zmin=-0.5, zmax=num - 0.5,
      customdata=np.array(classes)[label.T], hovertemplate="(%{x}, %{y}) px: %{customdata}<extra></extra>",
      colorbar=dict(tickvals=list(range(num)), ticktext=list(classes), thickness=14, outlinewidth=1)))
  figure.update_xaxes(title="axis 0, pixels", constrain="domain", showgrid=False)
  figure.update_yaxes(title="axis 1, pixels", scaleanchor="x", constrain="domain", showgrid=False)
  return figure


def voxel_figure(position_mm: np.ndarray, edep_mev: np.ndarray, *, momentum_mev: np.ndarray | None,
                 title: str):
  """Deposits [m 3] in mm of energies [m] in MeV around the vertex, and the direction of the momentum [3]."""
  import plotly.graph_objects as go
  figure = _figure(title=title, height=520, showlegend=False)
  position_mm = _short(position_mm)
  figure.add_trace(go.Scatter3d(
      **dict(zip("xyz", position_mm.T, strict=True)), mode="markers", customdata=_short(edep_mev),
      marker=dict(symbol="square", size=4, color=np.sqrt(_short(edep_mev)), colorscale=COLOURS, cmin=0.0,
                  colorbar=charge_bar(top_charge(edep_mev), len=0.8)),
      hovertemplate="(%{x}, %{y}, %{z}) mm: %{customdata:.3f} MeV<extra></extra>"))
  if momentum_mev is not None and np.any(momentum_mev != 0):
    length = np.abs(position_mm).max() * 0.6 if len(position_mm) else 1.0
    x, y, z = (float(a) for a in momentum_mev / np.linalg.norm(momentum_mev) * length)
    figure.add_trace(go.Scatter3d(x=[0, x], y=[0, y], z=[0, z], mode="lines+text", hoverinfo="skip",
                                  text=["vertex", "momentum"], line=dict(color=MARKS["truth"][1], width=5)))
  figure.update_scenes(**{f"{axis}axis_title": f"{axis}, mm" for axis in "xyz"}, aspectmode="data")
  return figure


def transport_figure(image_a: np.ndarray, image_b: np.ndarray, source: np.ndarray, target: np.ndarray,
                     share: np.ndarray, *, title: str):
  """The moves [k] that take image_a, the dirt, to image_b, the holes; points [k 2] in px, shares [k] of the
  charge."""
  import plotly.graph_objects as go
  figure = _figure(title=title, height=620, legend=dict(orientation="h", y=-0.12))
  middle = (len(image_a) - 1) / 2
  low = 0.0
  for high, width in WIDTHS:
    chosen = (share > low) & (share <= high) & np.any(source != target, axis=1)
    low = high
    if chosen.any():
      gap = np.full(chosen.sum(), np.nan)
      x, y = (np.stack([source[chosen, i] - middle, target[chosen, i] - middle, gap], 1) for i in (0, 1))
      figure.add_trace(go.Scatter(
          x=x.ravel(), y=y.ravel(), mode="lines+markers", hoverinfo="skip", opacity=0.75,
          name=f"up to {100 * high:g} % of the charge", line=dict(width=width, color="#6a6a6a"),
          marker=dict(symbol="arrow", angleref="previous", color="#6a6a6a",
                      size=np.tile([0, 6 + 2 * width, 0], chosen.sum()))))
  for image, name, colour, symbol in ((image_a, "dirt: where charge is", "#d55e00", "square"),
                                      (image_b, "holes: where it should go", "#0072b2", "square-open")):
    rows, columns = np.nonzero(image > 0)
    charge = image[rows, columns]
    figure.add_trace(go.Scatter(
        x=rows - middle, y=columns - middle, mode="markers", name=name, customdata=_short(charge),
        marker=dict(symbol=symbol, color=colour, size=3 + 9 * np.sqrt(charge / charge.max()),
                    line=dict(width=1)),
        hovertemplate="(%{x}, %{y}) px: %{customdata:.3f} MeV<extra>" + name.split(":")[0] + "</extra>"))
  figure.update_xaxes(title="pixels from the vertex", constrain="domain")
  figure.update_yaxes(title="pixels", scaleanchor="x", constrain="domain")
  return figure


def posterior_figure(samples_mev: np.ndarray, points: Mapping[str, np.ndarray], *, title: str):
  """Draws [n 3] of the momentum in MeV/c as a cloud, and marked momenta [3], names of MARKS."""
  import plotly.graph_objects as go
  figure = _figure(title=title, height=560, legend=dict(orientation="h", y=-0.02))
  figure.add_trace(go.Scatter3d(**dict(zip("xyz", np.round(samples_mev, 1).T, strict=True)), mode="markers",
                                name="posterior", marker=dict(size=2, color="#0072b2", opacity=0.4),
                                hovertemplate="(%{x}, %{y}, %{z}) MeV/c<extra></extra>"))
  for name, point in points.items():
    x, y, z = (float(a) for a in point)
    figure.add_trace(go.Scatter3d(x=[x], y=[y], z=[z], mode="markers", name=name, marker=dict(
        size=7, symbol=MARKS[name][0] if name != "truth" else "diamond", color=MARKS[name][1],
        line=dict(color="black", width=1))))
  figure.update_scenes(**{f"{axis}axis_title": f"p{axis}, MeV/c" for axis in "xyz"}, aspectmode="data")
  return figure
