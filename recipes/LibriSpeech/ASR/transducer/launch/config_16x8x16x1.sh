# 16 node(s) of 8 GPU(s), 16 utterances a GPU and update, in 1 part(s): the preset for 2048.
# shellcheck shell=bash
export DGXNNODES=16
export DGXNGPU=8
export BATCHSIZE=16                   # of one GPU and update, before it is divided
export GRAD_ACCUMULATION_STEPS=1
export PRESET=2048
export WALLTIME_MINUTES=40          # of one run; WALLTIME is that of all NEXP runs
export WALLTIME=$((${NEXP:-1} * WALLTIME_MINUTES))
export DGXNSOCKET=${DGXNSOCKET:-2}
