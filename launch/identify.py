r"""Calibrates particle types by inversion on events of known types, and says how well they are told.

python -m launch.infer --config=configs/particles64_identify.py:screened --weights=WEIGHTS --input=BATCHES \
    --views=xy --types=proton,mu-,pi+,e-,gamma --first_event=490000 --num_events=10000 --out=runs/held_out
python -m launch.identify --input=runs/held_out --classifier=runs/classifier/weights --out=runs/identify

Confusion matrix and reliability table, each event judged by a calibration fitted on the others; beside them
those of a classifier of images (configs/particles64_classifier.py) on the same events. identification.json is
the calibration of all events: put it beside the weights, or name it to launch.infer by --calibration.
"""
from lartpc_jax import cli

cli.define_flags("identify")

if __name__ == "__main__":
  cli.launch("identify")
