"""Training tasks of images as codes: encoder, codebook and decoder; then a prior over the maps of codes."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lartpc_jax.config.schema import CodesLoss, PriorLoss
from lartpc_jax.generators.codes import code_nats, state_of_decoded
from lartpc_jax.generators.sparse_state import GapScale, gap_state, image_from_gap_state
from lartpc_jax.networks import quantizer
from lartpc_jax.networks.discrete import CodeNetwork, SequenceNetwork
from lartpc_jax.train.task import Drawn, Task, TaskData

LOG_ROOT_TWO_PI = 0.5 * float(np.log(2.0 * np.pi))


def pixel_nats(decoded: Float[Array, "b h w 3"], state: Float[Array, "b h w 1"], gap: GapScale
               ) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
  """Negative log likelihoods [b] in nats: of which pixels are lit (Bernoulli), and of y of those (normal)."""
  y = state[..., 0] * gap.scale
  lit = (y > 0.5 * gap.faintest).astype(y.dtype)
  logit, mean, log_std = (decoded[..., i] for i in range(3))
  of_lit = jax.nn.softplus(logit) - lit * logit
  of_charge = lit * (0.5 * ((y - mean) * jnp.exp(-log_std))**2 + log_std + LOG_ROOT_TWO_PI)
  return of_lit.sum((1, 2)), of_charge.sum((1, 2))


def through_codes(network: CodeNetwork, params: dict, images: Float[Array, "b h w"], gap: GapScale) -> tuple:
  """State, latents, codes and decoder's output of images in MeV."""
  state = gap_state(images, gap)
  latents = network.encode(params, state)
  quantized, codes = network.quantize(params, latents)
  return state, latents, codes, network.decode(params, quantized)


def codes_loss(network: CodeNetwork, params: dict, images: Float[Array, "b h w"], key: Array, *,
               gap: GapScale,
               loss: CodesLoss) -> tuple[Array, dict]:
  """Nats of the pixels for each code, with the commitment; and metrics, for learned codes with "assigned":
  the codebook after this batch, for `train.step`."""
  state, latents, codes, decoded = through_codes(network, params, images, gap)
  of_lit, of_charge = (x.mean() for x in pixel_nats(decoded, state, gap))
  metrics = {"lit_nats": of_lit, "charge_nats": of_charge,
             "perplexity": quantizer.perplexity(codes, network.num_codes)}
  total = (of_lit + of_charge) / codes[0].size
  if network.learned:
    book = quantizer.Codebook(**jax.lax.stop_gradient(params["codebook"]))
    commitment = jnp.mean(jnp.sum((latents - book.vectors[codes])**2, axis=-1))
    book = quantizer.updated_codebook(book, jax.lax.stop_gradient(latents), codes, key, decay=loss.decay,
                                      revive_below=loss.revive_below)
    metrics |= {"commitment": commitment, "assigned": {"codebook": book._asdict()}}
    total += loss.commitment * commitment
  return total, metrics


def codes_task(network: CodeNetwork, *, gap: GapScale, batch_fn: Callable, holdout: np.ndarray,
               loss: CodesLoss,
               figure: Callable, export: Callable) -> Task:
  """Task whose loss is the likelihood of the pixels for each code, and the commitment.

  Args:
    network: encoder, quantiser and decoder.
    gap: what a state means.
    batch_fn: step -> dict(image [b h w] in MeV).
    holdout: images [n h w], never trained on.
    loss: see the schema.
    figure: (images, reconstructions) -> Figure.
    export: (params, directory, info) -> None.
  Raises:
    ValueError: naming a weight or a decay out of range.
  """
  if not (loss.commitment >= 0.0 and 0.0 <= loss.decay < 1.0 and loss.revive_below >= 0.0):
    raise ValueError("Need loss.commitment >= 0, 0 <= loss.decay < 1 and loss.revive_below >= 0; got "
                     f"{loss.commitment}, {loss.decay} and {loss.revive_below}.")

  @jax.jit
  def reconstruct(params):
    state, _, codes, decoded = through_codes(network, params, jnp.asarray(holdout), gap)
    likeliest = image_from_gap_state(state_of_decoded(decoded, gap), gap)
    keys = jax.random.split(jax.random.key(0), len(holdout))
    return pixel_nats(decoded, state, gap), codes, likeliest, image_from_gap_state(
        state_of_decoded(decoded, gap, keys), gap)

  def evaluate(params, key):
    del key
    (of_lit, of_charge), codes, likeliest, sampled = (jax.tree.map(np.asarray, x)
                                                      for x in reconstruct(params))
    real = np.where(holdout >= gap.threshold_mev, holdout, 0.0)
    taken = np.bincount(codes.ravel(), minlength=network.num_codes)
    metrics = {"eval/lit_nats": of_lit.mean(), "eval/charge_nats": of_charge.mean(),
               "eval/code_usage": np.mean(taken > 0),
               "eval/perplexity": float(quantizer.perplexity(jnp.asarray(codes), network.num_codes))}
    for name, images in (("likeliest", likeliest), ("sampled", sampled)):
      metrics |= {f"eval/{name}_{what}": value for what, value in reconstruction(real, images).items()}
    return {name: float(value) for name, value in metrics.items()}

  def draw(params, key):
    del key
    return figure(holdout, np.asarray(reconstruct(params)[2]))

  return Task(init=lambda key: network.init(key, holdout.shape[1:]), batch_fn=batch_fn, evaluate=evaluate,
              loss_fn=lambda params, batch, key: codes_loss(network, params, batch["image"], key, gap=gap,
                                                            loss=loss),
              draw=draw, export=export)


def reconstruction(real: np.ndarray, made: np.ndarray) -> dict[str, float]:
  """Of images [n h w] and what became of them: lit in both over lit in either, ratios of lit pixels and
  charge."""
  both, either = ((real > 0) & (made > 0)).sum(), ((real > 0) | (made > 0)).sum()
  return {"iou": both / max(either, 1), "active_ratio": (made > 0).sum() / max((real > 0).sum(), 1),
          "charge_ratio": made.sum() / max(real.sum(), 1e-9)}


def prior_task(network: SequenceNetwork, shape: tuple[int, int], data: TaskData, drawn: Drawn, *,
               encode: Callable, loss: PriorLoss, chunk_size: int = 32) -> Task:
  """Task of maximum likelihood of maps of codes, given the condition or nothing.

  Args:
    network: the prior.
    shape: of maps of codes.
    data: batches for encode, and one that is never trained on.
    drawn: how it draws, and what is made of that.
    encode: batch -> codes [b h w] int32, features [b f].
    loss: dropout of the features.
    chunk_size: examples of the held-out likelihood at once.
  Raises:
    ValueError: naming a dropout out of range.
  """
  if not 0.0 <= loss.cond_dropout < 1.0:
    raise ValueError(f"loss.cond_dropout must be in [0, 1); got {loss.cond_dropout}.")

  def nats(params, batch, keep):
    codes, features = encode(batch)
    return -code_nats(network.logits(params, codes, {"features": features, "keep": keep}), codes)

  def loss_fn(params, batch, key):
    keep = jax.random.bernoulli(key, 1.0 - loss.cond_dropout, (len(batch["image"]),)).astype(jnp.float32)
    value = nats(params, batch, keep).mean()
    return value / float(np.prod(shape)), {"nats": value}

  held = jax.jit(lambda params, batch, keep: nats(params, batch, jnp.full(len(batch["image"]), keep)))
  rows = [slice(i, i + chunk_size) for i in range(0, len(data.holdout["image"]), chunk_size)]
  parts = [jax.tree.map(lambda x, some=some: x[some], data.holdout) for some in rows]

  def evaluate(params, key):
    nats_of = lambda keep: np.concatenate([held(params, part, jnp.float32(keep)) for part in parts])
    return {"eval/nats": float(nats_of(1.0).mean()),
            "eval/nats_unconditional": float(nats_of(0.0).mean()),
            **drawn.compare(drawn.draws(params, key))}

  return Task(init=lambda key: network.init(key, shape), loss_fn=loss_fn, batch_fn=data.batch_fn,
              evaluate=evaluate, draw=lambda params, key: drawn.figure(drawn.draws(params, key)),
              export=drawn.export)
