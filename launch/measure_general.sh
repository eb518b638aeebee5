#!/usr/bin/env bash
# Measures the generators that learn from images and labels alone, and writes docs/results/general.json, surface_general.json
# and identification.json. What can resume does: the same command again goes on.
#   bash launch/measure_general.sh protons EVENTS WEIGHTS OUT
#   bash launch/measure_general.sh particles BATCHES WEIGHTS OUT CLASSIFIER [FIRST_HELD_OUT]
# EVENTS: protons_geant4.npz. BATCHES: what the weights were trained on; its last 10,000 events are held out by the configs,
# from number FIRST_HELD_OUT on. CLASSIFIER: weights of configs/particles64_classifier.py. PYTHON names another Python,
# MACHINE what the tables say it ran on; NUM inferred protons, 500 unless set. Hours on one CPU core, not yet measured.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python} num=${NUM:-500}
usage() { sed -n 2,6p "$0"; exit 2; }
[[ $# -ge 4 ]] || usage
what=$1 data=$2 weights=$3 out=$4
run() { echo "== $*"; "$python" -m "$@"; }
mkdir -p "$out"
if [[ $what == protons ]]; then
  # seed: with some the target is a proton that loses energy to a nucleus, whose momentum is another
  run launch.surface --weights="$weights" --momentum=-356,-245,40 --views=xy --axes=px,py --start=245,-356,40 --seed=1 \
    --config.inference.second.vertex_power=0 --config.inference.comparison.charge_weight_px=2 --out="$out/surface"
  run launch.infer --weights="$weights" --input=sample --views=xy,xz --num_events="$num" --out="$out/infer"
  run launch.infer --weights="$weights" --input=sample --views=xy --num_events=64 --out="$out/infer_one_view"
  run launch.fidelity --weights="$weights" --input="$data" --first_event=195000 --max_events=400 --window_mev=2 \
    --num_steps=12 --out="$out/fidelity"
  run launch.generate --weights="$weights" --kinetic_mev=50,100 --num=5000 --views=xy --config.sampler.num_steps=12 --seed=1 \
    --out="$out/generated"
  run launch.evaluate --config=configs/images64_evaluate.py:protons --real="$data[195000:200000]" \
    --floor="$data[190000:195000]" --generated=general="$out/generated/images.npz" --out="$out/report"
elif [[ $what == particles ]]; then
  [[ $# -ge 5 ]] || usage
  classifier=$5 first=${6:-0}
  types=(--weights="$weights" --input="$data" --views=xy --types=proton,mu-,pi+,e-,gamma --first_event="$first")
  run launch.infer --config=configs/particles64_identify.py:screened "${types[@]}" --num_events=10000 --chunk_size=32 \
    --out="$out/screened"
  run launch.identify --input="$out/screened" --classifier="$classifier" --out="$out/identify"
  run launch.infer --config=configs/particles64_identify.py "${types[@]}" --num_events=500 --out="$out/refined"
  run launch.identify --input="$out/refined" --classifier="$classifier" --out="$out/identify_refined"
else
  usage
fi
"$python" docs/general.py "$what" "$out"
