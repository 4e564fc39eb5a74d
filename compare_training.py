"""Compare ways of training on equal terms: one process, accumulation, DDP, Hogwild.

    python compare_training.py hparams/compare.yaml
    python compare_training.py hparams/compare.yaml --comparison.seeds '[0, 1, 2, 3, 4]'
    python compare_training.py hparams/compare_sizes.yaml

Every combination of way, variant, budget and seed is one run of train.py or train_hogwild.py, by
the command that a user would type. They take turns, so that noise of the machine falls on all
alike. A comparison that was stopped goes on when the same command is given again. ``--dry_run``
prints the YAML; ``--list`` prints the runs without starting them; ``--only N`` starts one of them,
of the ``--stage`` main, or of tuning, the runs that choose learning rates (for a job array);
``--report_only`` starts none, and reports those that have ended.

In ``output_folder``: ``compare.html`` (tables that sort, curves), ``compare.md``, ``compare.json``,
the curves as PNG, and the runs, each in a folder of its own.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from comparing.jobs import ENDED, Job, jobs_of, tuning_jobs
from comparing.run_files import ROOT
from comparing.running import compare, run_single
from comparing.tuning import best_rates, fixed_rates
from recipes.common.faults import plain_faults
from recipes.common.folder_lock import locked
from recipes.common.hparams import load_run


def tell(jobs: Sequence[Job]) -> None:
    """Print the commands of jobs."""
    for job in jobs:
        print(f"{job.title}:\n    {job.told}")


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return this program's own options, and what the YAML's loader gets."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--stage", choices=("tuning", "main", "all"), default="all")
    parser.add_argument("--only", type=int)
    parser.add_argument("--report_only", action="store_true")
    return parser.parse_known_args(argv)


def main(argv: Sequence[str]) -> int:
    """Run what is missing, then write the report; return the exit code."""
    args, rest = parse(argv)
    with plain_faults():
        hparams = load_run(rest).hparams
        what, folder = hparams["comparison"], Path(hparams["output_folder"])
        tuning = list(tuning_jobs(what, folder))
        is_single = args.only is not None
        command = shlex.join(["python", "compare_training.py", *argv])
        if args.list:
            is_tuned = all(job.state in ENDED for job in tuning)
            rates = best_rates(what, tuning)[0] if is_tuned else fixed_rates(what)
            planned = list(jobs_of(what, folder, rates))
            tell({"tuning": tuning, "main": planned, "all": tuning + planned}[args.stage])
            if not is_tuned:
                print(f"The tuning runs choose a --{what.rate_key} for each of the main ones.")
            return 0
        lock = nullcontext() if args.report_only else locked(ROOT / folder, is_shared=is_single)
        with lock:
            if is_single:
                run_single(what, folder, tuning, number=args.only, stage=args.stage)
                return 0
            path = compare(what, folder, tuning, command=command, only_report=args.report_only)
    print(path.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
