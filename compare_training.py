"""Compare ways of training on equal terms: one process, accumulation, DDP, Hogwild.

    python compare_training.py hparams/compare.yaml
    python compare_training.py hparams/compare.yaml --comparison.seeds '[0, 1, 2, 3, 4]'
    python compare_training.py hparams/compare_sizes.yaml

Every combination of way, variant, budget and seed is one run of train.py or train_hogwild.py, by
the command that a user would type. They take turns, so that noise of the machine falls on all
alike. A comparison that was stopped goes on when the same command is given again. ``--dry_run``
prints the YAML; ``--list`` prints the runs without starting them.

In ``output_folder``: ``compare.html`` (tables that sort, curves), ``compare.md``, ``compare.json``,
the curves as PNG, and the runs, each in a folder of its own.
"""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from comparing.jobs import Job, jobs_of, run, tuning_jobs
from comparing.options import Comparison
from comparing.report import group, write_report
from comparing.tuning import best_rates, fixed_rates
from recipes.common.experiment import write_atomically
from recipes.common.faults import plain_faults
from recipes.common.hparams import load_run


def run_all(jobs: Sequence[Job]) -> None:
    """Run jobs one after the other; those that have ended before are passed over."""
    with tqdm(jobs, unit="run", dynamic_ncols=True) as bar:
        for job in bar:
            bar.set_description(job.title)
            run(job)


def choose_rates(what: Comparison, folder: Path, *, is_dry: bool) -> Mapping[str, float | None]:
    """Return the learning rate of each way, after the runs that choose it, if there is a choice."""
    jobs = list(tuning_jobs(what, folder))
    if is_dry:
        tell(jobs)
    if is_dry or not jobs:
        return fixed_rates(what)
    run_all(jobs)
    rates, figures = best_rates(what, jobs)
    write_atomically(folder / "tuning.json", json.dumps(figures, indent=1) + "\n")
    return rates


def tell(jobs: Sequence[Job]) -> None:
    """Print the commands of jobs."""
    for job in jobs:
        print(f"{job.title}:\n    {shlex.join(['python', *job.command[1:]])}")


def main(argv: Sequence[str]) -> int:
    """Run what is missing, then write the report; return the exit code."""
    is_dry = "--list" in argv
    with plain_faults():
        hparams = load_run([word for word in argv if word != "--list"]).hparams
        what, folder = hparams["comparison"], Path(hparams["output_folder"])
        rates = choose_rates(what, folder, is_dry=is_dry)
        jobs = list(jobs_of(what, folder, rates))
        if is_dry:
            tell(jobs)
            return 0
        run_all(jobs)
        command = shlex.join(["python", "compare_training.py", *argv])
        path = write_report(what, group(what, jobs), folder=folder, command=command, rates=rates)
    print(path.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
