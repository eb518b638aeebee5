"""Builds the inference: momenta of one to four tracks, its objective, and what it costs, from an inference config."""
from collections.abc import Mapping

from lartpc_jax.build.tasks import TRACKS_KEYS, build_generate
from lartpc_jax.config.blocks import call_with, pick, section
from lartpc_jax.diffusion import samplers
from lartpc_jax.generators.generator import Diffusion
from lartpc_jax.inference.estimator import Estimator
from lartpc_jax.inference.evaluations import Evaluations, count_evaluations
from lartpc_jax.inference.gradients import default_mode
from lartpc_jax.inference.infer import Infer, Settings, make_infer, objective_of
from lartpc_jax.inference.objective import Objective
from lartpc_jax.inference.tracks import TracksFit, TracksSettings, make_tracks_fit
from lartpc_jax.transport import emd as emd_lib
from lartpc_jax.transport.distances import DISTANCES


def _build_knobs(kind: type, block: str, values: dict):
  """A NamedTuple of a config block. Raises ValueError naming an unknown key or a whole number below 1."""
  settings = call_with(kind, block, values)
  for name, default in kind._field_defaults.items():
    if isinstance(default, int) and getattr(settings, name) < 1:
      raise ValueError(f"Config key {block}.{name} must be at least 1; got {getattr(settings, name)}.")
  return settings


def build_settings(values: dict) -> Settings:
  """Knobs of a config block `inference`. Raises ValueError naming an unknown key or one out of range."""
  settings = _build_knobs(Settings, "inference", values)
  for small, large in (("num_starts", "num_screened"), ("num_screened", "num_candidates")):
    if getattr(settings, small) > getattr(settings, large):
      raise ValueError(f"Config key inference.{small} = {getattr(settings, small)} exceeds inference.{large} = "
                       f"{getattr(settings, large)}.")
  for name in ("vertex_sigma_mm", "vertex_weight_px"):
    if not getattr(settings, name) >= 0.0:
      raise ValueError(f"Config key inference.{name} must be at least 0; got {getattr(settings, name)}.")
  return settings


def build_distance(values: dict) -> emd_lib.EMD:
  """Distance of a config block `distance`: a name of `inference.distances` and its keyword arguments.

  Raises:
    ValueError: naming an unknown name or key, or a value out of range.
  """
  function, knobs = pick(DISTANCES, "distance", values)
  return call_with(function, "distance", knobs)


def build_infer(config: Mapping, diffusion: Diffusion, views: tuple[str, ...], prior: Estimator | None = None) -> Infer:
  """Inference of an inference config (blocks sampler, screen_sampler, inference), for images in the given views.

  Raises:
    ValueError: naming a missing or unknown key, or one out of range.
  """
  settings = build_settings(section(config, "inference"))
  return make_infer(
      build_generate(config, diffusion, mirrored=settings.noise == "paired"),
      build_generate(config, diffusion, "screen_sampler"),
      latent_shape=diffusion.latent_shape, num_pixels=diffusion.spec.num_pixels,
      kinetic_range_mev=diffusion.kinetic_range_mev, views=views, mode=default_mode(), prior=prior,
      settings=settings, distance=build_distance(section(config, "distance")))


def build_objective(config: Mapping, diffusion: Diffusion, views: tuple[str, ...], prior: Estimator | None = None
                    ) -> Objective:
  """The objective that `build_infer` descends."""
  settings = build_settings(section(config, "inference"))
  return objective_of(settings, build_generate(config, diffusion, mirrored=settings.noise == "paired"), views=views,
                      num_pixels=diffusion.spec.num_pixels, prior=prior,
                      distance=build_distance(section(config, "distance")))


def count_inference(config: Mapping, num_views: int, start: str) -> Evaluations:
  """Evaluations of the network for one event, by an inference config, from "random" or given starts."""
  settings = build_settings(section(config, "inference"))
  of = lambda block: samplers.num_evaluations(section(config, block)["name"], section(config, block)["num_steps"])
  random = start == "random"
  return count_evaluations(settings, num_views=num_views, num_starts=settings.num_starts if random else 1,
                           a_draw=of("sampler"), a_candidate=of("screen_sampler") if random else 0)


def build_tracks_fit(config: Mapping, diffusion: Diffusion, views: tuple[str, ...], num_tracks: int) -> TracksFit:
  """Fit of `num_tracks` tracks of a config with blocks sampler, screen_sampler, tracks.

  Raises:
    ValueError: naming a missing or unknown key, or one out of range.
  """
  settings = _build_knobs(TracksSettings, "tracks", section(config, "tracks"))
  for small, large in (("num_starts", "num_screened"), ("num_screened", "num_candidates"), ("num_screened", "beam")):
    if getattr(settings, small) > getattr(settings, large):
      raise ValueError(f"Config key tracks.{small} = {getattr(settings, small)} exceeds tracks.{large} = "
                       f"{getattr(settings, large)}.")
  build = lambda block, mirrored: build_generate(config, diffusion, block, mirrored=mirrored, allowed=TRACKS_KEYS)
  return make_tracks_fit(
      build("sampler", True), build("screen_sampler", False), num_tracks=num_tracks, latent_shape=diffusion.latent_shape,
      num_pixels=diffusion.spec.num_pixels, kinetic_range_mev=diffusion.kinetic_range_mev, views=views, settings=settings)
