#!/usr/bin/env bash
# Hogwild: one parent on each node; it starts the workers itself.
source slurm/job.sh
if [ "$SLURM_NNODES" -eq 1 ]; then
    run_job srun --ntasks=1 "$PYTHON" train_hogwild.py "$@"
fi
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))
run_job srun --ntasks="$SLURM_NNODES" --ntasks-per-node=1 \
    "$PYTHON" -m torch.distributed.run \
    --nnodes="$SLURM_NNODES" --nproc_per_node=1 --rdzv_id="$SLURM_JOB_ID" \
    --rdzv_backend=c10d --rdzv_endpoint="$head:$port" train_hogwild.py "$@"
