"""Builds what an inference config asks for: fits of one to four tracks, their objective, what they cost."""
import dataclasses
import inspect
from collections.abc import Mapping, Sequence

import numpy as np

from lartpc_jax.build.generators import Weights, build_generate
from lartpc_jax.config.blocks import call_with, parse, pick, section
from lartpc_jax.diffusion import samplers
from lartpc_jax.generators.generator import Generator
from lartpc_jax.inference.chart import Species
from lartpc_jax.inference.estimator import Estimator
from lartpc_jax.inference.evaluations import Evaluations, count_evaluations
from lartpc_jax.inference.fit import MIXED, Fit, make_fit, make_stage_objectives
from lartpc_jax.inference.gradients import default_mode
from lartpc_jax.inference.identify import Identify, make_identify
from lartpc_jax.inference.imaging import Imager
from lartpc_jax.inference.objective import Objective
from lartpc_jax.inference.selection import choose_num_pixels
from lartpc_jax.inference.settings import FitSettings
from lartpc_jax.transport import emd as emd_lib
from lartpc_jax.transport.distances import DISTANCES
from lartpc_jax.units import PDG_CODES, masses_mev

PIXELS_A_TRACK = 64  # brightest pixels that the distance keeps, where the config does not say
MAX_PIXELS = 128


def build_settings(values: Mapping) -> FitSettings:
  """Settings of a config block `inference`. Raises ValueError naming an unknown key or one out of range."""
  settings = parse(FitSettings(), "inference", values)
  _check_counts("inference", settings)
  screening = settings.screening
  pairs = [("num_starts", "num_screened"), ("num_screened", "num_candidates")]
  pairs += [("num_screened", "beam")] * (screening.method == "squares")
  for small, large in pairs:
    if getattr(screening, small) > getattr(screening, large):
      raise ValueError(f"Config key inference.screening.{small} = {getattr(screening, small)} exceeds "
                       f"inference.screening.{large} = {getattr(screening, large)}.")
  for name in ("vertex_sigma_mm", "vertex_weight_px"):
    if not getattr(settings.comparison, name) >= 0.0:
      raise ValueError(f"Config key inference.comparison.{name} must be at least 0; got "
                       f"{getattr(settings.comparison, name)}.")
  return settings


def _check_counts(block: str, settings) -> None:
  """Raises ValueError naming a whole number below 1."""
  for name, value in vars(settings).items():
    if dataclasses.is_dataclass(value):
      _check_counts(f"{block}.{name}", value)
    elif isinstance(value, int) and not isinstance(value, bool) and value < 1:
      raise ValueError(f"Config key {block}.{name} must be at least 1; got {value}.")


def build_distance(values: Mapping, num_tracks: int = 1) -> emd_lib.EMD:
  """Distance of a config block `distance`: a name of `transport.distances` and its keyword arguments.

  Args:
    values: the block.
    num_tracks: of the images; the more, the more of their pixels count, where the block does not say how
      many.
  Raises:
    ValueError: naming an unknown name or key, or a value out of range.
  """
  function, knobs = pick(DISTANCES, "distance", values)
  if num_tracks > 1 and values["name"] != "l2":
    knobs = {"num_pixels": min(PIXELS_A_TRACK * num_tracks, MAX_PIXELS), **knobs}
  return call_with(function, "distance", knobs)


def select_pixels(config: Mapping, images_mev: np.ndarray) -> dict:
  """The inference config with the number of brightest pixels that its distance sees of images [n v p p].

  What the block `distance` says stays; else `inference.selection.choose_num_pixels` says it, and also how
  many the reported distance sees at least. Distances that see all pixels are left alone.
  """
  distance = section(config, "distance")
  if distance.get("name") not in DISTANCES or "num_pixels" in distance or seen_pixels(config) is None:
    return dict(config)
  number, inference = choose_num_pixels(images_mev), section(config, "inference")
  report = {"num_pixels": FitSettings().report.num_pixels, **inference.get("report", {})}
  report["num_pixels"] = max(number, report["num_pixels"])
  return {**config, "distance": {**distance, "num_pixels": number},
          "inference": {**inference, "report": report}}


def seen_pixels(config: Mapping) -> int | None:
  """Brightest pixels of an image that the distance of an inference config sees; None: all."""
  distance = section(config, "distance")
  parameters = inspect.signature(DISTANCES[distance["name"]]).parameters
  if "num_pixels" not in parameters:
    return None
  return distance.get("num_pixels", parameters["num_pixels"].default)


def _build_imager(config: Mapping, generator: Generator, settings: FitSettings) -> Imager:
  return Imager(build_generate(config, generator, mirrored=settings.noise != "independent"),
                build_generate(config, generator, "screen_sampler"), generator.codec.state_shape,
                generator.spec.num_pixels, generator.kinetic_range_mev)


def build_infer(config: Mapping, generator: Generator, views: tuple[str, ...],
                prior: Estimator | None = None) -> Fit:
  """Fit of one track of an inference config, for images in the given views.

  Raises:
    ValueError: naming a missing or unknown key, or one out of range.
  """
  settings = build_settings(section(config, "inference"))
  return make_fit(_build_imager(config, generator, settings), views, settings, mode=default_mode(),
                  prior=prior, distance=build_distance(section(config, "distance")))


def build_objective(config: Mapping, generator: Generator, views: tuple[str, ...],
                    prior: Estimator | None = None) -> Objective:
  """The objective of the last stage that `build_infer` descends."""
  settings = build_settings(section(config, "inference"))
  return make_stage_objectives(_build_imager(config, generator, settings), views, settings, prior=prior,
                               distance=build_distance(section(config, "distance")))[-1]


def build_tracks_fit(config: Mapping, generator: Generator, views: tuple[str, ...], num_tracks: int) -> Fit:
  """Fit of `num_tracks` tracks of an inference config, for images in the given views.

  Raises:
    ValueError: naming a missing or unknown key, or one out of range.
  """
  settings = build_settings(section(config, "inference"))
  return make_fit(_build_imager(config, generator, settings), views, settings, num_tracks=num_tracks,
                  mode=MIXED, distance=build_distance(section(config, "distance"), num_tracks))


def build_species(weights: Weights, types: Sequence[str]) -> Species:
  """The particle types of hypotheses, with the energies that the weights say they were trained on.

  Args:
    weights: of a generator that is told a momentum and a particle.
    types: names, each once.
  Raises:
    ValueError: naming what the weights are asked for instead, or the type that they do not know.
  """
  variables = weights.generator.condition.variables
  if set(variables) != {"momentum_mev", "particle"} or weights.generator.spec is None:
    raise ValueError("Particle types need weights that are asked for ['momentum_mev', 'particle']; these are "
                     f"asked for {sorted(variables)}.")
  classes, ranges = variables["particle"].classes, weights.info["kinetic_range_mev"]
  for name in types:
    if name not in classes:
      raise ValueError(f"Unknown particle type {name!r}; these weights know {list(classes)}.")
    if isinstance(ranges, Mapping) and name not in ranges or not ranges:
      raise ValueError(f"The weights do not say the energies of {name!r} (kinetic_range_mev = {ranges}).")
  if len(types) < 2 or len(set(types)) < len(types):
    raise ValueError(f"Give at least two particle types, each once; got {','.join(types) or 'none'}.")
  energies = lambda name: tuple(map(float, ranges[name] if isinstance(ranges, Mapping) else ranges))
  masses = masses_mev(np.array([PDG_CODES[name] for name in types]))
  return Species(tuple(types), tuple(map(classes.index, types)), tuple(map(float, masses)),
                 tuple(map(energies, types)))


def build_identify(config: Mapping, generator: Generator, species: Species,
                   views: tuple[str, ...]) -> Identify:
  """Identification of particle types by an inference config; with inference.second.num_steps = 0 by the
  library alone.

  Raises:
    ValueError: naming a missing or unknown key, or one out of range.
  """
  values = section(config, "inference")
  second = dict(values.get("second", {}))
  refine = second.get("num_steps", 1) != 0
  if not refine:  # the settings of a descent that does not run
    second |= {"num_steps": 1, "num_averaged": 1}
  settings = build_settings({**values, "second": second})
  imager = Imager(build_generate(config, generator), build_generate(config, generator, "screen_sampler"),
                  generator.codec.state_shape, generator.spec.num_pixels, species.kinetic_range_mev[0])
  return make_identify(imager, species, views, settings, build_distance(section(config, "distance")),
                       refine=refine)


def count_inference(config: Mapping, num_views: int, start: str) -> Evaluations:
  """Evaluations of the network for one event, by an inference config, from "random" or given starts."""
  settings = build_settings(section(config, "inference"))
  def of(block: str) -> int:
    values = section(config, block)
    return samplers.num_evaluations(values["name"], values["num_steps"])

  random = start == "random"
  return count_evaluations(
      settings, num_views=num_views, num_starts=settings.screening.num_starts if random else 1,
      a_draw=of("sampler"), a_candidate=of("screen_sampler") if random else 0)
