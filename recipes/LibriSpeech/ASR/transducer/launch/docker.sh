#!/usr/bin/env bash
# Build the image, open a shell in it, or start a run in it.
#
#   bash recipes/LibriSpeech/ASR/transducer/launch/docker.sh build
#   bash recipes/LibriSpeech/ASR/transducer/launch/docker.sh shell DATA RESULTS WORK
#   source recipes/LibriSpeech/ASR/transducer/launch/config_1x8x192x1.sh
#   bash recipes/LibriSpeech/ASR/transducer/launch/docker.sh run DATA RESULTS WORK
#
# DATA: the folder LibriSpeech; RESULTS: logs and checkpoints; WORK: shards and tokenizer.
#   IMAGE (stampede-rnnt)   DRY_RUN 1: only show the command
set -euo pipefail
here=recipes/LibriSpeech/ASR/transducer/launch
image=${IMAGE:-stampede-rnnt}
what=${1:?build, shell or run}

if [ "$what" = build ]; then
    command=(docker build -f "$here/Dockerfile" -t "$image" .)
else
    data=${2:?folder LibriSpeech} results=${3:?folder of results} work=${4:?folder of shards}
    command=(docker run --rm --gpus all --ipc=host --network=host --shm-size=4g
        --ulimit memlock=-1 -v "$data:/datasets/LibriSpeech:ro" -v "$results:/results"
        -v "$work:/work" -v "$PWD:/workspace/stampede" -e LOGDIR=/results -e WORKDIR=/work
        -e DATADIR=/datasets/LibriSpeech)
    for name in DGXNNODES DGXNGPU DGXNSOCKET BATCHSIZE GRAD_ACCUMULATION_STEPS PRESET SEED EPOCH \
        TARGET MAX_SYMBOL PRECISION SYNTH_DATA MLPERF_ORG MLPERF_PLATFORM CACHES_CLEARED EXTRA; do
        command+=(-e "$name")
    done
    case $what in
    shell) command+=(-it "$image" bash) ;;
    run) command+=("$image" bash "$here/run_and_time.sh") ;;
    *)
        echo "docker.sh: $what; expected build, shell or run." >&2
        exit 2
        ;;
    esac
fi
if [ "${DRY_RUN:-0}" = 1 ]; then
    printf '%q ' "${command[@]}"
    printf '\n'
else
    exec "${command[@]}"
fi
