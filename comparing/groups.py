"""The runs of a comparison that stand side by side: one variant and budget, all ways and seeds."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from comparing.jobs import Job, State
from comparing.options import Comparison
from comparing.records import Record, read_record
from comparing.run_files import ROOT

STATES: Mapping[State, str] = {
    "diverged": "diverged",
    "missing": "not finished",
    "other": "made by another command",
}
"""Why a run has no figures -> the words for it."""


@dataclass(frozen=True)
class Group:
    """The runs of one variant and budget.

    Arguments
    ---------
    records : Mapping[str, Mapping[int, Record]]
        Way -> seed -> run that has ended. Every way of the comparison is there.
    absent : Mapping[str, Mapping[int, State]]
        Way -> seed -> why its run has no figures. Every way is there.
    limit_s : float | None
        Budget in seconds; None: the budget is another one.
    """

    records: Mapping[str, Mapping[int, Record]]
    absent: Mapping[str, Mapping[int, State]]
    limit_s: float | None = None

    @property
    def runs(self) -> list[Record]:
        """All that have ended."""
        return [record for own in self.records.values() for record in own.values()]

    @property
    def has_ended(self) -> bool:
        """Whether any has, with results or diverged."""
        return bool(self.runs) or any(self.seeds(way, "diverged") for way in self.absent)

    def seeds(self, way: str, state: State) -> list[int]:
        """Return the seeds of a way whose run is in a state other than "done"."""
        return [seed for seed, own in self.absent[way].items() if own == state]

    def absent_in(self, state: State) -> dict[str, list[int]]:
        """Return way -> seeds, of the ways that have any in a state other than "done"."""
        found = {way: self.seeds(way, state) for way in self.absent}
        return {way: seeds for way, seeds in found.items() if seeds}

    def num_seeds(self, way: str) -> int:
        """Return how many runs a way has, with figures or not."""
        return len(self.records[way]) + len(self.absent[way])

    @property
    def equal_s(self) -> float:
        """Seconds at which all ways are compared.

        Those of the budget, or else those at which the last model of the run that ended first was
        there. The time that a way takes to validate its last model moves neither.
        """
        if self.limit_s is not None:
            return self.limit_s
        return min(run.curve[-1].began_s if run.curve else run.total_s for run in self.runs)

    def on_other_machines(self, way: str, base: str) -> list[int]:
        """Return the seeds that two ways ran on machines that differ: their times are no pair."""
        these, those = self.records[way], self.records[base]
        both = sorted(these.keys() & those.keys())
        return [seed for seed in both if _kinds(these[seed]) != _kinds(those[seed])]

    def best_at_equal_seconds(self, record: Record) -> float | None:
        """Return a run's best figure then: of the run that ended first, that of its last model."""
        # A budget of seconds has ended each run's training: all its models are within it.
        return record.best if self.limit_s is not None else record.best_at(self.equal_s)


def _kinds(record: Record) -> set[str]:
    """Return the kinds of machine that a run was on: what decided its speed."""
    places = [start["machine"] for start in _starts(record)]
    return {
        f"{place['processor']}, {place['cores']} cores, {', '.join(place['gpus']) or 'no GPU'}"
        for place in places
    }


def _starts(record: Record) -> Sequence[Mapping[str, Any]]:
    """Return commit and machine of each start of a run: it may have gone on elsewhere."""
    starts: Sequence[Mapping[str, Any]] = record.run.get("starts", [record.run])
    return starts


def labelled(groups: Sequence[Group], way: str) -> str:
    """Return a way's name, with how many of its runs in some groups have no figures."""
    num = sum(len(found.absent[way]) for found in groups)
    all_ = sum(found.num_seeds(way) for found in groups)
    return f"{way} ({num} of {all_} diverged/missing)" if num else way


Groups = dict[tuple[str, str], Group]
"""(variant, budget) -> its runs."""


def group(what: Comparison, jobs: Sequence[Job]) -> Groups:
    """Return the runs of jobs, in the order of the comparison, with those that have not ended."""
    groups = {}
    for variant in what.variants:
        for budget in what.budgets_of(variant):
            own = [job for job in jobs if (job.variant, job.budget) == (variant, budget)]
            groups[variant, budget] = _group(what, own, budget)
    return groups


def _group(what: Comparison, jobs: Sequence[Job], budget: str) -> Group:
    records: dict[str, dict[int, Record]] = {way: {} for way in what.ways}
    absent: dict[str, dict[int, State]] = {way: {} for way in what.ways}
    for job in sorted(jobs, key=lambda job: job.seed):
        state = job.state
        if state == "done":
            record = read_record(ROOT / job.folder, metric=what.valid_metric)
            records[job.way][job.seed] = record
        else:
            absent[job.way][job.seed] = state
    return Group(records, absent, what.budgets[budget].get("max_seconds"))


# --- what makes runs comparable ------------------------------------------------------------------


def check_equal(groups: Groups) -> None:
    """Refuse to compare runs of other data, models, or hyperparameters.

    Arguments
    ---------
    groups : Groups
        All runs.

    Raises
    ------
    ValueError
        If runs of one group saw other shards, tested on other utterances, or are of other models;
        or if runs of one way differ in more than seed and output folder.
    """
    for (variant, budget), found in groups.items():
        seen: dict[str, list[str]] = {}
        for way, own in found.records.items():
            for seed, record in own.items():
                same = {key: record.run[key] for key in ("index_checksums", "parameters")}
                same["utterances"] = record.run["train_data"].get("num_utterances")
                seen.setdefault(json.dumps(same, sort_keys=True), []).append(f"{way} seed {seed}")
            _check_hyperparameters(f"{variant}, {budget}, {way}", list(own.values()))
        if len(seen) > 1:
            told = "\n".join(f"- {', '.join(names)}: {same}" for same, names in seen.items())
            raise ValueError(
                f"comparison: runs of {variant}, {budget} had other data or models:\n{told}\n"
                "expected the same for all; give them the same options."
            )


def _check_hyperparameters(title: str, records: Sequence[Record]) -> None:
    texts = [(record, _lines(record)) for record in records]
    known = [(record, lines) for record, lines in texts if lines]
    for (first, lines), (other, others) in itertools.pairwise(known):
        found = [f"- {a!r}, {b!r}" for a, b in _differences(lines, others)]
        if found:
            told = "\n".join(found[:5])
            raise ValueError(
                f"comparison: runs of {title} had other hyperparameters, as {first.folder} and "
                f"{other.folder} say in hyperparams.yaml:\n{told}\nexpected a difference in seed "
                "and output_folder only; move what is older away and run it again."
            )


def _lines(record: Record) -> list[str]:
    """Return the resolved YAML without comments, output folder and seed each as one word."""
    path = record.folder / "hyperparams.yaml"
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    folder = re.search(r"^output_folder: (.+)$", text, re.MULTILINE)
    if folder is not None:
        text = text.replace(folder[1].strip(), "OUTPUT")
    seed = re.compile(rf"\b{record.run['seed']}\b")
    lines = [line for line in text.splitlines() if line.strip() and line.strip()[0] != "#"]
    # The seed of a corpus may have the same value in one run: such lines are kept in both forms.
    return [f"{seed.sub('SEED', line)}\n{line}" if "seed" in line else line for line in lines]


def _differences(these: Sequence[str], those: Sequence[str]) -> Iterator[tuple[str, str]]:
    for this, that in itertools.zip_longest(these, those, fillvalue="(no line)"):
        if not set(this.split("\n")) & set(that.split("\n")):
            yield this.split("\n")[-1], that.split("\n")[-1]


def warnings_of(groups: Groups) -> list[str]:
    """Return what a reader must know before the tables: other code or places, runs not there."""
    runs = [run for found in groups.values() for run in found.runs]
    starts = [start for run in runs for start in _starts(run)]
    told = []
    for name, values in (
        ("commits", {str(start["commit"]) for start in starts}),
        ("machines", {machine_text(start["machine"]) for start in starts}),
        ("sets of packages", {packages_text(run.run["packages"]) for run in runs}),
    ):
        if len(values) > 1:
            told.append(f"runs of {len(values)} {name}: {'; '.join(sorted(values))}")
    for (variant, budget), found in groups.items():
        ways_on = _ways_by_kind(found)
        if len(ways_on) > 1:
            each = "; ".join(f"{', '.join(ways)}: {kind}" for kind, ways in ways_on.items())
            told.append(f"times ({variant}, {budget}) are not of one machine: {each}")
        for state, words in STATES.items():
            own = found.absent_in(state)
            names = [f"{way} seed {seed}" for way, seeds in own.items() for seed in seeds]
            if names:
                told.append(f"{words} ({variant}, {budget}): {', '.join(names)}")
    return told


def _ways_by_kind(found: Group) -> dict[str, list[str]]:
    """Return kind of machine -> the ways of which a run was on it."""
    ways: dict[str, list[str]] = {}
    for way, own in found.records.items():
        for kind in sorted(set().union(*map(_kinds, own.values()))):
            ways.setdefault(kind, []).append(way)
    return ways


def machine_text(place: Mapping[str, Any]) -> str:
    """Return the machine of a run.json, for people."""
    gpus = ", ".join(place["gpus"]) or "no GPU"
    return (
        f"{place['processor']}, {place['cores']} cores, {place['memory_gib']} GiB, {gpus}, "
        f"Python {place['python']}"
    )


def packages_text(versions: Mapping[str, str]) -> str:
    """Return the packages of a run.json, for people."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())
