"""The objective over two components of the momentum, the third fixed or profiled: what launch.surface
does.
"""
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.build import inference as config_inference
from lartpc_jax.build.generators import build_generate, build_generator
from lartpc_jax.data.images import check_views
from lartpc_jax.experiments.generate import parse_momenta
from lartpc_jax.experiments.infer import check_momentum_alone
from lartpc_jax.experiments.pictures import save_figure
from lartpc_jax.experiments.protocol import Console, setting
from lartpc_jax.experiments.targets import open_targets
from lartpc_jax.files import atomic_write
from lartpc_jax.generators.generator import prior_noise
from lartpc_jax.geometry.rasterize import to_view
from lartpc_jax.inference.errors import outside_range
from lartpc_jax.inference.imaging import antithetic_noise, generate_views
from lartpc_jax.inference.surface import component_grid, make_first_order, make_surface, trusted_step
from lartpc_jax.keys import root_key
from lartpc_jax.plotting.surface import surface_figure
from lartpc_jax.tables import markdown_table, write_json
from lartpc_jax.transport import distances
from lartpc_jax.transport.emd import REPORTING, make_emd

AXES = "xyz"
NUM_JUDGED = 32  # draws at start and end, as the published fit compares with
# Published: debiased Sinkhorn divergence of blur 0.01 px, of normalised images, all lit pixels; best draw.
PUBLISHED = dict(ot_epsilon_px=0.01, num_iterations=REPORTING["num_iterations"], num_pixels=240)
STEPS_MEV = np.array([2.0, 5.0, 10.0, 20.0, 40.0, 80.0], np.float32)


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to draw."""
  momentum: str | None = setting(None, "px,py,pz in MeV/c of a generated target.")
  input: str | None = setting(None, 'File of events or images, or "sample".')
  event: int = setting(0, "Number of the event in --input.", lower=0)
  views: tuple[str, ...] = setting(("xy", "xz"), "Views.")
  axes: tuple[str, ...] = setting(("px", "py"), "The two components.")
  third: tuple[str, ...] | None = setting(None,
                                          "The third component, MeV/c: one value, or minimum,maximum,number.")
  start: str | None = setting(None, "px,py,pz in MeV/c from which a descent is drawn.")
  half_width_mev: float = setting(250.0, "Half the side of the map, MeV/c.", lower=1.0)
  points: int = setting(25, "Points a side.", lower=3)
  draws: int = setting(2, "Network draws a view; each gives two images.", lower=1)
  weights: str | None = setting(None, "Directory of weights; default: those of the package.")
  out: str | None = setting(None, "Directory of the results.", required=True)
  seed: int = setting(0, "Seed of the target and the noise.")


class SurfaceMap(NamedTuple):
  """Objective in px over two components in MeV/c."""
  first: np.ndarray        # [c]
  second: np.ndarray       # [r]
  values: np.ndarray       # [r c], profiled over the third if so asked
  trusted_mev: np.ndarray  # [r c], see `inference.surface.trusted_step`
  target: np.ndarray       # [v n n]
  truth: np.ndarray | None
  trajectory: np.ndarray | None  # [s 3]
  ends: dict | None              # distances at start and end, see `judge_ends`


def run(settings: Settings, config: Mapping, console: Console) -> None:
  """Computes and draws the surface."""
  with console.progress(100, description="surface", unit="%") as bar:
    found = compute(settings, config, progress=lambda share: bar.update(int(100 * share)), say=bar.write)
  if found.ends is not None:
    console.say(ends_table(found.ends))
  console.say("Wrote " + ", ".join(str(path) for path in write_surface(settings.out, settings, found)))


def compute(settings: Settings, config: Mapping, *, progress: Callable = lambda done: None,
            say: Callable = print
            ) -> SurfaceMap:
  """Computes the surface of an inference config's last stage.

  Raises:
    OSError, ValueError: naming the file, flag or key that is wrong.
  """
  views, axes = check_views(settings.views), _axes(settings.axes)
  config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
  generator = build_generator(settings.weights).generator
  check_momentum_alone(generator)
  key_target, key_noise, key_descent = jax.random.split(root_key(settings.seed), 3)
  key_ends = jax.random.fold_in(jax.random.clone(key_descent), 1)
  image, truth = _target(settings, views, config, generator, key_target)
  start = None if settings.start is None else parse_momenta(settings.start)[0]
  for name, p in (("truth", truth), ("start", start)):
    if p is not None and outside_range(p[None], generator.kinetic_range_mev)[0]:
      say(f"WARNING: the {name} ({p[0]:g}, {p[1]:g}, {p[2]:g}) MeV/c lies outside the "
          f"{generator.kinetic_range_mev} MeV that the generator was trained on.")
  middle = np.zeros(3) if truth is None else truth
  others = _others(settings, float(middle[({0, 1, 2} - set(axes)).pop()]))
  offsets = np.linspace(-settings.half_width_mev, settings.half_width_mev, settings.points)
  first, second = (offsets + (middle[a] if truth is not None else 0.0) for a in axes)
  grid = component_grid(first, second, axes=axes, others_mev=others)
  objective = config_inference.build_objective(config, generator, views)
  noise = antithetic_noise(key_noise, len(views), settings.draws, generator.codec.state_shape)
  surface, first_order = jax.jit(make_surface(objective)), jax.jit(make_first_order(objective))
  layers = []
  for k in range(grid.shape[2]):
    layers.append(np.asarray(surface(image, grid[:, :, k], noise)))
    progress((k + 1) / (grid.shape[2] + 1))
  layers = np.stack(layers, axis=-1)
  best = np.argmin(np.where(np.isnan(layers), np.inf, layers), axis=-1)[..., None]
  profiled = np.take_along_axis(grid, best[..., None], axis=2)[:, :, 0]
  value, gradient, walked = (np.asarray(x)
                             for x in first_order(image, profiled, noise, jnp.asarray(STEPS_MEV)))
  progress(1.0)
  trajectory = ends = None
  if start is not None:
    infer = config_inference.build_infer(config, generator, views)
    twice = jnp.broadcast_to(jnp.asarray(start), (1, 2, 1, 3))  # one start alone would skip the first stage
    found = jax.jit(infer.refine)(image[None], twice, key_descent)
    trajectory = np.asarray(found.trajectory)[0, :, 0]
    noise = jax.random.normal(key_ends, (len(views), NUM_JUDGED, *generator.codec.state_shape))
    judge = jax.jit(make_judge_ends(build_generate(config, generator), views))
    ends = {name: np.asarray(x) for name, x in judge(image, trajectory[np.array([0, -1])], noise).items()}
  return SurfaceMap(first, second, np.take_along_axis(layers, best, axis=-1)[..., 0],
                 trusted_step(value, gradient, walked, STEPS_MEV), np.asarray(image), truth, trajectory, ends)


def make_judge_ends(generate: Callable, views: tuple[str, ...]) -> Callable:
  """Builds judge(image [v n n], momentum_mev [m 3], noise [v k h w c]) -> arrays [m], means over views:

  | name | what |
  | --- | --- |
  | momentum_mev | [m 3], as given |
  | mean_px | W1 of normalised images, mean over the k draws: what this package reports |
  | best_px | the same of the best draw |
  | published_px | Sinkhorn divergence of blur 0.01 px of normalised images, best draw: as published |
  | charge_off | |Q - Q_target| / Q_target, mean over draws: what normalisation hides |
  """
  ours, published = make_emd(**REPORTING), distances.sinkhorn(**PUBLISHED)

  def judge(image, momentum_mev, noise):
    drawn = generate_views(generate, noise, momentum_mev, views)  # [m v k n n]
    def one_view(of_view, target):
      each = lambda distance: jax.lax.map(lambda x: distance.emd(x, target).value, of_view)
      charge = jnp.abs(of_view.sum((1, 2)) / target.sum() - 1.0)
      found = each(ours)
      return {"mean_px": found.mean(), "best_px": found.min(), "published_px": each(published).min(),
              "charge_off": charge.mean()}
    found = jax.vmap(lambda x: jax.vmap(one_view)(x, image))(drawn)
    return {"momentum_mev": momentum_mev, **jax.tree.map(lambda x: x.mean(axis=1), found)}
  return judge


def ends_table(ends: dict) -> str:
  """Markdown table of start and end of a descent; see `make_judge_ends`."""
  rows = [(name, *(f"{p:.0f}" for p in ends["momentum_mev"][i]),
           *(f"{ends[key][i]:.3f}" for key in ("mean_px", "best_px", "published_px", "charge_off")))
          for i, name in enumerate(("start", "end"))]
  return markdown_table(("", "px, MeV/c", "py", "pz", f"W1, mean of {NUM_JUDGED} draws, px", "best draw, px",
                         "published: best, blur 0.01 px", "charge off, share"), rows)


def write_surface(out: str | Path, settings: Settings, found: SurfaceMap) -> list[Path]:
  """Writes surface.npz and surface.png, with a descent surface.json too; returns the paths."""
  out = Path(out)
  out.mkdir(parents=True, exist_ok=True)
  axes = _axes(settings.axes)
  with atomic_write(out / "surface.npz", "wb") as file:
    np.savez_compressed(file, axes=np.array(axes),
                        **{name: array for name, array in found._asdict().items()
                           if array is not None and name != "ends"})
  points = {} if found.truth is None else {"truth": found.truth}
  if found.trajectory is not None:
    points |= {"start": found.trajectory[0], "inferred": found.trajectory[-1]}
  figure = surface_figure(
      found.first, found.second, {"objective, px": found.values, "trusted step, MeV/c": found.trusted_mev},
      labels=[f"p{AXES[a]}, MeV/c" for a in axes], points={name: p[list(axes)] for name, p in points.items()},
      trajectory=None if found.trajectory is None else found.trajectory[:, list(axes)])
  paths = [out / "surface.npz", save_figure(figure, out / "surface.png")]
  return paths if found.ends is None else [*paths, write_json(out / "surface.json", found.ends)]


def _axes(names: Sequence[str]) -> tuple[int, int]:
  allowed = [f"p{axis}" for axis in AXES]
  if len(names) != 2 or len(set(names)) != 2 or not set(names) <= set(allowed):
    raise ValueError(f"--axes must be two different ones of {', '.join(allowed)}; got {','.join(names)}.")
  return tuple(allowed.index(name) for name in names)


def _others(settings: Settings, middle: float) -> np.ndarray:
  """Values of the third component: that of the truth, the one given, or a range."""
  if settings.third is None:
    return np.array([middle])
  try:
    values = [float(x) for x in settings.third]
  except ValueError:
    values = []
  if len(values) == 1:
    return np.array(values)
  if len(values) != 3 or values[0] >= values[1] or values[2] < 2 or values[2] != int(values[2]):
    raise ValueError("--third must be one value in MeV/c, which fixes the third component, or "
                     "minimum,maximum,number, over which it is profiled; got "
                     f"{','.join(map(str, settings.third))!r}.")
  return np.linspace(values[0], values[1], int(values[2]))


def _target(settings: Settings, views, config, generator, key):
  """Image [v n n] and its momentum [3], None if not known."""
  if (settings.momentum is None) == (settings.input is None):
    raise ValueError("Give --momentum or --input, one of the two; --help says what they may be.")
  if settings.momentum is not None:
    truth = parse_momenta(settings.momentum)[0]
    generate = build_generate(config, generator)
    seen = jnp.stack([to_view(jnp.asarray(truth), view) for view in views])
    return jax.jit(generate)(prior_noise(generator, key, len(views)), {"momentum_mev": seen}), truth
  data, _, _ = open_targets(settings.input, views=views, spec=generator.spec, first=settings.event, num=1)
  return jnp.asarray(data.images[0]), None if data.momentum_mev is None else data.momentum_mev[0]
