r"""Fits 1, 2, ... tracks from one vertex to each event and counts them; the same command again goes on where
it stopped.

python -m launch.multi_track --source=generator --tracks=1 --num=300 --out=runs/null.npz
python -m launch.tracks --input=runs/null.npz --refine= --out=runs/null
python -m launch.multi_track --source=sample --tracks=2 --num=300 --opening_degrees=0,180 --out=runs/pairs.npz
python -m launch.tracks --input=runs/pairs.npz --null=runs/null --out=runs/pairs

--input as for launch.infer, or a file of launch.multi_track. --out gets results.csv, results.json, events/,
chunks/ and, with truth, tables by opening angle. p_value_N is that of more than N tracks.
--null: one run on single tracks of the generator, one on pairs, ...: how often would the
generator's own events of N tracks gain as much from one track more?
"""
from lartpc_jax import cli

CONFIG = "configs/protons64_tracks.py"
cli.define_config_flag(CONFIG)
cli.define_flags("tracks")

if __name__ == "__main__":
  cli.launch("tracks", default_config=CONFIG)
