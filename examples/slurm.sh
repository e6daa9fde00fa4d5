#!/bin/bash
# A scan by Ray actors on the nodes of a Slurm job: one Ray process a node, all of them started here.
# Everything that is named lies on storage that the nodes share. The same script goes on where a job
# was ended; submit it again.
#
#   sbatch slurm.sh /shared/photos resnet50 /shared/weights.pt /shared/run
#
#SBATCH --job-name=shortcut-finder
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=64
#SBATCH --time=04:00:00

set -euo pipefail
DATA=$1 MODEL=$2 WEIGHTS=$3 OUT=$4
# Without Slurm it runs on this machine alone, which tries the script out.
NODES=${SLURM_JOB_NUM_NODES:-1}
PORT=${RAY_PORT:-$((20000 + ${SLURM_JOB_ID:-$$} % 10000))}
export RAY_USAGE_STATS_ENABLED=0
# Whoever reaches a Ray without a token can run what they like on it; this one is of this job alone.
RAY_AUTH_TOKEN=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN

HEAD=127.0.0.1
if [ -n "${SLURM_JOB_NODELIST:-}" ]; then
  HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
fi

ray start --head --node-ip-address="$HEAD" --port="$PORT" --include-dashboard=false --disable-usage-stats --block ${RAY_START_OPTIONS:-} &
# Not `ray stop`, which ends every Ray of yours on the node.
trap "kill $! 2>/dev/null; wait" EXIT
until (: >"/dev/tcp/$HEAD/$PORT") 2>/dev/null; do sleep 1; done
if [ "$NODES" -gt 1 ]; then
  # The other nodes join and stay until the job ends.
  srun --nodes=$((NODES - 1)) --ntasks=$((NODES - 1)) --exclude="$HEAD" \
    ray start --address="$HEAD:$PORT" --disable-usage-stats --block &
fi

shortcut-finder scan "$DATA" --model "$MODEL" --weights "$WEIGHTS" --out "$OUT" \
  --engine ray --address "$HEAD:$PORT" ${SCAN_OPTIONS:-}
