"""Time and memory of the gradient of the momentum objective through the sampler, as a Markdown table."""
import dataclasses
import itertools
import time

import jax
import numpy as np

from lartpc_jax.build.generators import build_generator
from lartpc_jax.build.models import build_sampler
from lartpc_jax.config.schema import Sampler
from lartpc_jax.data import pictures
from lartpc_jax.data.open import SAMPLE, open_events
from lartpc_jax.experiments.protocol import Console, setting
from lartpc_jax.generators.generator import make_generate
from lartpc_jax.inference import chart
from lartpc_jax.inference.gradients import make_value_and_grad
from lartpc_jax.inference.imaging import antithetic_noise
from lartpc_jax.inference.objective import make_objective
from lartpc_jax.inference.settings import Comparison
from lartpc_jax.keys import root_key
from lartpc_jax.tables import markdown_table
from lartpc_jax.transport import emd

HEAD = ("events", "steps", "mode", "s", "s an event", "temporary MB", "difference")
VIEWS = ("xy",)
MODES = {"forward": ("forward", False), "reverse": ("reverse", False), "reverse, remat": ("reverse", True)}
COMPARISON = Comparison(charge_weight_px=20.0, charge_tolerance=float("inf"))
# the hypotheses are this far from the truth along each axis, as in the middle of a descent
OFFSET_MEV = 40.0


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to differentiate."""
  weights: str | None = setting(None, "Directory of weights; default: those of the package.")
  batch_sizes: tuple[str, ...] = setting(("1", "8"), "Numbers of events differentiated at once.")
  num_steps: tuple[str, ...] = setting(("8", "20"), "Numbers of sampler steps.")
  sampler: str = setting(Sampler.name, "Name of the sampler.")
  repeats: int = setting(5, "Runs, of which the median counts.", lower=1)
  seed: int = setting(0, "Seed of the noise.")


def run(settings: Settings, console: Console) -> None:
  """Measures every mode and prints the table."""
  generator = build_generator(settings.weights).generator
  num_params = sum(leaf.size for leaf in jax.tree.leaves(generator.denoiser.params))
  console.say(f"{settings.sampler}, {num_params / 1e6:.2f} M parameters, {jax.devices()[0].device_kind}, "
              f"jax {jax.__version__}\n")
  console.say(markdown_table(HEAD, []))
  for batch_size, num_steps in itertools.product(map(int, settings.batch_sizes),
                                                 map(int, settings.num_steps)):
    reference = None
    for name, (mode, remat) in MODES.items():
      compiled, args = _compile_gradient(settings, generator, batch_size, num_steps, mode, remat)
      gradient, seconds, num_bytes = _measure(compiled, args, settings.repeats)
      reference = gradient if reference is None else reference
      difference = np.abs(gradient - reference).max() / np.abs(reference).max()
      memory = "?" if num_bytes is None else f"{num_bytes / 1e6:.1f}"
      cells = (batch_size, num_steps, name, f"{seconds:.3f}", f"{seconds / batch_size:.3f}", memory,
               f"{difference:.1e}")
      console.say(markdown_table(HEAD, [cells]).splitlines()[-1])


def _inputs(generator, batch_size, seed):
  """Images [b 1 n n] of the first events of the package, hypotheses [b 4] near their momenta, noise [1 1 h w
  c].
  """
  events = open_events(SAMPLE)
  if batch_size > len(events):
    raise ValueError(f"--batch_sizes must not exceed {len(events)}, the number of events of the package; got "
                     f"{batch_size}.")
  images = pictures.images_of(events, np.arange(batch_size), views=VIEWS, spec=generator.spec)
  hypothesis = chart.from_momentum(events.momentum_mev[:batch_size] + np.float32(OFFSET_MEV),
                                   generator.kinetic_range_mev)
  return images, hypothesis, antithetic_noise(root_key(seed), len(VIEWS), 1, generator.codec.state_shape)


def _compile_gradient(settings, generator, batch_size, num_steps, mode, remat):
  """The compiled value_and_grad of the objective on the chart, and its arguments."""
  sampler = build_sampler(generator.denoiser.sde, name=settings.sampler, num_steps=num_steps, remat=remat)
  objective = make_objective(make_generate(generator, sampler), emd.make_emd(**emd.DESCENT), views=VIEWS,
                             num_pixels=generator.spec.num_pixels, settings=COMPARISON)
  images, hypothesis, noise = _inputs(generator, batch_size, settings.seed)
  targets = jax.jit(objective.prepare)(images)
  gradient = make_value_and_grad(
      lambda h, *args: objective.evaluate(chart.to_momentum(h, generator.kinetic_range_mev), *args),
      mode=mode)
  args = hypothesis, chart.tangent_basis(hypothesis), targets, noise
  return jax.jit(gradient).lower(*args).compile(), args


def _measure(compiled, args, repeats):
  """Gradient, median seconds after one warm run, and bytes of temporaries (None where the backend does not
  say).
  """
  _, gradient = jax.block_until_ready(compiled(*args))
  seconds = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(compiled(*args))
    seconds.append(time.perf_counter() - start)
  memory = compiled.memory_analysis()
  num_bytes = None if memory is None else memory.temp_size_in_bytes
  return np.asarray(gradient), float(np.median(seconds)), num_bytes
