#!/usr/bin/env bash
# One run of the benchmark on this node, or one rank of it under srun: variables become options.
#
#   source recipes/LibriSpeech/ASR/transducer/launch/config_1x8x192x1.sh
#   DATADIR=/corpora/LibriSpeech LOGDIR=runs/mlperf bash \
#       recipes/LibriSpeech/ASR/transducer/launch/run_and_time.sh
#
# From a config file: DGXNNODES DGXNGPU BATCHSIZE GRAD_ACCUMULATION_STEPS PRESET. Besides:
#   DATADIR      the corpus (/datasets/LibriSpeech)      LOGDIR     results (/results)
#   WORKDIR      shards and tokenizer (LOGDIR/work)      SEED       of the run (0)
#   TARGET       word error rate that ends it (0.058)    MAX_SYMBOL tokens of an utterance (300)
#   EPOCH        epochs at most (the preset's)           PRECISION  bf16, fp16, fp32 (bf16)
#   SYNTH_DATA   1: measure throughput on made-up utterances of 195,840 samples and 56 tokens
#   MLPERF_ORG, MLPERF_PLATFORM                          who submits, on what
#   CACHES_CLEARED  True: the log says that page caches were dropped before (False)
#   PYTHON       interpreter (python)                    DRY_RUN    1: only show the command
#   EXTRA        more options of train.py, e.g. "--log_every 1000"
set -euo pipefail
recipe=recipes/LibriSpeech/ASR/transducer
: "${DGXNNODES:?source a config file first}" "${DGXNGPU:?}" "${BATCHSIZE:?}" "${PRESET:?}"
: "${GRAD_ACCUMULATION_STEPS:?}"
python=${PYTHON:-python}
logs=${LOGDIR:-/results}
seed=${SEED:-0}

if [ $((BATCHSIZE % GRAD_ACCUMULATION_STEPS)) -ne 0 ]; then
    echo "run_and_time: BATCHSIZE $BATCHSIZE is no multiple of GRAD_ACCUMULATION_STEPS" \
        "$GRAD_ACCUMULATION_STEPS; expected one; change either." >&2
    exit 2
fi
micro_batch=$((BATCHSIZE / GRAD_ACCUMULATION_STEPS))
global_batch=$((DGXNNODES * DGXNGPU * BATCHSIZE))
if [ "$global_batch" -ne "$PRESET" ]; then
    echo "run_and_time: $DGXNNODES nodes x $DGXNGPU GPUs x $BATCHSIZE = $global_batch utterances" \
        "an update; expected those of the preset, $PRESET." >&2
    exit 2
fi

if [ "${SYNTH_DATA:-0}" = 1 ]; then
    command=("$python" -m benchmarks.rnnt_throughput --batch "$micro_batch" --shapes canonical)
else
    options=(
        "$recipe/hparams/presets/$PRESET.yaml"
        --data_folder "${DATADIR:-/datasets/LibriSpeech}"
        --work_folder "${WORKDIR:-$logs/work}"
        --output_folder "$logs/$PRESET-$seed"
        --mlperf_log "$logs/$PRESET-$seed/mlperf.log"
        --seed "$seed"
        --micro_batch "$micro_batch"
        --precision "${PRECISION:-bf16}"
        --max_tokens "${MAX_SYMBOL:-300}"
        --target_value "$(awk -v share="${TARGET:-0.058}" 'BEGIN { print 100 * share }')"
        --submission.organisation "${MLPERF_ORG:-unnamed}"
        --submission.platform "${MLPERF_PLATFORM:-unnamed}"
        --submission.caches_cleared "${CACHES_CLEARED:-False}"
    )
    if [ -n "${EPOCH:-}" ]; then
        options+=(--num_epochs "$EPOCH")
    fi
    # shellcheck disable=SC2206 # several words on purpose
    options+=(${EXTRA:-})
    if [ -n "${SLURM_PROCID:-}" ] && [ "${SLURM_NTASKS:-1}" -gt 1 ]; then
        # One task a GPU: Slurm's numbers are the ranks.
        export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS
        export MASTER_ADDR=${MASTER_ADDR:?set by the job file} MASTER_PORT=${MASTER_PORT:-29500}
        command=("$python" train.py "${options[@]}")
    elif [ "$DGXNGPU" -gt 1 ]; then
        command=("$python" -m torch.distributed.run --standalone "--nproc_per_node=$DGXNGPU"
            train.py "${options[@]}")
    else
        command=("$python" train.py "${options[@]}")
    fi
fi

# Processor and memory next to the GPU, where the machine has several sockets and numactl.
if [ -n "${LOCAL_RANK:-}" ] && [ "${DGXNSOCKET:-1}" -gt 1 ] && command -v numactl >/dev/null; then
    node=$((LOCAL_RANK * DGXNSOCKET / DGXNGPU))
    command=(numactl "--cpunodebind=$node" "--membind=$node" "${command[@]}")
fi

if [ "${DRY_RUN:-0}" = 1 ]; then
    printf '%q ' "${command[@]}"
    printf '\n'
    exit 0
fi
mkdir -p "$logs"
start=$(date +%s)
code=0
"${command[@]}" || code=$?
echo "RESULT,RNN_SPEECH_RECOGNITION,$seed,$(($(date +%s) - start)),code $code"
exit "$code"
