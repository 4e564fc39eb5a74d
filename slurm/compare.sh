#!/usr/bin/env bash
# A comparison: with a job array one run for each task, without one the report of all.
source slurm/job.sh
if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
    set -- "$@" --only "$SLURM_ARRAY_TASK_ID"
fi
run_job srun --ntasks=1 "$PYTHON" compare_training.py "$@"
