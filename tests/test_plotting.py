"""Figures: that they show what they were given."""
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from lartpc_jax.metrics.calibration import Calibration
from lartpc_jax.metrics.pixels import compare, pixel_statistics as pixel_stats
from lartpc_jax.plotting import (
  closure,
  evaluation,
  images as image_plots,
  inference as plots,
  pixel_statistics,
  pixels,
  scores,
  simulation,
  style,
  training,
)

DRAW = np.random.default_rng(0)


def test_image_rows_and_titles():
  images = DRAW.uniform(size=(3, 64, 64))
  titles = image_plots.momentum_titles(np.array([[1.2, -3.0, 4.0]] * 3))
  figure = image_plots.image_rows({"a": images, "b": 2 * images}, titles=titles)
  assert len(figure.axes) == 6 and figure.axes[0].get_title() == "(1, -3, 4)"
  assert figure.axes[0].images[0].norm.vmax == pytest.approx(2 * images[0].max())


def test_signed_images_are_symmetric():
  axis = image_plots.image_rows({"a": np.zeros((1, 64, 64))}).axes[0]
  image_plots.show_image(axis, DRAW.normal(size=(64, 64)), top=2.0, signed=True)
  assert (axis.images[-1].norm.vmin, axis.images[-1].norm.vmax) == (-2.0, 2.0)


@pytest.mark.parametrize("views", [("xy",), ("xy", "xz")])
def test_event_figure(views, tmp_path):
  images = DRAW.uniform(size=(len(views), 64, 64))
  axis = np.linspace(-0.3, 0.3, 5)
  surface = plots.Surface(axis, DRAW.uniform(size=(5, 5)), DRAW.normal(size=(7, 2)) * 0.1,
                          {name: np.zeros(2) for name in plots.MARKERS})
  figure = plots.event_figure(images, 0.5 * images, views=views, values=np.arange(6.0), surface=surface,
                              title="event 3")
  titles = [a.get_title() for a in figure.axes if a.get_title()]
  assert [t.split(",")[0] for t in titles] == ["target", "generated", "difference"] * len(views)
  labels = [line.get_label() for a in figure.axes for line in a.lines]
  assert set(plots.MARKERS) <= set(labels)
  figure.savefig(tmp_path / "a.png")
  plots.event_figure(images, images, views=views, values=np.full(6, np.nan), surface=None, title="").savefig(
      tmp_path / "b.png")


def test_summary_figure(tmp_path):
  errors = {"inferred": DRAW.uniform(1, 50, 20), "classical": np.append(DRAW.uniform(1, 50, 19), np.nan)}
  figure = plots.summary_figure(errors, magnitude_mev=np.full(20, 350.0),
                                angle_degrees=np.linspace(0, 90, 20), of="true")
  assert [a.get_xlabel() for a in figure.axes][1] == "true |p|, MeV/c"
  figure.savefig(tmp_path / "a.png")
  plots.summary_figure({"a": np.zeros(1)}, magnitude_mev=np.ones(1), angle_degrees=np.ones(1), of="true")


def test_loss_curve():
  assert training.loss_curve([1, 2], [3.0, 2.0]).axes[0].get_yscale() == "log"
  with pytest.raises(ValueError, match="one shape"):
    training.loss_curve([1], [1.0, 2.0])


def test_mosaic_puts_axis_0_right_and_axis_1_up():
  images = np.zeros((3, 4, 4), np.float32)
  images[0, 3, 0] = 1.0  # right, bottom
  images[2, 0, 3] = 2.0  # left, top; second row, first column
  got = pixels.mosaic(images, 2)
  assert got.shape == (9, 9) and got[3, 3] == 1.0 and got[5, 0] == 2.0
  assert np.isnan(got[4]).all() and np.isnan(got[:, 4]).all() and np.isnan(got[5:, 5:]).all()


def test_mosaics_share_their_colours():
  figure = pixels.mosaics({"a": DRAW.uniform(size=(5, 8, 8)), "b": DRAW.uniform(size=(3, 8, 8))},
                          num_columns=2)
  assert [axis.get_title() for axis in figure.axes[:2]] == ["a", "b"]
  assert figure.axes[0].images[0].norm is not None and figure.axes[0].images[0].get_array().shape == (26, 17)


def test_statistics_figure_names_chi2():
  real, fake = (
      np.where(DRAW.uniform(size=(50, 8, 8)) < 0.3, DRAW.exponential(size=(50, 8, 8)), 0.0) for _ in range(2))
  chi2 = {"fake": compare(real, fake)}
  figure = pixel_statistics.statistics_figure(pixel_stats(real), {"fake": pixel_stats(fake)}, chi2)
  assert len(figure.axes) == 3
  assert f"{chi2['fake']['charge'].reduced:.2f}" in figure.axes[1].get_legend().get_texts()[1].get_text()


def test_score_pictures_show_arrows_and_points():
  points = DRAW.normal(size=(20, 2))
  figure = scores.score_fields({"a": lambda x: -x, "b": lambda x: x}, {"a": points, "b": points})
  arrows = figure.axes[0].collections[0]
  np.testing.assert_allclose(arrows.U, -scores.grid_points()[:, 0] / np.maximum(
      np.linalg.norm(scores.grid_points(), axis=1), 1e-6), atol=1e-6)
  rows = scores.point_rows({"r": [points, points], "s": [points, points]}, ["0", "1"])
  assert [axis.get_title() for axis in rows.axes] == ["0", "1", "", ""]
  assert len(scores.image_strip({"i": np.zeros((2, 4, 4))}, ["0", "1"], limit=1.0).axes) == 2


def drawn_texts(axis):
  """Window boxes of the tick labels and the legend's texts that are shown."""
  figure = axis.figure
  FigureCanvasAgg(figure).draw()
  ticks = [label for side in (axis.xaxis, axis.yaxis) for label in side.get_ticklabels(which="both")
           if label.get_visible() and label.get_text()]
  inside = lambda label: axis.bbox.expanded(1.02, 1.02).x0 <= label.get_window_extent().x1
  return [label.get_window_extent() for label in ticks if inside(label)]


@pytest.mark.parametrize("low,high", [(1.0, 3.0), (2.0, 40.0), (3.0, 900.0), (0.1, 1e5)])
def test_labels_of_a_summary_do_not_overlap_and_legends_cover_nothing(low, high):
  errors = {name: DRAW.uniform(low, high, 50) for name in ("inferred", "classical", "amortised")}
  figure = plots.summary_figure(errors, magnitude_mev=np.linspace(310, 440, 50),
                                angle_degrees=np.linspace(0, 90, 50), of="true")
  for axis in figure.axes:
    boxes = drawn_texts(axis)
    assert len(boxes) >= 3
    overlaps = [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1:] if a.overlaps(b)]
    assert not overlaps
    assert axis.get_legend().get_window_extent().y0 >= axis.bbox.y1 - 1


def report_columns(num):
  names = ["real against real", *(f"sample {i}" for i in range(num))]
  values = {"reference": DRAW.normal(size=500), **{name: DRAW.normal(size=400) for name in names}}
  return names, values


def test_a_column_has_one_look_in_all_plots_of_a_report():
  names, values = report_columns(9)
  styles = style.colours(names)
  assert len({tuple(look.values()) for look in styles.values()}) == len(names)
  edges = np.linspace(-3, 3, 13)
  histogram = evaluation.histogram_grid({"x": (edges, values)}, styles)
  calibration = Calibration(*(np.linspace(0, 1, 5) for _ in Calibration._fields))
  classifier = evaluation.reliability_grid(
      {"CNN": {name: (calibration, DRAW.uniform(size=100), 50) for name in names}}, styles)
  drawn = {patch.get_label(): patch.get_edgecolor() for patch in histogram.axes[0].patches}
  curves = {line.get_label(): line.get_color() for line in classifier.axes[0].lines}
  for name in names:
    assert drawn[name] == to_rgba(styles[name]["color"]) and curves[name] == styles[name]["color"], name


def test_a_tower_does_not_squash_a_histogram_and_what_is_outside_is_told():
  edges = np.linspace(-0.5, 60.5, 62)
  counts = np.where(DRAW.uniform(size=5000) < 0.97, 0, DRAW.integers(1, 60, 5000))
  even, far = DRAW.integers(0, 60, 5000), np.full(300, 1e3)
  styles = style.colours(["floor", "far"])
  figure = evaluation.histogram_grid({"pixels": (edges, {"reference": counts, "floor": counts, "far": far}),
                                      "even": (edges, {"reference": even, "floor": even})}, styles)
  assert figure.axes[0].get_yscale() == "log" and figure.axes[1].get_yscale() == "linear"
  assert figure.axes[0].get_title("right") == "outside: far 100 %" and not figure.axes[1].get_title("right")


def test_points_beyond_the_axes_stay_in_sight():
  ratio = np.array([1.0, 3.0, -2.0])
  figure = closure.quantity_against_energy(
      np.array([50.0, 75.0, 100.0]), {"a": np.stack([np.ones(3), ratio])}, None, ylabel="y", band=0.05)
  low, high = figure.axes[1].get_ylim()
  shown = {line.get_marker(): line.get_ydata() for line in figure.axes[1].lines}
  assert shown["^"] == pytest.approx(high) and shown["v"] == pytest.approx(low) and max(shown["s"]) <= high
  values = np.stack([np.ones(2), np.array([1.0, 9.0])])
  figure = simulation.binned_comparison([("a", np.arange(3.0), values, 0.1 * values)], limit=0.1, xlabel="x",
                                        ylabel="y")
  assert any(line.get_marker() == "^" and len(line.get_ydata()) == 1 for line in figure.axes[1].lines)
  grid = np.linspace(-0.3, 0.3, 5)
  surface = plots.Surface(grid, DRAW.uniform(size=(5, 5)), np.zeros((2, 2)), {
      "truth": np.zeros(2), "start": np.array([2.0, -0.1])})
  axis = Figure().subplots()
  plots.draw_surface(axis, surface)
  marked = {line.get_label(): line.get_xydata()[0] for line in axis.lines}
  assert marked["start (outside)"] == pytest.approx([0.3, -0.1]) and "truth" in marked


def test_mosaic_of_a_report_has_one_scale_with_its_unit():
  images = {"real": DRAW.uniform(size=(3, 8, 8)), "bright": 5 * DRAW.uniform(size=(3, 8, 8))}
  figure = evaluation.mosaic(images)
  tops = [axis.images[0].norm.vmax for axis in figure.axes if axis.images]
  assert tops == pytest.approx([images["real"].max()] * 6)
  assert figure.axes[-1].get_ylabel() == "MeV per pixel"
