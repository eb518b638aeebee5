r"""Time and memory of the gradient of the momentum objective through the sampler, as a Markdown table.

python -m launch.benchmark_gradients [--weights=DIR] [--batch_sizes=1,8] [--num_steps=8,20] [--repeats=5]

Forward mode (three tangents of the chart), reverse mode, and reverse mode that rematerialises each sampler step. One view
and one draw an event of the package; memory is what XLA allocates for temporaries, beside weights, inputs and outputs. The
last column is the largest difference to the forward-mode gradient, relative to its largest component.
"""
import time

import jax
import numpy as np
from absl import flags

from lartpc_jax import cli
from lartpc_jax.build import tasks as config_lib
from lartpc_jax.data import pipeline
from lartpc_jax.generators.generator import make_generate
from lartpc_jax.inference import chart
from lartpc_jax.inference.gradients import make_value_and_grad
from lartpc_jax.inference.objective import antithetic_noise, make_objective
from lartpc_jax.keys import root_key
from lartpc_jax.transport import emd

FLAGS = flags.FLAGS
flags.DEFINE_string("weights", None, "Directory of weights; default: those of the package.")
flags.DEFINE_list("batch_sizes", ["1", "8"], "Numbers of events differentiated at once.")
flags.DEFINE_list("num_steps", ["8", "20"], "Numbers of sampler steps.")
flags.DEFINE_string("sampler", "dpm_solver_pp_2m", "Name of the sampler.")
flags.DEFINE_integer("repeats", 5, "Runs, of which the median counts.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of the noise.")

VIEWS = ("xy",)
MODES = {"forward": ("forward", False), "reverse": ("reverse", False), "reverse, remat": ("reverse", True)}
OFFSET_MEV = 40.0   # the hypotheses are this far from the truth along each axis, as in the middle of a descent


def inputs(diffusion, spec, batch_size):
  """Images [b 1 n n] of the first events of the package, hypotheses [b 4] near their momenta, noise [1 1 h w c]."""
  events = pipeline.open_events(pipeline.SAMPLE)
  if batch_size > len(events):
    raise ValueError(f"--batch_sizes must not exceed {len(events)}, the number of events of the package; got {batch_size}.")
  images = pipeline.images_of(events, np.arange(batch_size), views=VIEWS, spec=spec)
  hypothesis = chart.from_momentum(events.momentum_mev[:batch_size] + np.float32(OFFSET_MEV), diffusion.kinetic_range_mev)
  return images, hypothesis, antithetic_noise(root_key(FLAGS.seed), len(VIEWS), 1, diffusion.latent_shape)


def compile_gradient(diffusion, spec, batch_size, num_steps, mode, remat):
  """The compiled value_and_grad of the objective on the chart, and its arguments."""
  sampler = config_lib.build_sampler(diffusion.sde, name=FLAGS.sampler, num_steps=num_steps, remat=remat)
  objective = make_objective(make_generate(diffusion, sampler), emd.make_emd(**emd.DESCENT), views=VIEWS,
                             num_pixels=spec.num_pixels, charge_weight_px=20.0)
  images, hypothesis, noise = inputs(diffusion, spec, batch_size)
  targets = jax.jit(objective.prepare)(images)
  gradient = make_value_and_grad(
      lambda h, *args: objective.evaluate(chart.to_momentum(h, diffusion.kinetic_range_mev), *args), mode=mode)
  args = hypothesis, chart.tangent_basis(hypothesis), targets, noise
  return jax.jit(gradient).lower(*args).compile(), args


def measure(compiled, args, repeats):
  """Gradient, median seconds after one warm run, and bytes of temporaries (None where the backend does not say)."""
  _, gradient = jax.block_until_ready(compiled(*args))
  seconds = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(compiled(*args))
    seconds.append(time.perf_counter() - start)
  memory = compiled.memory_analysis()
  return np.asarray(gradient), float(np.median(seconds)), None if memory is None else memory.temp_size_in_bytes


def main(argv) -> None:
  del argv
  batch_sizes, steps = ([int(value) for value in values] for values in (FLAGS.batch_sizes, FLAGS.num_steps))
  diffusion, _ = config_lib.build_diffusion(FLAGS.weights)
  spec, _ = config_lib.build_image_spec(FLAGS.weights)
  num_params = sum(leaf.size for leaf in jax.tree.leaves(diffusion.params))
  print(f"{FLAGS.sampler}, {num_params / 1e6:.2f} M parameters, {jax.devices()[0].device_kind}, jax {jax.__version__}\n")
  print("| events | steps | mode | s | s an event | temporary MB | difference |\n" + "| --- " * 7 + "|", flush=True)
  for batch_size in batch_sizes:
    for num_steps in steps:
      reference = None
      for name, (mode, remat) in MODES.items():
        compiled, args = compile_gradient(diffusion, spec, batch_size, num_steps, mode, remat)
        gradient, seconds, num_bytes = measure(compiled, args, FLAGS.repeats)
        reference = gradient if reference is None else reference
        difference = np.abs(gradient - reference).max() / np.abs(reference).max()
        memory = "?" if num_bytes is None else f"{num_bytes / 1e6:.1f}"
        print(f"| {batch_size} | {num_steps} | {name} | {seconds:.3f} | {seconds / batch_size:.3f} | {memory} | "
              f"{difference:.1e} |", flush=True)


if __name__ == "__main__":
  cli.run(main)
