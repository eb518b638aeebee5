"""Generators put together from stand-ins for their parts."""
from lartpc_jax.build.generators import REFERENCES
from lartpc_jax.diffusion.sde import SDE
from lartpc_jax.generators import condition as condition_lib, frame as frames
from lartpc_jax.generators.codec import ChargePlane, Codec, with_charge_plane
from lartpc_jax.generators.generator import Denoiser, Generator
from lartpc_jax.geometry.frames import TrackFrame
from lartpc_jax.geometry.rasterize import ImageSpec


def proton_generator(
    apply, params, sde: SDE, codec: Codec, *, frame: TrackFrame, spec: ImageSpec, scale_mev: float = 500.0,
    plane: ChargePlane = ChargePlane(1.0, 0.1), kinetic_mev=(50.0, 100.0)) -> Generator:
  """One of single protons: momentum, track frame, charge over kinetic energy."""
  condition = condition_lib.make_condition({"momentum_mev": {"kind": "vector", "scale": scale_mev}})
  return Generator(Denoiser(apply, params, sde, "edm", 1.0),
                   with_charge_plane(codec, plane, REFERENCES["kinetic"]), condition,
                   condition_lib.track_inputs(condition), frames.track_frame(frame, spec), spec, kinetic_mev)


def image_generator(apply, sde: SDE, codec: Codec, *, prediction: str = "edm") -> Generator:
  """One without a condition, that draws the image itself."""
  condition = condition_lib.Condition({})
  return Generator(Denoiser(apply, None, sde, prediction, 1.0), codec, condition,
                   condition_lib.feature_inputs(condition), frames.IDENTITY, None, None)
