r"""Time and accuracy of the distances in lartpc_jax.transport.emd on curved toy tracks, as a Markdown table.

python -m launch.benchmark_emd [--num_pairs=128] [--repeats=5]
python -m launch.benchmark_emd --large=256        (images with 1,000 lit pixels, by how many are compared)

Value and gradient in the pixels of one image of each pair, for a fixed target. The gradient is checked by its
component along a turn of the track, against differences of the exact distance. Half a minute on 2 cores.
"""
from lartpc_jax import cli

cli.define_flags("benchmark_emd")

if __name__ == "__main__":
  cli.launch("benchmark_emd")
