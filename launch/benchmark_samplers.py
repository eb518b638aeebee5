r"""Sampler x network evaluations x quality x time of a trained pixel model, as a Markdown table.

python -m launch.benchmark_samplers --weights=runs/crops/weights --data=lartpc_crops_geant4.npz --num=256 \
    --out=runs/samplers

Quality: two-sample chi2/ndf against all held-out crops of active pixels, total charge and pixel spectrum; the
first rows are as many real (training) images. The last row is the published setting, 1000 uniform steps of
Euler-Maruyama. The network is compiled once and the steps run one by one, so times include a little overhead.
The same command again does what is missing.
"""
from lartpc_jax import cli

cli.define_flags("benchmark_samplers")

if __name__ == "__main__":
  cli.launch("benchmark_samplers")
