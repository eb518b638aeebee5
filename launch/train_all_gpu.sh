#!/usr/bin/env bash
# Trains every full-size config on one GPU (an H200 is the target, 25 minutes in all) and leaves small weight files.
#   bash launch/train_all_gpu.sh protons_geant4.npz OUT [minutes]
# OUT/protons64/ then holds autoencoder.{npz,json} and diffusion.{npz,json} (float16, under 16 MiB each), OUT/fidelity/
# the check against Geant4. The same command again resumes. The number of steps is measured: what fits into each
# model's share of the minutes.
set -euo pipefail
data=${1:?usage: train_all_gpu.sh EVENTS.npz OUT [minutes]}
out=${2:?usage: train_all_gpu.sh EVENTS.npz OUT [minutes]}
minutes=${3:-25}
cd "$(dirname "$0")/.."
mkdir -p "$out"

# Steps fit the time: a short run measures images per second, then num_steps is set for the minutes that the model has.
train() {  # config, workdir, share of the minutes in percent, batch size, further flags
  local config=$1 workdir=$2 share=$3 batch=$4; shift 4
  local steps
  if [[ ! -f $workdir.steps ]]; then
    python -m launch.train --config="$config" --workdir="$workdir.speed" --config.data.path="$data" \
      --config.train.num_steps=300 --config.optim.warmup_steps=100 --config.train.log_every_steps=100 \
      --config.train.eval_every_steps=0 --config.train.draw_every_steps=0 --config.train.checkpoint_every_steps=300 "$@"
    steps=$(python - "$workdir.speed/metrics.jsonl" "$batch" "$minutes" "$share" <<'P'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
rate = rows[-1]["images_per_second"] / float(sys.argv[2])
print(max(int(0.85 * rate * 60 * float(sys.argv[3]) * float(sys.argv[4]) / 100) // 1000, 1) * 1000)
P
)
    rm -rf "$workdir.speed"
    echo "$steps" > "$workdir.steps"
  fi
  steps=$(cat "$workdir.steps")
  python -m launch.train --config="$config" --workdir="$workdir" --config.data.path="$data" \
    --config.train.num_steps="$steps" "$@"
}

train configs/protons64_autoencoder.py:gpu "$out/autoencoder" 25 512
train configs/protons64_ldm.py:gpu "$out/diffusion" 60 512 --config.autoencoder="$out/autoencoder/weights"
mkdir -p "$out/protons64"
cp "$out"/diffusion/weights/*.npz "$out"/diffusion/weights/*.json "$out/protons64/"
python -m launch.fidelity --input="$data" --first_event=195000 --weights="$out/protons64" --out="$out/fidelity"
ls -l "$out/protons64"
