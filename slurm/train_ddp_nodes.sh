#!/usr/bin/env bash
# DDP on several nodes: an agent of torchrun on each, which meet at the first one. A node that is
# lost is left out: the others go on from the last checkpoint, with at least MIN_NODES of them.
# torchrun takes the code 75 of a run that was asked to stop for a failure and starts it again: it
# then ends at once, as the stop file is there, and the agents end with 1, which job.sh requeues.
source slurm/job.sh
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))
run_job srun --ntasks="$SLURM_NNODES" --ntasks-per-node=1 --kill-on-bad-exit=0 \
    "$PYTHON" -m torch.distributed.run \
    --nnodes="${MIN_NODES:-1}:$SLURM_NNODES" --nproc_per_node="$(num_processes)" \
    --rdzv_id="$SLURM_JOB_ID" --rdzv_backend=c10d --rdzv_endpoint="$head:$port" \
    --max_restarts="${MAX_RESTARTS:-3}" train.py "$@"
