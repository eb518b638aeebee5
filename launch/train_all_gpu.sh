#!/usr/bin/env bash
# Trains every full-size config on one GPU (an H200 is the target, 25 minutes in all) and leaves small weight files.
#   bash launch/train_all_gpu.sh DATA OUT [minutes]
# DATA holds protons_geant4.npz, lartpc_crops_geant4.npz and lartpc_events_geant4.npz; models whose file is missing are left
# out, by name. OUT/weights/ then holds MODEL.tar, each at most 16 MiB (float16): protons64 (autoencoder, diffusion and
# estimators), ssnet64, crops64, events512. OUT/fidelity/ has the check against Geant4. The same command again resumes. The
# number of steps is measured: what fits into each model's share of the minutes.
set -euo pipefail
data=${1:?usage: train_all_gpu.sh DATA OUT [minutes]}
out=${2:?usage: train_all_gpu.sh DATA OUT [minutes]}
minutes=${3:-25}
cd "$(dirname "$0")/.."
mkdir -p "$out/weights" "$out/protons64"

# Steps fit the time: a short run measures images per second, then num_steps is set for the minutes that the model has.
train() {  # config, workdir, share of the minutes in percent, file of data, further flags
  local config=$1 workdir=$2 share=$3 file=$4; shift 4
  local steps
  if [[ ! -f $workdir.steps ]]; then
    python -m launch.train --config="$config" --workdir="$workdir.speed" --config.data.path="$file" \
      --config.train.num_steps=300 --config.optim.warmup_steps=100 --config.train.log_every_steps=100 \
      --config.train.eval_every_steps=0 --config.train.draw_every_steps=0 --config.train.checkpoint_every_steps=300 "$@"
    steps=$(python - "$workdir.speed" "$minutes" "$share" <<'P'
import json, sys
folder, minutes, share = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
rows = [json.loads(line) for line in open(f"{folder}/metrics.jsonl")]
batch = json.load(open(f"{folder}/config.json"))["data"]["batch_size"]
print(max(int(0.8 * rows[-1]["images_per_second"] / batch * 60 * minutes * share / 100) // 500, 1) * 500)
P
)
    rm -rf "$workdir.speed"
    echo "$steps" > "$workdir.steps"
  fi
  steps=$(cat "$workdir.steps")
  python -m launch.train --config="$config" --workdir="$workdir" --config.data.path="$file" \
    --config.train.num_steps="$steps" "$@"
}

have() { [[ -f $data/$1 ]] || { echo "No $data/$1: what needs it is left out."; return 1; }; }
pack() { tar -C "$out/$1" -cf "$out/weights/$1.tar" $(ls "$out/$1" | grep -E '\.(npz|json)$'); }  # model

if have protons_geant4.npz; then
  protons=$data/protons_geant4.npz
  train configs/protons64_autoencoder.py:gpu "$out/autoencoder" 12 "$protons"
  train configs/protons64_ldm.py:gpu "$out/diffusion" 34 "$protons" --config.codec.weights="$out/autoencoder/weights"
  train configs/protons64_estimator.py:gpu "$out/two_views" 6 "$protons"
  train configs/protons64_estimator.py:gpu_one_view "$out/one_view" 5 "$protons"
  cp "$out"/{diffusion,two_views,one_view}/weights/*.{npz,json} "$out/protons64/"
  pack protons64
fi
if have lartpc_crops_geant4.npz; then
  train configs/crops64_score.py:gpu "$out/crops" 16 "$data/lartpc_crops_geant4.npz"
  train configs/crops64_ssnet.py:gpu "$out/ssnet" 7 "$data/lartpc_crops_geant4.npz"
  cp -r "$out/crops/weights" "$out/crops64"; pack crops64
  cp -r "$out/ssnet/weights" "$out/ssnet64"; pack ssnet64
fi
if have lartpc_events_geant4.npz; then
  train configs/events512_autoencoder.py:gpu "$out/events512_ae" 5 "$data/lartpc_events_geant4.npz"
  train configs/events512_ldm.py:gpu "$out/events512_ldm" 15 "$data/lartpc_events_geant4.npz" \
    --config.codec.weights="$out/events512_ae/weights"
  cp -r "$out/events512_ldm/weights" "$out/events512"; pack events512
fi
[[ ! -f $out/protons64/generator.npz ]] || python -m launch.fidelity --input="$data/protons_geant4.npz" \
  --first_event=195000 --weights="$out/protons64" --out="$out/fidelity"
ls -l "$out/weights"
