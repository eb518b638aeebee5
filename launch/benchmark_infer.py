r"""Events a second of the inference against their number and the number of devices, as a Markdown table.

python -m launch.benchmark_infer --config=configs/protons64_infer.py:amortised --start=amortised \
    --events=1,8,64,512 \
    --devices=1,2,4 --out=runs/speed

Each number of devices is a process of its own; on CPU they are virtual ones that share the cores. Compilation
is told apart; then all events are inferred once, with the host's part of it. Chunks are --chunk_size events a
device, or fewer where there are fewer events. Sample events are repeated where there are not enough. Rows
that --out has already, of the same config and flags, are not measured again; one --out may hold several
configs and starts.
"""
from lartpc_jax import cli

CONFIG = "configs/protons64_infer.py"
cli.define_config_flag(CONFIG)
cli.define_flags("benchmark_infer")

if __name__ == "__main__":
  cli.launch("benchmark_infer", default_config=CONFIG)
