#!/usr/bin/env bash
#SBATCH --exclusive
#SBATCH --job-name=rnnt
# NEXP runs on Slurm with Pyxis and Enroot: one container a node, one task a GPU.
#
#   source recipes/LibriSpeech/ASR/transducer/launch/config_1x8x192x1.sh
#   CONT="registry/stampede-rnnt" DATADIR=/corpora/LibriSpeech LOGDIR=/results sbatch \
#       -N "$DGXNNODES" -t "$WALLTIME" recipes/LibriSpeech/ASR/transducer/launch/slurm_pyxis.sh
#
# Folders of the node become those of the container: DATADIR /datasets/LibriSpeech, LOGDIR
# /results, WORKDIR (shards and tokenizer) /work, the checkout /workspace/stampede.
#   NEXP          runs (1); run i has seed SEED + i       SEED        (random)
#   CLEAR_CACHES  1: drop page caches before each run (1; needs sudo)
#   DRY_RUN       1: only show the commands
set -euo pipefail
: "${DGXNNODES:?source a config file first}" "${DGXNGPU:?}" "${CONT:?name of the image}"
: "${DATADIR:?folder of LibriSpeech}" "${LOGDIR:?folder of the results}"
NEXP=${NEXP:-1}
WORKDIR=${WORKDIR:-$LOGDIR/work}
name=rnnt_${SLURM_JOB_ID:-dry}
first_seed=${SEED:-$RANDOM}
stamp=$(date +'%y%m%d%H%M%S')
mounts=$DATADIR:/datasets/LibriSpeech:ro,$LOGDIR:/results,$WORKDIR:/work,$PWD:/workspace/stampede
per_node=("--ntasks=$DGXNNODES" --ntasks-per-node=1)

run() {
    if [ "${DRY_RUN:-0}" = 1 ]; then
        printf '%q ' "$@"
        printf '\n'
    else
        "$@"
    fi
}

MASTER_ADDR=${MASTER_ADDR:-$(hostname)}
if [ -n "${SLURM_JOB_NODELIST:-}" ] && [ "${DRY_RUN:-0}" != 1 ]; then
    MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
fi
export MASTER_ADDR MASTER_PORT=${MASTER_PORT:-29500}
mkdir -p "$LOGDIR" "$WORKDIR"

# The image is brought to each node once, under a name that the runs find.
run srun "${per_node[@]}" "--container-image=$CONT" "--container-name=$name" true

for ((i = 0; i < NEXP; i++)); do
    if [ "${CLEAR_CACHES:-1}" = 1 ]; then
        run srun "${per_node[@]}" bash -c "sync && sudo /sbin/sysctl vm.drop_caches=3"
        export CACHES_CLEARED=True
    fi
    export SEED=$((first_seed + i))
    run srun --mpi=none "--ntasks=$((DGXNNODES * DGXNGPU))" "--ntasks-per-node=$DGXNGPU" \
        "--container-name=$name" "--container-mounts=$mounts" \
        --container-workdir=/workspace/stampede \
        "--export=ALL,DATADIR=/datasets/LibriSpeech,LOGDIR=/results,WORKDIR=/work,DRY_RUN=0" \
        bash recipes/LibriSpeech/ASR/transducer/launch/run_and_time.sh |&
        tee "$LOGDIR/${stamp}_$((i + 1)).log"
done
