# 192 node(s) of 8 GPU(s), 4 utterances a GPU and update, in 1 part(s): the preset for 6144.
# shellcheck shell=bash
export DGXNNODES=192
export DGXNGPU=8
export BATCHSIZE=4                   # of one GPU and update, before it is divided
export GRAD_ACCUMULATION_STEPS=1
export PRESET=6144
export WALLTIME_MINUTES=20          # of one run; WALLTIME is that of all NEXP runs
export WALLTIME=$((${NEXP:-1} * WALLTIME_MINUTES))
export DGXNSOCKET=${DGXNSOCKET:-2}
