"""Networks of discrete things as pure functions: codes of images, priors over maps of codes, sequences of
pixels."""
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lartpc_jax.networks import quantizer
from lartpc_jax.networks.causal_transformer import CodeTransformer, PixelSequence
from lartpc_jax.networks.pixelcnn import GatedPixelCnn
from lartpc_jax.networks.vqvae import CodeDecoder, CodeEncoder


class CodeNetwork(NamedTuple):
  """Encoder, quantiser and decoder; every field is a pure function, codes are [b h w] int32."""
  # (key, (h, w)) -> params; of learned codes with the entry "codebook", a `quantizer.Codebook`
  init: Callable
  encode: Callable     # (params, state [b h w 1]) -> latents [b h' w' d], before quantisation
  quantize: Callable   # (params, latents) -> quantised latents with a straight-through gradient, codes
  vectors: Callable    # (params, codes) -> quantised latents
  decode: Callable     # (params, quantised latents) -> [b h w 3], see `networks.vqvae.CodeDecoder`
  num_codes: int
  learned: bool        # whether the codes are a codebook that training moves


def make_codes(*, num_codes: int = 0, features: int = 0, levels: Sequence[int] = (),
               encoder: dict | None = None,
               decoder: dict | None = None) -> CodeNetwork:
  """VQ-VAE with a codebook of `num_codes` vectors of length `features`, or with finite scalars of `levels`.

  `encoder` and `decoder` are fields of `networks.vqvae.CodeEncoder` and `CodeDecoder`. Raises ValueError
  unless it is one of both.
  """
  levels = tuple(levels)
  if bool(levels) == bool(num_codes) or (num_codes and features < 1) or (levels and min(levels) < 2):
    raise ValueError("Need network.num_codes and network.features, or network.levels of at least 2; got "
                     f"{num_codes=}, {features=}, {levels=}.")
  encoding = CodeEncoder(features=len(levels) or features, **(encoder or {}))
  decoding = CodeDecoder(**(decoder or {}))

  def init(key, shape):
    key_encoder, key_decoder, key_codes = jax.random.split(key, 3)
    latents, params = encoding.init_with_output(key_encoder, jnp.zeros((1, *shape, 1)))
    made = {"encoder": params["params"], "decoder": decoding.init(key_decoder, latents)["params"]}
    return made if levels else {**made, "codebook": quantizer.init_codebook(key_codes, num_codes,
                                                                            features)._asdict()}

  def quantize(params, z):
    if levels:
      quantized = quantizer.fsq(z, levels)
      return quantized, quantizer.fsq_codes(jax.lax.stop_gradient(quantized), levels)
    vectors = jax.lax.stop_gradient(params["codebook"]["vectors"])
    codes = quantizer.nearest_code(jax.lax.stop_gradient(z), vectors)
    return quantizer.straight_through(z, vectors[codes]), codes

  def vectors(params, codes):
    return quantizer.fsq_vectors(codes, levels) if levels else params["codebook"]["vectors"][codes]

  return CodeNetwork(init, lambda params, x: encoding.apply({"params": params["encoder"]}, x), quantize,
                     vectors,
                     lambda params, z: decoding.apply({"params": params["decoder"]}, z),
                     math.prod(levels) if levels else num_codes, not levels)


class SequenceNetwork(NamedTuple):
  """An autoregressive network on maps of codes, in raster order; every field is a pure function.

  cond holds "features" [b f] and "keep" [b] (0: the network is not told).
  """
  init: Callable    # (key, (h, w)) -> params
  logits: Callable  # (params, codes [b h w], cond) -> [b h w k], each given the codes before it
  start: Callable   # (b, (h, w)) -> cache
  # (params, cache, codes [b h w], place [] int, cond) -> logits [b k] of that place, cache; places in their
  # order
  step: Callable


def make_code_prior(*, name: str, num_codes: int, num_features: int, **kwargs) -> SequenceNetwork:
  """A prior of `PRIORS`: "pixelcnn" or "transformer"; keywords are fields of its module.

  Raises ValueError naming an unknown one, or heads that do not divide the width.
  """
  if name not in PRIORS:
    raise ValueError(f"Unknown network.name {name!r}; choose from {sorted(PRIORS)}.")
  module = PRIORS[name](num_codes=num_codes, **kwargs)
  if name == "transformer" and module.width % (4 * module.num_heads):  # RoPE turns pairs on two axes
    raise ValueError(f"4 network.num_heads = {4 * module.num_heads} must divide network.width = "
                     f"{module.width}.")

  def init(key, shape):
    cond = {"features": jnp.zeros((1, num_features)), "keep": jnp.ones(1)}
    return module.init(key, jnp.zeros((1, *shape), jnp.int32), cond)["params"]

  call = lambda method: lambda params, *args: module.apply({"params": params}, *args, method=method)
  return SequenceNetwork(init, call("__call__"), module.empty_cache, call("step"))


PRIORS = {"pixelcnn": GatedPixelCnn, "transformer": CodeTransformer}


class PixelSequenceNetwork(NamedTuple):
  """An autoregressive network on sequences of lit pixels (cell, place in the cell, charge bin); pure
  functions.

  cond holds "features" [b f] and "keep" [b].
  """
  init: Callable    # key -> params
  # (params, sequences [b t 3] int32, cond) -> logits of cells [b t+1 c+1] (the last: the end), of places
  # [b t p] given the cell, of bins [b t q] given cell and place; each given what comes before it
  logits: Callable
  start: Callable   # (num, length) -> cache
  # (params, cache, previous [b 3], index [] int, cond) -> hidden state [b d], cache; index 0 looks at no
  # pixel
  step: Callable
  cell_logits: Callable   # (params, hidden) -> [b c+1]
  place_logits: Callable  # (params, hidden, cell [b]) -> [b p]
  bin_logits: Callable    # (params, hidden, cell, place) -> [b q]


def make_pixel_sequence(*, num_features: int, **kwargs) -> PixelSequenceNetwork:
  """Keywords of `networks.causal_transformer.PixelSequence`. Raises ValueError for heads that do not divide
  the width."""
  module = PixelSequence(**kwargs)
  if module.width % (4 * module.num_heads):
    raise ValueError(f"4 network.num_heads = {4 * module.num_heads} must divide network.width = "
                     f"{module.width}.")

  def init(key):
    cond = {"features": jnp.zeros((1, num_features)), "keep": jnp.ones(1)}
    return module.init(key, jnp.zeros((1, 1, 3), jnp.int32), cond)["params"]

  call = lambda method: lambda params, *args: module.apply({"params": params}, *args, method=method)
  return PixelSequenceNetwork(init, call("__call__"), module.empty_cache, call("step"), call("cell_logits"),
                              call("place_logits"), call("bin_logits"))
