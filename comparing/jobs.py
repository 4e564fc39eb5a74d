"""The runs of a comparison: which there are, in what order, and how each is started."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from comparing.children import call
from comparing.options import Comparison
from comparing.run_files import ROOT, scaled
from comparing.ways import ways_of
from recipes.common import divergence
from recipes.common.folder_lock import locked
from recipes.common.stop_file import EXIT_CODE, RunStopped, StopFile

NOTE = "job.txt"
"""In the folder of a run: the command that made it."""
OUTPUT = "--output_folder"
State = Literal["done", "diverged", "missing", "other"]
"""With results; its figures became infinite; not begun or not ended; made by another command."""
ENDED = ("done", "diverged")


@dataclass(frozen=True)
class Job:
    """One run.

    Arguments
    ---------
    variant, budget, way : str, str, str
        Which combination.
    seed : int
        Which repeat.
    rate : float | None
        Learning rate; None: that of the run file.
    folder : Path
        Output folder, relative to the project's root or absolute.
    command : Sequence[str]
        What is run.
    """

    variant: str
    budget: str
    way: str
    seed: int
    rate: float | None
    folder: Path
    command: Sequence[str]

    @property
    def title(self) -> str:
        """For people."""
        rate = "" if self.rate is None else f", rate {self.rate:g}"
        return f"{self.variant}, {self.budget}, {self.way}, seed {self.seed}{rate}"

    @property
    def told(self) -> str:
        """The command for people, and for the folder's note of what made its run."""
        return shlex.join(["python", *self.command[1:]])

    @property
    def state(self) -> State:
        """How far the run of the folder is; only one of this command counts."""
        made_by = self.made_by
        has_ended = self.is_done or self.is_diverged
        if made_by is None:
            return "other" if has_ended else "missing"
        # The folder may have been moved, or be named in another way, and so the interpreter.
        if _essence(made_by) != _essence(self.told):
            return "other"
        return ("done" if self.is_done else "diverged") if has_ended else "missing"

    @property
    def made_by(self) -> str | None:
        """The command that made the folder's run; None: nobody has noted it."""
        note = ROOT / self.folder / NOTE
        return note.read_text(encoding="utf-8") if note.is_file() else None

    @property
    def is_done(self) -> bool:
        """Whether the run has ended with results."""
        path = ROOT / self.folder / "run.json"
        return path.is_file() and bool(json.loads(path.read_text(encoding="utf-8"))["results"])

    @property
    def is_diverged(self) -> bool:
        """Whether the run has ended without results, since its loss or parameters diverged."""
        return not self.is_done and (ROOT / self.folder / divergence.FILE).is_file()


def _essence(told: str) -> list[str]:
    """Return the words of a command but for the interpreter and the folder that it writes to."""
    words = shlex.split(told)[1:]
    if OUTPUT in words:
        del words[words.index(OUTPUT) + 1]
    return words


def make_job(
    what: Comparison,
    *,
    folder: Path,
    way: str,
    variant: str,
    budget: str,
    seed: int,
    rate: float | None,
) -> Job:
    """Return the run of one combination.

    Arguments
    ---------
    what : Comparison
        Of which it is one.
    folder : Path
        Where it writes.
    way : str
        Its name.
    variant : str
        Its name.
    budget : str
        Its name.
    seed : int
        Seed.
    rate : float | None
        Learning rate; None: that of the run file.

    Returns
    -------
    Job
        The run.

    Raises
    ------
    ValueError
        If the run file counts something in updates that `schedule` does not have.
    """
    trained = ways_of(what.processes)[way]
    run_file = what.hogwild_file if trained.entry == "train_hogwild.py" else what.run_file
    given = {
        **what.options,
        **what.budgets[budget],
        **trained.options,
        **what.way_options.get(way, {}),
        **{key: value for key, value in what.variants[variant].items() if key != "budgets"},
        **({} if rate is None else {what.rate_key: rate}),
    }
    options = {
        "seed": seed,
        "output_folder": str(folder),
        "noprogressbar": True,
        **scaled(what, trained, run_file, has_data_folder="data_folder" in given),
        **given,
    }
    return Job(
        variant, budget, way, seed, rate, folder, [*trained.command, run_file, *words(options)]
    )


def words(options: Mapping[str, Any]) -> list[str]:
    """Return options as words of a command line; an option that is a run flag stands alone."""
    found = []
    for key, value in options.items():
        found.append(f"--{key}")
        if key != "noprogressbar":
            found.append(value if isinstance(value, str) else _yaml(value))
    return found


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)
    return json.dumps(value)


def jobs_of(what: Comparison, folder: Path, rates: Mapping[str, float | None]) -> Iterator[Job]:
    """Yield all runs; the ways take turns, and each seed begins with another one.

    Arguments
    ---------
    what : Comparison
        What to compare.
    folder : Path
        Of the comparison.
    rates : Mapping[str, float | None]
        Way -> its learning rate.

    Yields
    ------
    Job
        One run.
    """
    for place, seed in enumerate(what.seeds):
        turn = place % len(what.ways)
        for variant in what.variants:
            for budget in what.budgets_of(variant):
                for way in [*what.ways[turn:], *what.ways[:turn]]:
                    where = folder / variant / budget / way / f"seed_{seed}"
                    yield make_job(
                        what,
                        folder=where,
                        way=way,
                        variant=variant,
                        budget=budget,
                        seed=seed,
                        rate=rates[way],
                    )


def tuning_jobs(what: Comparison, folder: Path) -> Iterator[Job]:
    """Yield the runs that choose each way's learning rate: first variant, first budget."""
    variant = next(iter(what.variants))
    budget = what.budgets_of(variant)[0]
    for rate in what.rates if len(what.rates) > 1 else ():
        for way in what.ways:
            yield make_job(
                what,
                folder=folder / "tuning" / way / f"{what.rate_key}_{rate:g}",
                way=way,
                variant=variant,
                budget=budget,
                seed=what.tuning_seed,
                rate=rate,
            )


def run(job: Job) -> None:
    """Run a job to its end, unless it has ended before; one that was killed goes on.

    What it says goes to ``out.txt`` beside its output folder. A run that diverges is a result: it
    is not tried again unless its ``diverged.json`` is deleted.

    Arguments
    ---------
    job : Job
        The run.

    Raises
    ------
    ValueError
        If the folder holds a run of another command, or another process runs it.
    RuntimeError
        If it ends with an error.
    RunStopped
        If it was asked to stop: it goes on when the same command is given again.
    """
    with locked(ROOT / job.folder):
        _run(job, ROOT / job.folder)


def _run(job: Job, folder: Path) -> None:
    if job.state == "other":
        raise ValueError(
            f"{job.folder}: holds the run of another command:\n"
            f"{job.made_by or f'(no {NOTE} tells which)'}\n"
            f"expected\n{job.told}\ngive another output_folder, or move this one away."
        )
    if job.state in ENDED:
        return
    (folder / NOTE).write_text(job.told, encoding="utf-8")
    said = folder / "out.txt"
    code = call(job.command, cwd=ROOT, said=said, environment=_environment())
    if job.is_diverged:
        sys.stderr.write(f"{job.title}: diverged, see {folder / divergence.FILE}\n")
    elif code == EXIT_CODE or (code != 0 and StopFile.from_environment().is_there):
        # torchrun ends with 1 whatever the code of its processes.
        sys.stderr.write(
            f"{job.title}: was asked to stop and has saved a checkpoint; give the same command "
            "again: this run goes on, finished ones stay.\n"
        )
        raise RunStopped
    elif code != 0:
        last = "".join(said.read_text(encoding="utf-8").splitlines(keepends=True)[-20:])
        raise RuntimeError(
            f"{job.title}: ended with code {code}; expected 0; see {said}; the last "
            f"lines:\n{last}\nWhen it is mended, give the same command again: finished runs stay."
        )


def _environment() -> dict[str, str]:
    # torchrun sets it to 1 with a warning where it is not set; all ways then agree.
    return {"OMP_NUM_THREADS": "1", **os.environ}
