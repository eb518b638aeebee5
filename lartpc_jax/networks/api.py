"""The networks as pure functions: what the rest of the package sees of flax."""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lartpc_jax.networks.autoencoder import Autoencoder
from lartpc_jax.networks.classifier import ImageClassifier
from lartpc_jax.networks.estimator import MixtureDensity
from lartpc_jax.networks.gan import PAIRS
from lartpc_jax.networks.ncsn import NCSN
from lartpc_jax.networks.ncsnpp import EMBEDDINGS, NCSNpp
from lartpc_jax.networks.recogniser import Recogniser
from lartpc_jax.networks.sparse_transformer import SPACES, SparseTransformer
from lartpc_jax.networks.ssnet import SSNet
from lartpc_jax.networks.unet import CONDITIONINGS, LatentUNet


class AutoencoderNetwork(NamedTuple):
  """A KL autoencoder for [b h w 1] images; every field is a pure function."""
  init: Callable    # (key, (h, w)) -> params
  encode: Callable  # (params, y [b h w 1]) -> mean, logvar [b h/stem w/stem c]
  decode: Callable  # (params, z) -> y
  decoder_reach: int = 0  # latents that a decoded pixel depends on beyond its own, on each side


class DenoiserNetwork(NamedTuple):
  """A network on latents or pixels, conditional or not; every field is a pure function."""
  init: Callable   # (key, (h, w, c)) -> params
  apply: Callable  # (params, z [b h w c], c_noise [b], cond) -> [b h w c]


class SegmentationNetwork(NamedTuple):
  """A network that classifies the pixels of [b h w 1] images; every field is a pure function."""
  init: Callable      # (key, (h, w)) -> params
  apply: Callable     # (params, y [b h w 1]) -> logits [b h w classes]
  features: Callable  # (params, y, stage) -> output [b h' w' c] of an encoder stage


class ClassifierNetwork(NamedTuple):
  """A network with one logit an image, or one of each class; every field is a pure function."""
  init: Callable   # (key, (h, w)) -> params
  apply: Callable  # (params, y [b h w 1]) -> logit [b] or logits [b c]


class RecogniserNetwork(NamedTuple):
  """What noisy states tell of their labels; every field is a pure function."""
  init: Callable   # (key, (h, w, c)) -> params
  apply: Callable  # (params, x [b h w c], c_noise [b]) -> [b outputs]


class EstimatorNetwork(NamedTuple):
  """A conditional mixture density; every field is a pure function."""
  init: Callable   # (key, number of features) -> params
  apply: Callable  # (params, features [b f]) -> raw parameters [b k 10]


def make_autoencoder(**kwargs) -> AutoencoderNetwork:
  """KL autoencoder behind a space-to-depth stem; keywords of `networks.autoencoder.Autoencoder`."""
  module = Autoencoder(**kwargs)
  return AutoencoderNetwork(
      init=lambda key, shape: module.init(key, jnp.zeros((1, *shape, 1)))["params"],
      encode=lambda params, y: module.apply({"params": params}, y, method="encode"),
      decode=lambda params, z: module.apply({"params": params}, z, method="decode"),
      # 3x3 convolutions: two a block, one before and one after
      decoder_reach=2 * module.num_decoder_blocks + 2)


def _as_fields(kwargs: dict) -> dict:
  return {name: tuple(value) if isinstance(value, list) else value for name, value in kwargs.items()}


def _no_map(map_shape) -> None:
  if map_shape is not None:
    raise ValueError("This network takes no block map; only network.name = 'sparse_transformer' does.")


def make_latent_unet(*, num_features: int = 0, map_shape: None = None, **kwargs) -> DenoiserNetwork:
  """Conditional U-Net on latents; keywords of `networks.unet.LatentUNet`.

  Args:
    num_features: length of cond["features"], with conditioning="features".
    map_shape: None.
    **kwargs: fields of the module.
  Raises:
    ValueError: naming an unknown conditioning, or for a block map.
  """
  module = LatentUNet(**_as_fields(kwargs))
  _no_map(map_shape)
  if module.conditioning not in CONDITIONINGS:
    raise ValueError(
        f"Unknown network.conditioning {module.conditioning!r}; choose from {list(CONDITIONINGS)}.")

  def init(key: jax.Array, shape: tuple[int, int, int]):
    told = ({"features": jnp.ones((1, num_features))} if module.conditioning == "features" else
            {"momentum": jnp.ones((1, 3)), "end": jnp.ones(1)})
    return module.init(key, jnp.zeros((1, *shape)), jnp.zeros(1), {**told, "keep": jnp.ones(1)})["params"]

  return DenoiserNetwork(init,
                         lambda params, z, c_noise, cond: module.apply({"params": params}, z, c_noise, cond))


def make_ssnet(**kwargs) -> SegmentationNetwork:
  """Segmentation network; keywords of `networks.ssnet.SSNet`."""
  module = SSNet(**kwargs)
  return SegmentationNetwork(
      init=lambda key, shape: module.init(key, jnp.zeros((1, *shape, 1)))["params"],
      apply=lambda params, y: module.apply({"params": params}, y),
      features=lambda params, y, stage: module.apply({"params": params}, y, stage, method="features_at"))


def make_classifier(**kwargs) -> ClassifierNetwork:
  """Classifier of images; keywords of `networks.classifier.ImageClassifier`."""
  module = ImageClassifier(**kwargs)
  return ClassifierNetwork(init=lambda key, shape: module.init(key, jnp.zeros((1, *shape, 1)))["params"],
                           apply=lambda params, y: module.apply({"params": params}, y))


def make_recogniser(**kwargs) -> RecogniserNetwork:
  """Reader of noisy states; keywords of `networks.recogniser.Recogniser`."""
  module = Recogniser(**_as_fields(kwargs))
  return RecogniserNetwork(
      init=lambda key, shape: module.init(key, jnp.zeros((1, *shape)), jnp.zeros(1))["params"],
      apply=lambda params, x, c_noise: module.apply({"params": params}, x, c_noise))


def make_mixture_density(**kwargs) -> EstimatorNetwork:
  """Conditional mixture density; keywords of `networks.estimator.MixtureDensity`."""
  module = MixtureDensity(**kwargs)
  return EstimatorNetwork(init=lambda key, num: module.init(key, jnp.zeros((1, num)))["params"],
                          apply=lambda params, features: module.apply({"params": params}, features))


def make_ncsnpp(*, num_features: int = 0, map_shape: None = None, **kwargs) -> DenoiserNetwork:
  """Unconditional U-Net on pixels; keywords of `networks.ncsnpp.NCSNpp`. `apply` ignores cond.

  Raises ValueError naming an unknown time embedding, or if it is asked to be told something.
  """
  module = NCSNpp(**_as_fields(kwargs))
  _no_map(map_shape)
  if num_features:
    raise ValueError("network.name = 'ncsnpp' takes no condition; 'latent_unet' and 'sparse_transformer' do.")
  if module.embedding not in EMBEDDINGS:
    raise ValueError(f"Unknown network.embedding {module.embedding!r}; choose from {list(EMBEDDINGS)}.")
  init = lambda key, shape: module.init(key, jnp.zeros((1, *shape)), jnp.zeros(1))["params"]
  return DenoiserNetwork(init, lambda params, x, c_noise, cond: module.apply({"params": params}, x, c_noise))


def make_sparse_transformer(*, num_features: int, map_shape: tuple[int, int, int] | None = None, **kwargs
                            ) -> DenoiserNetwork:
  """Conditional transformer for sparse images; keywords of `networks.sparse_transformer.SparseTransformer`.

  Args:
    num_features: length of cond["features"].
    map_shape: of cond["map"] without the batch; None if the network gets none.
  Raises:
    ValueError: naming an unknown space, or heads that do not divide the width.
  """
  module = SparseTransformer(**kwargs)
  if module.space not in SPACES:
    raise ValueError(f"Unknown network.space {module.space!r}; choose from {list(SPACES)}.")
  if module.width % module.num_heads:
    raise ValueError(f"network.num_heads = {module.num_heads} must divide network.width = {module.width}.")

  def init(key: jax.Array, shape: tuple[int, int, int]):
    cond = {"features": jnp.zeros((1, num_features)), "keep": jnp.ones(1)}
    if map_shape is not None:
      cond["map"] = jnp.zeros((1, *map_shape))
    return module.init(key, jnp.zeros((1, *shape)), jnp.zeros(1), cond)["params"]

  return DenoiserNetwork(init,
                         lambda params, x, c_noise, cond: module.apply({"params": params}, x, c_noise, cond))


def make_ncsn(*, features: int = 128, num_levels: int = 10) -> DenoiserNetwork:
  """The original noise-conditional score network: apply(params, x, level [b] int, cond) -> sigma times the
  score."""
  module = NCSN(features, num_levels)
  init = lambda key, shape: module.init(key, jnp.zeros((1, *shape)), jnp.zeros(1, jnp.int32))["params"]
  return DenoiserNetwork(init, lambda params, x, level, cond=None: module.apply({"params": params}, x, level))


# name in a config block `network` -> (module, whose fields are the keys of the block; maker)
DENOISERS = {"latent_unet": (LatentUNet, make_latent_unet), "ncsnpp": (NCSNpp, make_ncsnpp),
             "sparse_transformer": (SparseTransformer, make_sparse_transformer)}


class GanNetwork(NamedTuple):
  """A generator and a discriminator; every field is a pure function."""
  # key -> {"generator": params, "discriminator": params, "batch_stats": moments, {} without batch norm}
  init: Callable
  # (params, latent [b n], pixel_noise [b h w 1], features [b f]) -> raw output [b h w c], by averaged moments
  generate: Callable
  # the same by the moments of the batch -> raw output, new moments
  generate_training: Callable
  judge: Callable     # (params of the discriminator, state [b h w 1], features [b f]) -> logit [b]


def make_gan(*, name: str, latent: int, num_features: int, side: int, generator: dict | None = None,
             discriminator: dict | None = None) -> GanNetwork:
  """A pair of `networks.gan.PAIRS`; `generator` and `discriminator` are fields of its modules.

  Raises ValueError naming an unknown pair, a side that it does not draw, or a condition that it does not
  take.
  """
  if name not in PAIRS:
    raise ValueError(f"Unknown network.name {name!r}; choose from {sorted(PAIRS)}.")
  if side != 64:
    raise ValueError(f"network.name = {name!r} draws 64 x 64 pixels; the images have {side}.")
  if num_features and name == "dcgan":
    raise ValueError("network.name = 'dcgan' takes no condition; 'residual' does.")
  made, judge = (kind(**_as_fields(values or {})) for kind, values in zip(PAIRS[name],
                                                                          (generator, discriminator)))
  some = (jnp.zeros((2, latent)), jnp.zeros((2, side, side, 1)), jnp.zeros((2, num_features)))

  def init(key):
    key_generator, key_discriminator = jax.random.split(key)
    drawn = made.init(key_generator, *some, True)
    judged = judge.init(key_discriminator, some[1], some[2])
    return {"generator": drawn["params"], "discriminator": judged["params"],
            "batch_stats": drawn.get("batch_stats", {})}

  def variables(params):
    return {"params": params["generator"], **({"batch_stats": params["batch_stats"]} if params["batch_stats"]
                                              else {})}

  def generate_training(params, latent, pixel_noise, features):
    raw, new = made.apply(variables(params), latent, pixel_noise, features, True, mutable=["batch_stats"])
    return raw, new.get("batch_stats", {})

  def judge_states(params, state, features):
    # by the moments of the batch alone: what it would average is never used
    return judge.apply({"params": params}, state, features, mutable=["batch_stats"])[0]

  return GanNetwork(init, lambda params, *inputs: made.apply(variables(params), *inputs, False),
                    generate_training, judge_states)
