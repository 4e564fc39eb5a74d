#!/usr/bin/env bash
# One device: train.py with its arguments.
source slurm/job.sh
run_job srun --ntasks=1 "$PYTHON" train.py "$@"
