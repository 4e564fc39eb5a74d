"""What an experiment folder holds besides results: the YAML, the environment, the code's state."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import speechbrain as sb
from speechbrain.core import DEFAULT_LOG_CONFIG
from speechbrain.utils.distributed import ddp_barrier, if_main_process
from speechbrain.utils.logger import get_environment_description, get_logger, setup_logging

from recipes.common.hparams import Run
from recipes.common.machine import machine
from recipes.common.yaml_tree import CommentedMap, new_yaml, to_text

logger = get_logger(__name__)
ROOT = Path(__file__).resolve().parents[2]
STARTS = "starts.jsonl"


def save_experiment(output_folder: str | Path, run: Run) -> None:
    """Write what is needed to repeat a run; every rank calls it, the main process writes.

    ``hyperparams.yaml`` (resolved), ``command.txt``, ``env.log``, ``git.txt`` (commit and what
    differs from it; only inside a repository), and a line of ``starts.jsonl``: when, of which
    commit and where the run was started or went on. The log goes to ``log.txt`` from here on.

    Arguments
    ---------
    output_folder : str | Path
        Made if absent.
    run : Run
        From ``load_run``.
    """
    folder = Path(output_folder)
    try:
        if if_main_process():
            folder.mkdir(parents=True, exist_ok=True)
            _start_log(folder, run)
            _warn_of_changes(folder, run)
            if not (run.hparams.get("test_only") and (folder / "hyperparams.yaml").is_file()):
                write_atomically(folder / "hyperparams.yaml", run.resolved_text)
            write_atomically(folder / "command.txt", shlex.join([sys.executable, *sys.argv]) + "\n")
            write_atomically(folder / "env.log", get_environment_description())
            state = git_state()
            if state is not None:
                write_atomically(folder / "git.txt", state)
            _note_start(folder)
            logger.info("Experiment folder: %s", folder)
    finally:
        ddp_barrier()


def _note_start(folder: Path) -> None:
    # Now: the code may be changed while it runs.
    started = datetime.now(UTC).isoformat(timespec="seconds")
    entry = {"started": started, "commit": git_commit(), "machine": machine()}
    with (folder / STARTS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def starts_of(output_folder: str | Path) -> list[dict[str, Any]]:
    """Return when, of which commit and where a run was started, and each time went on.

    Arguments
    ---------
    output_folder : str | Path
        After :func:`save_experiment`.

    Returns
    -------
    list of dict
        ``started``, ``commit``, ``machine``; the last is that of this process.
    """
    lines = (Path(output_folder) / STARTS).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _warn_of_changes(folder: Path, run: Run) -> None:
    # What was trained already keeps the former values: a finished run would show its old figures.
    path = folder / "hyperparams.yaml"
    if not path.is_file() or not any((folder / "checkpoints").glob("*/CKPT.yaml")):
        return
    then, now = (new_yaml().load(t) for t in (path.read_text(encoding="utf-8"), run.resolved_text))
    # As text: two objects of a tag are never equal.
    before, after = (
        {str(key): to_text(CommentedMap({key: tree[key]})) for key in tree} for tree in (then, now)
    )
    changed = sorted(key for key in before | after if before.get(key) != after.get(key))
    if changed:
        logger.warning(
            "%s was begun with other values of %s: its checkpoints keep what they were trained "
            "with; give another output_folder to train anew.",
            folder,
            ", ".join(changed),
        )


def _start_log(folder: Path, run: Run) -> None:
    overrides = {"handlers": {"file_handler": {"filename": str(folder / "log.txt")}}}
    setup_logging(run.run_opts.log_config or DEFAULT_LOG_CONFIG, overrides)
    sb.utils.quirks.log_applied_quirks()
    sys.excepthook = _log_exception


def _log_exception(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    logger.error("The run ends with an exception:", exc_info=(kind, error, trace))


def git_state(root: Path = ROOT) -> str | None:
    """Return the commit, and the status and diff against it; None outside a repository."""
    commands = (["rev-parse", "HEAD"], ["status", "--short"], ["diff", "HEAD"])
    outputs = [_git(root, command) for command in commands]
    if None in outputs:
        return None
    shown = zip(commands, outputs, strict=True)
    return "\n".join(f"$ git {' '.join(command)}\n{output}" for command, output in shown)


def git_commit(root: Path = ROOT) -> str | None:
    """Return the commit's hash, with ``+changes`` if tracked files differ; None without git."""
    commit, changes = _git(root, ["rev-parse", "HEAD"]), _git(root, ["diff", "HEAD", "--name-only"])
    if commit is None:
        return None
    return commit.strip() + ("+changes" if changes else "")


def _git(root: Path, arguments: list[str]) -> str | None:
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # git is not installed
        return None
    return done.stdout if done.returncode == 0 else None


def write_atomically(path: Path, text: str) -> None:
    """Write a file under a temporary name, then rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
