#!/bin/bash
# Simulates on a Slurm cluster: an array of NUM_PARTS tasks, then a job that joins their shards into one file.
#
#   NUM_PARTS=64 bash launch/slurm/submit.sh --num_events=10000000 --out=/shared/disk/protons.npz
#   NUM_PARTS=256 SBATCH_ARGS="--account=physics --partition=batch" bash launch/slurm/submit.sh \
#       --backend=geant4 --physics=QGSP_BERT --num_events=1000000 --out=/shared/disk/protons_geant4.npz
#
# Run it in the clone. Events are numbered through the whole run and drawn from (seed, number), so no two tasks share a random
# number, and the file is the same, bit for bit, for any NUM_PARTS. The same command again makes what is missing.
set -euo pipefail
: "${NUM_PARTS:?set NUM_PARTS, the number of tasks}"
out= compress=()
for argument in "$@"; do
  case $argument in
    --out=*) out=$argument ;;
    --compress*) compress=("$argument") ;;
    --part*|--merge*) echo "$argument is set here; leave it out." >&2; exit 2 ;;
  esac
done
[ -n "$out" ] || { echo "Give --out=FILE.npz, on a disk that every node sees." >&2; exit 2; }
here=$(dirname "$0")
read -ra options <<< "${SBATCH_ARGS:-}"
array=$(sbatch --parsable "${options[@]}" --array="0-$((NUM_PARTS - 1))" --export="ALL,NUM_PARTS=$NUM_PARTS" \
  "$here/simulate.sbatch" "$@")
array=${array%%;*}  # --parsable adds ;CLUSTER on federated clusters
merge=$(sbatch --parsable "${options[@]}" --dependency="afterok:$array" "$here/merge.sbatch" "$out" "${compress[@]}")
echo "Array $array of $NUM_PARTS tasks, then merge ${merge%%;*} if all end well."
