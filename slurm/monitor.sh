#!/usr/bin/env bash
# Sourced by job.sh: looks at the node now and then, into a file of its own.

monitor() {
    trap 'kill "${pause:-}" 2>/dev/null; exit 0' TERM
    while true; do
        echo "== $(date -Is) load $(cut -d' ' -f1-3 /proc/loadavg)"
        # gpustat is optional: where it or a GPU is missing, processor and memory are told.
        "$(dirname "$PYTHON")/gpustat" --no-color --no-header 2>/dev/null || true
        free -m | awk '/^Mem/ {print "memory MiB: used " $3 ", free " $4 ", cached " $6}'
        ps -u "$(id -u)" -o pid,pcpu,rss,etimes,args --sort=-pcpu | head -n 6 | cut -c1-150
        sleep "$1" &
        pause=$!
        wait "$pause"
    done
}

start_monitor() {
    monitor_pid=''
    if [ "${MONITOR_EVERY_S:-60}" -gt 0 ]; then
        monitor "${MONITOR_EVERY_S:-60}" >>"$STAMPEDE_LOGS/monitor-$SLURM_JOB_ID.txt" 2>&1 &
        monitor_pid=$!
    fi
}

stop_monitor() {
    if [ -n "${monitor_pid:-}" ]; then
        kill -TERM "$monitor_pid" 2>/dev/null || true
        wait "$monitor_pid" 2>/dev/null || true
    fi
}
