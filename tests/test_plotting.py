"""Figures: that they show what they were given."""
import numpy as np
import pytest

from lartpc_jax.plotting import images as image_plots, inference as plots, training

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
  figure = plots.event_figure(images, 0.5 * images, views=views, values=np.arange(6.0), surface=surface, title="event 3")
  titles = [a.get_title() for a in figure.axes if a.get_title()]
  assert [t.split(",")[0] for t in titles] == ["target", "generated", "difference"] * len(views)
  labels = [line.get_label() for a in figure.axes for line in a.lines]
  assert set(plots.MARKERS) <= set(labels)
  figure.savefig(tmp_path / "a.png")
  plots.event_figure(images, images, views=views, values=np.full(6, np.nan), surface=None, title="").savefig(
      tmp_path / "b.png")


def test_summary_figure(tmp_path):
  errors = {"inferred": DRAW.uniform(1, 50, 20), "classical": np.append(DRAW.uniform(1, 50, 19), np.nan)}
  figure = plots.summary_figure(errors, magnitude_mev=np.full(20, 350.0), angle_degrees=np.linspace(0, 90, 20), of="true")
  assert [a.get_xlabel() for a in figure.axes][1] == "true |p|, MeV/c"
  figure.savefig(tmp_path / "a.png")
  plots.summary_figure({"a": np.zeros(1)}, magnitude_mev=np.ones(1), angle_degrees=np.ones(1), of="true")


def test_loss_curve():
  assert training.loss_curve([1, 2], [3.0, 2.0]).axes[0].get_yscale() == "log"
  with pytest.raises(ValueError, match="one shape"):
    training.loss_curve([1], [1.0, 2.0])
