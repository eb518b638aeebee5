"""Builds what an inference config asks for: fits of one to four tracks, their objective, what they cost."""
import dataclasses
from collections.abc import Mapping

from lartpc_jax.build.generators import build_generate
from lartpc_jax.config.blocks import call_with, parse, pick, section
from lartpc_jax.diffusion import samplers
from lartpc_jax.generators.generator import Generator
from lartpc_jax.inference.estimator import Estimator
from lartpc_jax.inference.evaluations import Evaluations, count_evaluations
from lartpc_jax.inference.fit import MIXED, Fit, make_fit, make_stage_objectives
from lartpc_jax.inference.gradients import default_mode
from lartpc_jax.inference.imaging import Imager
from lartpc_jax.inference.objective import Objective
from lartpc_jax.inference.settings import FitSettings
from lartpc_jax.transport import emd as emd_lib
from lartpc_jax.transport.distances import DISTANCES

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
