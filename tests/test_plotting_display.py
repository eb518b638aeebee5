"""Interactive figures: what is drawn is what was given, and the page needs nothing else."""
import re

import numpy as np
import pytest

from lartpc_jax.plotting import display
from lartpc_jax.plotting.display_descent import descent_figure
from lartpc_jax.plotting.html_page import Section, html_page
from lartpc_jax.transport.exact import exact_emd, exact_plan


def picture(seed, num=12, size=16):
  rng = np.random.default_rng(seed)
  image = np.zeros((size, size), np.float32)
  image[rng.integers(0, size, num), rng.integers(0, size, num)] = rng.gamma(2.0, 1.0, num)
  return image


def test_a_plan_moves_all_charge_at_the_price_of_the_distance():
  a, b = picture(0), picture(1)
  plan = exact_plan(a, b)
  left, arrived = np.zeros_like(a, float), np.zeros_like(b, float)
  np.add.at(left, tuple(plan.source.T.astype(int)), plan.share)
  np.add.at(arrived, tuple(plan.target.T.astype(int)), plan.share)
  np.testing.assert_allclose(left, a / a.sum(), atol=1e-6)
  np.testing.assert_allclose(arrived, b / b.sum(), atol=1e-6)
  np.testing.assert_allclose(plan.value, exact_emd(a, b), rtol=1e-6)
  assert len(plan.share) < (a > 0).sum() + (b > 0).sum() and plan.share.min() > 0


def test_a_moved_image_is_moved_by_one_arrow_a_pixel():
  a = picture(2)
  a[:, -3:] = 0.0
  plan = exact_plan(a, np.roll(a, 3, axis=1))
  np.testing.assert_allclose(plan.value, 3.0, rtol=1e-6)


def test_an_image_lies_with_axis_0_to_the_right():
  image = np.zeros((8, 8), np.float32)
  image[6, 1] = 4.0
  figure = display.image_figure(image, view="xz", title="a")
  heat = figure.data[0]
  row, column = np.argwhere(np.asarray(heat.z) > 0)[0]
  assert (heat.x[column], heat.y[row]) == (2.5, -2.5) and np.max(heat.z) == 2.0  # root of MeV
  assert heat.colorbar.title.text == "MeV" and heat.colorbar.ticktext[-1] == "4"
  assert heat.colorbar.tickvals[-1] == 2.0
  assert figure.layout.xaxis.title.text.startswith("x") and figure.layout.yaxis.title.text.startswith("z")


def test_every_move_is_an_arrow():
  a, b = picture(0), picture(1)
  plan = exact_plan(a, b)
  figure = display.transport_figure(a, b, plan.source, plan.target, plan.share, title="t")
  arrows = [trace for trace in figure.data if trace.mode == "lines+markers"]
  x = np.concatenate([np.asarray(trace.x, float).reshape(-1, 3) for trace in arrows])
  moving = np.any(plan.source != plan.target, axis=1)
  assert len(x) == moving.sum() and np.isnan(x[:, 2]).all()
  ends = np.stack([plan.source[moving, 0], plan.target[moving, 0]], axis=1)
  assert sorted(map(tuple, x[:, :2] + 7.5)) == sorted(map(tuple, ends))
  dirt, holes = (trace for trace in figure.data if trace.mode == "markers")
  assert len(dirt.x) == (a > 0).sum() and len(holes.x) == (b > 0).sum()


def test_a_descent_has_a_frame_for_each_step():
  steps = 5
  path = np.stack([np.linspace(-50, 0, steps), np.linspace(20, 5, steps)], axis=1)
  images = np.stack([picture(i) for i in range(steps)])
  descent = display.Descent(path, np.linspace(3, 1, steps), images, picture(9), ("px", "pz"))
  plane = display.Plane(np.linspace(-60, 10, 7), np.linspace(-5, 30, 6), np.ones((6, 7)))
  figure = descent_figure(descent, plane, {"truth": path[-1], "start": path[0]}, title="t")
  assert [frame.name for frame in figure.frames] == ["0", "1", "2", "3", "4"]
  for step, frame in enumerate(figure.frames):
    assert len(frame.data[0].x) == step + 1 and frame.data[1].y[0] == descent.values[step]
    np.testing.assert_allclose(np.asarray(frame.data[2].z)**2, descent.images[step].T, atol=1e-3)
    assert [type(figure.data[i]) for i in frame.traces] == [type(trace) for trace in frame.data]
  assert len(figure.layout.sliders[0].steps) == steps
  assert figure.data[0].type == "contour" and np.asarray(figure.data[0].z).shape == (6, 7)


def test_without_a_map_and_without_images_it_is_drawn_too():
  descent = display.Descent(np.zeros((2, 2)), np.ones(2), None, picture(0), ("px", "py"))
  figure = descent_figure(descent, None, {}, title="t")
  assert len(figure.frames) == 2 and len(figure.frames[0].data) == 2


def test_voxels_and_clouds_are_where_they_are():
  rng = np.random.default_rng(0)
  position, energy = rng.normal(size=(20, 3)) * 10, rng.gamma(2.0, 1.0, 20)
  momentum = np.array([0.0, 3.0, 4.0])
  cloud, arrow = display.voxel_figure(position, energy, momentum_mev=momentum, title="v").data
  np.testing.assert_allclose(np.stack([cloud.x, cloud.y, cloud.z], 1), position, atol=1e-3)
  np.testing.assert_allclose([arrow.y[1] / arrow.z[1], arrow.x[1]], [0.75, 0.0])
  samples, truth = display.posterior_figure(position, {"truth": momentum}, title="p").data
  np.testing.assert_allclose(samples.z, np.round(position[:, 2], 1))
  assert (truth.x[0], truth.y[0], truth.z[0]) == (0.0, 3.0, 4.0)


def test_classes_have_one_colour_each():
  label = np.array([[0, 1], [2, 0]])
  heat = display.label_figure(label, ("background", "track", "shower"), title="l").data[0]
  assert np.asarray(heat.z).tolist() == label.T.tolist() and list(heat.colorbar.ticktext)[2] == "shower"
  assert len({colour for _, colour in heat.colorscale}) == 3


@pytest.mark.parametrize("kind,smallest,largest", [("inline", 3e6, 7e6), ("cdn", 1e3, 1e5)])
def test_the_page_holds_the_library_or_names_it(kind, smallest, largest):
  figure = display.image_figure(picture(0), view="xy", title="a <b>")
  page = html_page("Event <1>", "about", [Section("Images", "caption & more", [figure])], plotlyjs=kind)
  assert smallest < len(page.encode()) < largest
  assert "Event &lt;1&gt;" in page and "caption &amp; more" in page and "Event <1>" not in page
  loaded = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=['\"]?(http[^'\" >]+)", page)
  assert len(loaded) == (kind == "cdn") and all("plotly" in address for address in loaded)


def test_another_library_is_named():
  with pytest.raises(ValueError, match="inline or cdn; got 'x'"):
    html_page("t", "a", [], plotlyjs="x")
