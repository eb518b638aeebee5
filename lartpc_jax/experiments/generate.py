"""Images of protons with given momenta, in a file that inference reads, and pictures of them."""
import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from lartpc_jax import parallel
from lartpc_jax.build.generators import build_generate, build_generator
from lartpc_jax.data.image_files import save_images
from lartpc_jax.data.images import check_views
from lartpc_jax.experiments.pictures import save_figure
from lartpc_jax.experiments.protocol import NO_BAR, Bar, Console, setting
from lartpc_jax.generators import condition as condition_lib
from lartpc_jax.generators.generator import Generator, prior_noise
from lartpc_jax.geometry.rasterize import to_view
from lartpc_jax.keys import root_key
from lartpc_jax.plotting.images import image_rows, momentum_titles
from lartpc_jax.units import (
  PDG_CODES,
  PROTON_MASS_MEV,
  PROTON_PDG,
  kinetic_energy,
  masses_mev,
  momentum_from_kinetic,
)

MAX_COLUMNS = 16
MAX_PICTURES = 8


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to draw."""
  momentum: str | None = setting(None, "px,py,pz in MeV/c; several with ; between them.")
  kinetic_mev: tuple[str, ...] | None = setting(
      None,
      "In place of --momentum: minimum,maximum; --num isotropic momenta of kinetic energies uniform in "
      "between, with one event each.")
  num: int = setting(16, "Images of each momentum.", lower=1)
  views: tuple[str, ...] = setting(("xy", "xz"), "Views.")
  out: str | None = setting(None, "Directory of the images.", required=True)
  weights: str | None = setting(None, "Directory of weights; default: those of the package.")
  cond: str = setting("",
                      "What else the generator is asked for, NAME=VALUE,...: numbers, or names of classes, "
                      "as in particle=mu-.")
  guidance_scale: float | None = setting(None,
                                         "Classifier-free guidance, 1 is none; default: that of the config.")
  extrapolate: bool = setting(False, "Draw beyond the energies of the training too, with a warning.")
  chunk_size: int = setting(32, "Images a device draws at once.", lower=1)
  seed: int = setting(0, "Seed of the noise, and of momenta that are drawn.")


def run(settings: Settings, config: Mapping, console: Console) -> None:
  """Draws and writes the images."""
  if bool(settings.momentum) == bool(settings.kinetic_mev):
    raise ValueError("Give --momentum or --kinetic_mev, one of the two; --help says what they may be.")
  if settings.guidance_scale is not None:
    config = {**config, "guidance_scale": settings.guidance_scale}
  if settings.kinetic_mev:
    mass_mev = _mass_of(settings.cond)
    momenta, num = draw_momenta(settings.num, settings.kinetic_mev, settings.seed, mass_mev), 1
  else:
    momenta, num = parse_momenta(settings.momentum), settings.num
  with console.progress(len(momenta) * num, description="generate", unit="event") as bar:
    images, momentum_mev, pdg = generate_events(
        momenta, config, views=settings.views, num=num, weights=settings.weights, seed=settings.seed,
        chunk_size=settings.chunk_size, asked=settings.cond, extrapolate=settings.extrapolate, bar=bar)
  paths = write_images(settings.out, images, momentum_mev, views=settings.views, num=num, pdg=pdg)
  console.say("Wrote " + ", ".join(str(path) for path in paths))


def parse_momenta(text: str) -> np.ndarray:
  """Momenta [m 3] from "px,py,pz" in MeV/c, several with ; between them. Raises ValueError naming a bad
  one.
  """
  momenta = []
  for part in text.split(";"):
    try:
      momentum = [float(number) for number in part.split(",")]
    except ValueError:
      momentum = []
    if len(momentum) != 3 or not np.isfinite(momentum).all():
      raise ValueError(f"Bad momentum {part.strip()!r}: give px,py,pz in MeV/c, such as "
                       "--momentum=-356,-245,40.")
    momenta.append(momentum)
  return np.array(momenta, np.float32)


def _mass_of(asked: str) -> float:
  """Rest mass in MeV of the particle that `--cond` names, of a proton if it names none that is known."""
  found = re.search(r"(?:^|,)\s*particle\s*=\s*([^,\s]+)", asked)
  code = PROTON_PDG if found is None else PDG_CODES.get(found[1], 0)
  return float(masses_mev(code, PROTON_MASS_MEV)[0])


def draw_momenta(num: int, kinetic_mev: Sequence[float | str], seed: int,
                 mass_mev: float = PROTON_MASS_MEV) -> np.ndarray:
  """Momenta [num 3] in MeV/c of particles of a mass: isotropic, kinetic energy uniform between two values, as
  the training events.

  Raises:
    ValueError: unless there are two rising positive energies.
  """
  try:
    low, high = (float(x) for x in kinetic_mev)
  except ValueError:
    low = high = float("nan")
  if not 0.0 < low <= high < np.inf:
    raise ValueError(f"Bad kinetic energies {','.join(map(str, kinetic_mev))!r}: give minimum,maximum in "
                     "MeV, such as --kinetic_mev=50,100.")
  draw = np.random.default_rng(seed)
  direction = draw.normal(size=(num, 3))
  kinetic = jnp.asarray(draw.uniform(low, high, (num, 1)), jnp.float32)
  magnitude = np.asarray(momentum_from_kinetic(kinetic, mass_mev))
  return (magnitude * direction / np.linalg.norm(direction, axis=1, keepdims=True)).astype(np.float32)


def generate_events(momenta_mev: np.ndarray, config: Mapping, *, views: tuple[str, ...], num: int,
                    weights: str | None = None, seed: int = 0, chunk_size: int = 32, asked: str = "",
                    extrapolate: bool = False, bar: Bar = NO_BAR
                    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
  """`num` events of each momentum: images [m*num v p p] in MeV, their momenta [m*num 3], and PDG codes
  [m*num] if asked for.

  Args:
    momenta_mev: [m 3].
    config: an inference config, of which `sampler` and `guidance_scale` matter.
    views: names of the views; each is a draw of its own.
    num: events of each momentum.
    weights: directory; None for those of the package.
    seed: of the noise.
    chunk_size: images a device draws at once.
    asked: the variables of the condition beside the momentum, for all events; see
      `generators.condition.parse`.
    extrapolate: warn of an energy that the generator was not trained on; otherwise it is an error.
    bar: hears the number of finished events, and warnings.
  Raises:
    OSError, ValueError: naming the file, view, key or energy that is wrong.
  """
  views = check_views(views)
  generator = build_generator(weights).generator
  generate = build_generate(config, generator)
  told = condition_lib.parse(generator.condition, asked)
  missing = sorted(set(generator.condition.variables) - set(told) - {"momentum_mev"})
  if missing or "momentum_mev" not in generator.condition.variables:
    raise ValueError(f"This generator is asked for {sorted(generator.condition.variables)}; give {missing} "
                     "in --cond, and use launch.sample for one without a momentum.")
  _check_energies(generator, momenta_mev, told, extrapolate=extrapolate, bar=bar)
  momentum_mev = np.repeat(momenta_mev, num, axis=0)
  # event by event, its views in order
  seen = np.stack([np.asarray(to_view(jnp.asarray(momentum_mev), view)) for view in views],
                  axis=1).reshape(-1, 3)
  noise = np.asarray(prior_noise(generator, root_key(seed), len(seen)))
  mapped = parallel.make_device_map(lambda pair: generate(*pair), chunk_size=chunk_size)
  cond = {"momentum_mev": seen, **{name: np.full(len(seen), value) for name, value in told.items()}}
  images = mapped((noise, condition_lib.as_arrays(generator.condition, cond)),
                  progress=lambda done: bar.update(done // len(views)))
  images = images.reshape(len(momentum_mev), len(views), *images.shape[1:])
  empty = int(np.any(images.sum((2, 3)) <= 0, axis=1).sum())
  if empty:
    bar.write(f"WARNING: {empty} of {len(images)} events have a view without charge; launch.infer will not "
              "take them.")
  particle = _particle(generator, told)
  pdg = None if particle is None else np.full(len(images), PDG_CODES[particle])
  return images, momentum_mev, pdg


def _particle(generator: Generator, told: Mapping) -> str | None:
  """The particle that is asked for, None for a generator that knows one alone."""
  variable = generator.condition.variables.get("particle")
  return None if variable is None else variable.classes[told["particle"]]


def _check_energies(generator: Generator, momenta_mev: np.ndarray, told: Mapping, *, extrapolate: bool,
                    bar: Bar) -> None:
  """Raises ValueError, or with `extrapolate` warns, naming the first momentum whose energy lies outside the
  training."""
  particle, bounds = _particle(generator, told), generator.kinetic_range_mev
  if bounds is None:
    return
  low, high = bounds[particle] if isinstance(bounds, Mapping) else bounds
  mass_mev = PROTON_MASS_MEV if particle is None else masses_mev(PDG_CODES[particle], PROTON_MASS_MEV)[0]
  slack = 1e-5 * high  # of float32
  for momentum, kinetic in zip(momenta_mev, kinetic_energy(momenta_mev, mass_mev), strict=True):
    if not low - slack <= kinetic <= high + slack:
      text = (f"the kinetic energy of ({', '.join(f'{p:g}' for p in momentum)}) MeV/c"
              f"{'' if particle is None else f', a {particle},'} is {kinetic:.1f} MeV, outside {low:g} to "
              f"{high:g} MeV, on which the generator was trained")
      if not extrapolate:
        raise ValueError(f"{text[0].upper()}{text[1:]} (--extrapolate draws it all the same).")
      bar.write(f"WARNING: {text}.")


def write_images(out: str | Path, images: np.ndarray, momentum_mev: np.ndarray, *, views: tuple[str, ...],
                 num: int,
                 pdg: np.ndarray | None = None) -> list[Path]:
  """Writes images.npz and a picture of up to 16 events of each of the first 8 momenta; returns the paths.

  With one event a momentum it is one picture of the first 16.
  """
  out = Path(out)
  try:
    out.mkdir(parents=True, exist_ok=True)
    save_images(out / "images.npz", images, momentum_mev, pdg=pdg)
  except OSError as error:
    raise OSError(f"Cannot write to {out}: {error.strerror or error}.") from error
  paths = [out / "images.npz"]
  if num == 1:
    few = images[:MAX_COLUMNS]
    figure = image_rows({view: few[:, v] for v, view in enumerate(views)},
                        titles=momentum_titles(momentum_mev[:MAX_COLUMNS]))
    return [*paths, save_figure(figure, out / "images.png")]
  for i in range(min(len(images) // num, MAX_PICTURES)):
    few = images[i * num:(i + 1) * num][:MAX_COLUMNS]
    figure = image_rows({view: few[:, v] for v, view in enumerate(views)})
    figure.suptitle(f"{momentum_titles(momentum_mev[i * num:i * num + 1])[0]} MeV/c", fontsize=9)
    paths.append(save_figure(figure, out / f"images_{i:02d}.png"))
  return paths
