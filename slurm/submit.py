"""Send a job to Slurm, or show what would be sent.

    python slurm/submit.py train hparams/train.yaml --gpus 1 --time 24:00:00 --dry-run
    python slurm/submit.py ddp hparams/train_ddp.yaml --gpus 4 -- --seed 3
    python slurm/submit.py ddp_nodes hparams/train_ddp.yaml --nodes 4 --gpus 4
    python slurm/submit.py hogwild hparams/train_hogwild.yaml --cpus 16 -- --hogwild.num_workers 4
    python slurm/submit.py prepare data_prepare.bizspeech --tasks 32 -- IN OUT
    python slurm/submit.py compare hparams/compare.yaml --cpus 2 --exclusive

What follows ``--`` goes to the program. Some minutes before the time limit (``--warn_s``) a run is
asked to save a checkpoint, and the job goes back to the queue and on by itself. ``compare`` sends
an array with a task for each run, and a job for the report that waits for it.
"""

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = {
    "train": "train.sh",
    "ddp": "train_ddp.sh",
    "ddp_nodes": "train_ddp_nodes.sh",
    "hogwild": "train_hogwild.sh",
    "prepare": "prepare.sh",
    "compare": "compare.sh",
}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    own, rest = list(argv), []
    if "--" in own:
        own, rest = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("job", choices=SCRIPTS)
    add("target", help="YAML of the run; of prepare: module of the preparer")
    add("--nodes", type=int, default=1)
    add("--gpus", type=int, default=0, help="of each node")
    add("--cpus", type=int, default=4, help="of each task: a node's, or one of an array")
    add("--mem", help="of a node, such as 64G")
    add("--time", default="24:00:00", help="limit, as Slurm writes it")
    add(
        "--warn_s",
        type=int,
        default=300,
        help="seconds before the limit when a run is asked to stop",
    )
    add("--tasks", type=int, default=8, help="of prepare: slices of the array")
    add("--at_once", type=int, help="tasks of an array that run at a time")
    add("--exclusive", action="store_true", help="no other job on the node: for timed runs")
    add("--partition")
    add("--account")
    add("--dependency", help="such as afterok:123")
    add("--name")
    add("--logs", default="runs/slurm", help="folder of what the jobs say")
    add("--dry-run", action="store_true", help="show the commands, send nothing")
    args = parser.parse_args(own)
    args.rest = rest
    return args


def sbatch(args: argparse.Namespace, words: Sequence[str], **more: str | None) -> list[str]:
    """Return the command that sends a job.

    Arguments
    ---------
    args : argparse.Namespace
        Resources.
    words : Sequence[str]
        Arguments of the job's script.
    **more : str | None
        Further options of sbatch, or others in place of those of `args`; None: left out.

    Returns
    -------
    list of str
        sbatch, options, script, arguments.
    """
    is_array = more.get("array") is not None
    options: dict[str, str | None] = {
        "job-name": args.name or f"stampede-{args.job}",
        "nodes": str(args.nodes),
        "cpus-per-task": str(args.cpus),
        "gres": f"gpu:{args.gpus}" if args.gpus else None,
        "mem": args.mem,
        "time": args.time,
        "signal": f"B:USR1@{args.warn_s}",
        "partition": args.partition,
        "account": args.account,
        "dependency": args.dependency,
        "output": f"{args.logs}/%x-{'%A_%a' if is_array else '%j'}.out",
        "open-mode": "append",
        **more,
    }
    flags = [f"--{name}={value}" for name, value in options.items() if value is not None]
    flags += ["--exclusive"] if args.exclusive else []
    return ["sbatch", "--parsable", "--requeue", *flags, f"slurm/{SCRIPTS[args.job]}", *words]


def array(args: argparse.Namespace, first: int, last: int) -> str:
    """Return the range of an array."""
    return f"{first}-{last}" + (f"%{args.at_once}" if args.at_once else "")


def num_runs(args: argparse.Namespace, stage: str) -> int:
    """Return how many runs a stage of a comparison has."""
    command = [sys.executable, "compare_training.py", args.target, *args.rest]
    command += ["--list", "--stage", stage]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return sum(line.startswith("    ") for line in done.stdout.splitlines())


def send(args: argparse.Namespace, command: Sequence[str]) -> str:
    """Show a command and send it, unless it is a dry run; return the job's number."""
    print(shlex.join(command))
    if args.dry_run:
        return "JOB"
    (ROOT / args.logs).mkdir(parents=True, exist_ok=True)
    # The job goes back to the queue by itself a little before the limit, however long the warning.
    late_s = os.environ.get("REQUEUE_AFTER_S", str(args.warn_s * 4 // 5))
    environment = {**os.environ, "STAMPEDE_LOGS": args.logs, "REQUEUE_AFTER_S": late_s}
    done = subprocess.run(
        command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    number = done.stdout.strip().split(";")[0]
    print(f"job {number}")
    return number


def send_comparison(args: argparse.Namespace) -> None:
    """Send the runs that choose learning rates, the runs themselves, and the report."""
    after = args.dependency
    for stage in ("tuning", "main"):
        num = num_runs(args, stage)
        if num:
            words = [args.target, *args.rest, "--stage", stage]
            more = {"array": array(args, 0, num - 1), "dependency": after}
            after = f"afterok:{send(args, sbatch(args, words, **more))}"
    words = [args.target, *args.rest]
    send(args, sbatch(args, words, dependency=after, gres=None))


def main(argv: Sequence[str]) -> int:
    """Send what was asked for; return the exit code."""
    args = parse(argv)
    if args.job == "compare":
        send_comparison(args)
        return 0
    more = {"array": array(args, 0, args.tasks - 1)} if args.job == "prepare" else {}
    send(args, sbatch(args, [args.target, *args.rest], **more))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
