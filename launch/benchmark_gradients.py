r"""Time and memory of the gradient of the momentum objective through the sampler, as a Markdown table.

python -m launch.benchmark_gradients [--weights=DIR] [--batch_sizes=1,8] [--num_steps=8,20] [--repeats=5]

Forward mode (three tangents of the chart), reverse mode, and reverse mode that rematerialises each sampler
step. One view and one draw an event of the package; memory is what XLA allocates for temporaries, beside
weights, inputs and outputs. The last column is the largest difference to the forward-mode gradient, relative
to its largest component.
"""
from lartpc_jax import cli

cli.define_flags("benchmark_gradients")

if __name__ == "__main__":
  cli.launch("benchmark_gradients")
