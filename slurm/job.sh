#!/usr/bin/env bash
# Sourced by every job: the folder, a monitor beside the command, a stop before the time limit.
#
# Settings, from the environment:
#   PYTHON            interpreter (.venv/bin/python)
#   NUM_PROCESSES     processes of a node: GPUs, or cores where there is none
#   STAMPEDE_LOGS     folder of what jobs say (runs/slurm)
#   MONITOR_EVERY_S   seconds between two looks at GPUs, CPU and memory; 0: none (60)
#   MAX_REQUEUES      times that a job goes back to the queue at its time limit (100)
#   REQUEUE_AFTER_S   seconds after the warning when it does so even if the command has not ended
#                     (240; submit.py gives four fifths of --warn_s)
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?expected a Slurm job; send it by: python slurm/submit.py}"
PYTHON=${PYTHON:-.venv/bin/python}
STAMPEDE_LOGS=${STAMPEDE_LOGS:-runs/slurm}
mkdir -p "$STAMPEDE_LOGS"
# srun takes the cores of a task from here only; without it a step gets one.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
# shellcheck source=slurm/monitor.sh
source slurm/monitor.sh

num_processes() {
    if [ -n "${NUM_PROCESSES:-}" ]; then
        echo "$NUM_PROCESSES"
    elif [ -n "${SLURM_GPUS_ON_NODE:-}" ]; then
        echo "$SLURM_GPUS_ON_NODE"
    else
        echo "${SLURM_CPUS_ON_NODE:-1}"
    fi
}

go_back_to_the_queue() {
    if [ "${SLURM_RESTART_COUNT:-0}" -lt "${MAX_REQUEUES:-100}" ]; then
        echo "$(date -Is) requeue number $((${SLURM_RESTART_COUNT:-0} + 1))"
        scontrol requeue "$SLURM_JOB_ID"
    else
        echo "$(date -Is) MAX_REQUEUES=${MAX_REQUEUES:-100} reached: submit the job again"
    fi
}

# Slurm sends USR1 to this script some minutes before the limit (submit.py asks for it). The run
# finds the file after its next update, saves a checkpoint, and ends with code 75.
ask_to_stop() {
    asked=1
    echo "$(date -Is) the time limit is near: the run is asked to stop"
    touch "$STAMPEDE_STOP_FILE"
    (sleep "${REQUEUE_AFTER_S:-240}" && go_back_to_the_queue) &
    late=$!
}

leave() {
    stop_monitor
    rm -f "$STAMPEDE_STOP_FILE"
}

run_job() {
    STAMPEDE_STOP_FILE=$(realpath "$STAMPEDE_LOGS")/stop-$SLURM_JOB_ID
    export STAMPEDE_STOP_FILE
    rm -f "$STAMPEDE_STOP_FILE"
    asked=0 late='' code=0
    trap ask_to_stop USR1
    trap leave EXIT
    start_monitor
    "$@" &
    command=$!
    while kill -0 "$command" 2>/dev/null; do
        wait "$command" || true # a signal to this script ends the wait, not the command
    done
    wait "$command" || code=$?
    [ -z "$late" ] || kill "$late" 2>/dev/null || true
    echo "$(date -Is) ended with code $code"
    if [ "$asked" = 1 ] && [ "$code" -ne 0 ]; then
        go_back_to_the_queue
    fi
    exit "$code"
}
