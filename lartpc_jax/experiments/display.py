"""One interactive HTML page about an event: all that the house knows to show of it."""
import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.build import estimator as config_estimator
from lartpc_jax.build.generators import build_generate, build_generator
from lartpc_jax.data.events import Events, select_events
from lartpc_jax.data.images import check_views, choose_rows
from lartpc_jax.data.open import open_data
from lartpc_jax.data.pictures import images_of
from lartpc_jax.experiments import chunks
from lartpc_jax.experiments.protocol import Console, setting
from lartpc_jax.experiments.targets import describe_input
from lartpc_jax.extras import require_extra
from lartpc_jax.generators.generator import prior_noise
from lartpc_jax.geometry.rasterize import VIEWS, ImageSpec, to_view
from lartpc_jax.keys import root_key
from lartpc_jax.plotting import display as figures
from lartpc_jax.plotting.display_descent import descent_figure
from lartpc_jax.plotting.html_page import Section, html_page
from lartpc_jax.tables import write_text
from lartpc_jax.transport.exact import exact_plan

AXES = "xyz"
ABOUT = "Drag to turn or to zoom in, double-click to see all again; point at something to read it."
MAX_LIT = 2000  # lit pixels up to which a plan takes seconds


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to show."""
  input: str | None = setting(None, 'File of events or images, or "sample", "sample_crops".',
                              required=True)
  event: int = setting(0, "Number of the event.", lower=0)
  other_event: int | None = setting(
      None, "Another one, to whose image the charge is moved; default: the next.", lower=0)
  views: tuple[str, ...] = setting(("xy", "xz"), "Views of events; images have their own.")
  infer: str | None = setting(
      None, "Directory of launch.infer that holds the event: its descent is animated.")
  surface: str | None = setting(
      None, "Directory of launch.surface of the same event: the objective under the descent.")
  num_samples: int = setting(1000, "Draws of the amortised posterior of single protons; 0: none.", lower=0)
  weights: str | None = setting(None, "Directory of weights; default: those of the package.")
  out: str | None = setting(None, "Directory of the page.", required=True)
  plotlyjs: str = setting("inline", "The library inside the page (4.8 MB), or from the network.",
                          choices=("inline", "cdn"))
  seed: int = setting(0, "Seed of posterior and generated images.")


def run(settings: Settings, console: Console) -> None:
  """Writes display.html.

  Raises:
    OSError, ValueError: naming the file or flag that is wrong.
  """
  require_extra("display", "launch.display")
  if settings.surface and not settings.infer:
    raise ValueError("--surface goes with --infer: it is drawn under a descent.")
  opened = open_data(settings.input)
  event = _read(opened, settings, settings.event)
  parts = [lambda: _images(event), lambda: _voxels(opened, settings),
           lambda: _transport(opened, event, settings), lambda: _posterior(opened, event, settings),
           lambda: _descent(event, settings)]
  sections = []
  with console.progress(len(parts), description="display", unit="part") as bar:
    for i, part in enumerate(parts):
      sections += part()
      bar.update(i + 1)
  page = html_page(f"Event {settings.event} of {settings.input}",
                   ABOUT, sections, plotlyjs=settings.plotlyjs)
  out = Path(settings.out)
  out.mkdir(parents=True, exist_ok=True)
  path = write_text(out / "display.html", page)
  console.say(f"Wrote {path} ({path.stat().st_size / 1e6:.1f} MB): {', '.join(s.title for s in sections)}")


@dataclasses.dataclass(frozen=True)
class Shown:
  """One event as images."""
  images: np.ndarray                # [v n n] MeV
  views: tuple[str, ...]
  momentum_mev: np.ndarray | None   # [3]
  label: np.ndarray | None          # [v n n] classes of the pixels
  classes: tuple[str, ...]


def _read(opened, settings: Settings, number: int) -> Shown:
  if isinstance(opened, Events):
    choose_rows(len(opened), number, 1, settings.input)
    views = check_views(settings.views)
    images = images_of(opened, np.array([number]), views=views, spec=ImageSpec())
    momentum = opened.momentum_mev[number]
    return Shown(images[0], views, momentum if np.any(momentum != 0) else None, None, ())
  chosen = choose_rows(opened.num, number, 1, settings.input)
  found = opened.read(chosen, tuple({"momentum_mev", "label"} & set(opened.labels)))
  one = lambda name: found[name][0] if name in found else None
  return Shown(found["image"][0], opened.views, one("momentum_mev"), one("label"), opened.classes)


def _images(event: Shown) -> list[Section]:
  """The views, and classes of the pixels where the file has them."""
  top = figures.top_charge(event.images)
  drawn = [figures.image_figure(image, view=view, title=view, top_mev=top)
           for image, view in zip(event.images, event.views, strict=True)]
  caption = "Charge of each pixel in MeV, colours by its root, one scale for all views."
  if event.momentum_mev is not None:
    caption += " True momentum ({:.0f}, {:.0f}, {:.0f}) MeV/c.".format(*event.momentum_mev)
  found = [Section("Images", caption, drawn)]
  if event.label is not None:
    found.append(Section("Labels", "What most of the charge of a pixel comes from.", [
        figures.label_figure(label, event.classes, title=view)
        for label, view in zip(event.label, event.views, strict=True)]))
  return found


def _voxels(opened, settings: Settings) -> list[Section]:
  if not isinstance(opened, Events):
    return []
  one = select_events(opened, np.array([settings.event]))
  position = (one.voxel + 0.5) * one.voxel_mm
  title = f"{len(position)} voxels of {one.voxel_mm:g} mm, {one.edep_mev.sum():.1f} MeV"
  figure = figures.voxel_figure(position, one.edep_mev, momentum_mev=one.momentum_mev[0], title=title)
  return [Section("Voxels", "Where energy was deposited, in mm from the vertex.", [figure])]


def _transport(opened, event: Shown, settings: Settings) -> list[Section]:
  """From the first view of the event to that of the other one; nothing where the file has only one event."""
  num = len(opened) if isinstance(opened, Events) else opened.num
  number = (settings.event + 1) % num if settings.other_event is None else settings.other_event
  if num < 2 and settings.other_event is None:
    return []
  pair = [event.images[0], _read(opened, settings, number).images[0]]
  if max(np.count_nonzero(image) for image in pair) > MAX_LIT:
    return []
  plan = exact_plan(*pair)
  figure = figures.transport_figure(*pair, plan.source, plan.target, plan.share, title=(
      f"Earth Mover's Distance: {plan.value:.2f} px"))
  return [Section("Transport", f"The cheapest way from event {settings.event} to event {number}: to fill "
                  "the holes of the one image with the dirt of the other, "
                  f"both of one unit of charge, in view {event.views[0]}: each arrow moves a share of the "
                  "charge, and the distance is the mean length of a move.", [figure])]


def _posterior(opened, event: Shown, settings: Settings) -> list[Section]:
  """Of single protons in one or two views along the axes, in images as the estimator knows them."""
  along = all(view in VIEWS for view in event.views)
  fits = event.images.shape[1:] == ImageSpec().shape and event.momentum_mev is not None
  found = config_estimator.find_estimator(len(event.views), settings.weights) if along and fits else None
  if found is None or not settings.num_samples:
    return []
  estimator, images = found[0], jnp.asarray(event.images[None])
  draw = jax.jit(lambda key, x: estimator.sample(key, x, event.views, settings.num_samples))
  samples = np.asarray(draw(root_key(settings.seed), images))[:, 0]
  estimate = np.asarray(jax.jit(lambda x: estimator.estimate(x, event.views))(images))[0]
  figure = figures.posterior_figure(samples, {"truth": event.momentum_mev, "amortised": estimate},
                                    title="Momentum, MeV/c")
  views = " and ".join(event.views)
  return [Section("Posterior", f"{len(samples)} momenta drawn from the amortised posterior, given the charge "
                  f"in {views}.", [figure])]


def _descent(event: Shown, settings: Settings) -> list[Section]:
  """The steps of the inference, with images drawn anew at each, from one noise."""
  if not settings.infer:
    return []
  folder = Path(settings.infer)
  try:
    identity = json.loads((folder / "config.json").read_text(encoding="utf-8"))
  except json.JSONDecodeError as error:
    raise ValueError(f"{folder / 'config.json'}: is not readable as JSON ({error}).") from error
  if identity.get("input") != (name := describe_input(settings.input)):
    raise ValueError(f"{folder}: is of {identity.get('input')!r}, but --input names {name!r}.")
  saved = chunks.load_fields(folder / "chunks", np.array([settings.event]),
                             ["trajectory", "values", "momentum_mev"], identity=identity)
  path, values, inferred = (saved[name][0] for name in ("trajectory", "values", "momentum_mev"))
  plane, axes = _plane(settings.surface)
  view = identity["views"].split(",")[0]
  if view not in event.views:
    raise ValueError(f"{folder}: was inferred from {identity['views']}, but --views has "
                     f"{','.join(event.views)}.")
  target = event.images[event.views.index(view)]
  points = {"start": path[0], "inferred": inferred}
  points |= {} if event.momentum_mev is None else {"truth": event.momentum_mev}
  steps = min(len(path), len(values))
  descent = figures.Descent(path[:steps, axes], values[:steps],
                            _drawn(path[:steps], view, identity, settings), target,
                            tuple(f"p{AXES[axis]}" for axis in axes))
  figure = descent_figure(descent, plane, {name: p[axes] for name, p in points.items()},
                          title=f"Inference of event {settings.event}, view {view}")
  over = " over the objective, a map of launch.surface," if plane else ""
  return [Section("Inference", f"The descent{over} from its start to the momentum inferred, and what the "
                  "generator draws on the way, from one noise. Press play, or move the slider.", [figure],
                  wide=True)]


def _plane(folder: str | None) -> tuple[figures.Plane | None, list[int]]:
  """The map of launch.surface, if there is one, and its two axes."""
  if folder is None:
    return None, [0, 1]
  path = Path(folder) / "surface.npz"
  try:
    with np.load(path, allow_pickle=False) as npz:
      return figures.Plane(npz["first"], npz["second"], npz["values"]), npz["axes"].tolist()
  except (KeyError, EOFError, ValueError) as error:
    raise ValueError(f"{path}: is not a map of launch.surface ({error}); run it again.") from error


def _drawn(path_mev: np.ndarray, view: str, config: dict, settings: Settings) -> np.ndarray:
  """Images [s n n] in MeV at the momenta [s 3] of a descent, all from the same noise."""
  generator = build_generator(settings.weights).generator
  drawn_by = {name: config[name] for name in ("sampler", "guidance_scale")}  # the rest names the run
  generate = jax.jit(build_generate(drawn_by, generator))
  noise = jnp.repeat(prior_noise(generator, root_key(settings.seed), 1), len(path_mev), axis=0)
  cond = {"momentum_mev": to_view(jnp.asarray(path_mev, jnp.float32), view)}
  return np.asarray(generate(noise, cond))
