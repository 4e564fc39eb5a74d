#!/usr/bin/env bash
#SBATCH --exclusive
#SBATCH --job-name=rnnt
# NEXP runs on Slurm without containers: the project's environment lies on a disk that all see.
#
#   source recipes/LibriSpeech/ASR/transducer/launch/config_8x8x32x1.sh
#   DATADIR=/corpora/LibriSpeech LOGDIR=runs/mlperf sbatch -N "$DGXNNODES" -t "$WALLTIME" \
#       --gres="gpu:$DGXNGPU" recipes/LibriSpeech/ASR/transducer/launch/slurm_plain.sh
#
#   NEXP    runs (1); run i has seed SEED + i     SEED     (random)
#   PYTHON  interpreter (.venv/bin/python)        DRY_RUN  1: only show the commands
set -euo pipefail
: "${DGXNNODES:?source a config file first}" "${DGXNGPU:?}"
: "${DATADIR:?folder of LibriSpeech}" "${LOGDIR:?folder of the results}"
export PYTHON=${PYTHON:-.venv/bin/python} DATADIR LOGDIR
first_seed=${SEED:-$RANDOM}
stamp=$(date +'%y%m%d%H%M%S')
MASTER_ADDR=${MASTER_ADDR:-$(hostname)}
if [ -n "${SLURM_JOB_NODELIST:-}" ] && [ "${DRY_RUN:-0}" != 1 ]; then
    MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
fi
export MASTER_ADDR MASTER_PORT=${MASTER_PORT:-29500}
mkdir -p "$LOGDIR"

for ((i = 0; i < ${NEXP:-1}; i++)); do
    export SEED=$((first_seed + i))
    command=(srun --mpi=none "--ntasks=$((DGXNNODES * DGXNGPU))" "--ntasks-per-node=$DGXNGPU"
        bash recipes/LibriSpeech/ASR/transducer/launch/run_and_time.sh)
    if [ "${DRY_RUN:-0}" = 1 ]; then
        printf '%q ' "${command[@]}"
        printf '\n'
    else
        "${command[@]}" |& tee "$LOGDIR/${stamp}_$((i + 1)).log"
    fi
done
