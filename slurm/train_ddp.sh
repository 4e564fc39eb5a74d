#!/usr/bin/env bash
# DDP on one node: train.py under torchrun, a process for each GPU.
source slurm/job.sh
run_job srun --ntasks=1 "$PYTHON" -m torch.distributed.run --standalone \
    --nproc_per_node="$(num_processes)" train.py "$@"
