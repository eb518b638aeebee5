#!/usr/bin/env bash
# Measures conditions, guidance and inpainting. What can resume does: the same command again goes on.
#   bash launch/measure_guidance.sh protons EVENTS WEIGHTS OUT
#   bash launch/measure_guidance.sh particles BATCHES WEIGHTS OUT AUTOENCODER
# EVENTS: protons_geant4.npz, whose last 5,000 events were held out. WEIGHTS: a general generator, as of
# configs/images_ldm.py. BATCHES and AUTOENCODER: what the generator of particle types was trained on. PYTHON names another
# Python; NUM conditions (500) and images (220) fewer where it is set. About an hour on one free CPU core, not yet measured.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
usage() { sed -n 2,7p "$0"; exit 2; }
[[ $# -ge 4 ]] || usage
what=$1 data=$2 weights=$3 out=$4
run() { echo "== $*"; "$python" -m "$@"; }
mkdir -p "$out"
if [[ $what == protons ]]; then
  run launch.conditions --weights="$weights" --input="$data" --num="${NUM:-500}" --scales=0,1,1.5,2,3 --out="$out/conditions"
  band=(--weights="$weights" --input="$data" --first_event=195000 --num_events="${NUM:-220}" --mask=columns=28:36)
  run launch.inpaint "${band[@]}" --out="$out/band_unknown"
  run launch.inpaint "${band[@]}" --cond=truth --out="$out/band_known"
  run launch.inpaint "${band[@]}" --covariance=unit --num_iterations=4 --out="$out/band_unit"
elif [[ $what == particles ]]; then
  [[ $# -ge 5 ]] || usage
  run launch.train --config=configs/particles64_guide.py:type --config.data.path="$data" --config.codec.weights="$5" \
    --config.train.num_steps=1000 --workdir="$out/guide"
  run launch.conditions --weights="$weights" --input="$data" --num="${NUM:-500}" --guide="$out/guide/weights" --scales=0,1 \
    --out="$out/bayes"
else
  usage
fi
