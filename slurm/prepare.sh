#!/usr/bin/env bash
# A slice of a preparer for each task of a job array: MODULE such as data_prepare.bizspeech, then
# its arguments. The slice that ends last writes the index.
source slurm/job.sh
module=$1
shift
run_job srun --ntasks=1 "$PYTHON" -m "$module" "$@" \
    --slice "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" \
    --num_jobs "${SLURM_CPUS_PER_TASK:-1}"
