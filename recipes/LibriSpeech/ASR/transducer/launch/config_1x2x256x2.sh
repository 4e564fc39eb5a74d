# 1 node(s) of 2 GPU(s), 256 utterances a GPU and update, in 2 part(s): the preset for 512.
# shellcheck shell=bash
export DGXNNODES=1
export DGXNGPU=2
export BATCHSIZE=256                   # of one GPU and update, before it is divided
export GRAD_ACCUMULATION_STEPS=2
export PRESET=512
export WALLTIME_MINUTES=480          # of one run; WALLTIME is that of all NEXP runs
export WALLTIME=$((${NEXP:-1} * WALLTIME_MINUTES))
export DGXNSOCKET=${DGXNSOCKET:-2}
