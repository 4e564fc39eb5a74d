# 1 node(s) of 4 GPU(s), 128 utterances a GPU and update, in 1 part(s): the preset for 512.
# shellcheck shell=bash
export DGXNNODES=1
export DGXNGPU=4
export BATCHSIZE=128                   # of one GPU and update, before it is divided
export GRAD_ACCUMULATION_STEPS=1
export PRESET=512
export WALLTIME_MINUTES=180          # of one run; WALLTIME is that of all NEXP runs
export WALLTIME=$((${NEXP:-1} * WALLTIME_MINUTES))
export DGXNSOCKET=${DGXNSOCKET:-2}
