# 1 node(s) of 1 GPU(s), 1024 utterances a GPU and update, in 8 part(s): the preset for 1024.
# shellcheck shell=bash
export DGXNNODES=1
export DGXNGPU=1
export BATCHSIZE=1024                   # of one GPU and update, before it is divided
export GRAD_ACCUMULATION_STEPS=8
export PRESET=1024
export WALLTIME_MINUTES=1440          # of one run; WALLTIME is that of all NEXP runs
export WALLTIME=$((${NEXP:-1} * WALLTIME_MINUTES))
export DGXNSOCKET=${DGXNSOCKET:-2}
