"""The command line and the YAML of a run.

``python train.py file.yaml --key value --model.key value``; ``--help`` lists the keys.
All faults that can be found before anything is built are told at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

from hyperpyyaml import resolve_references
from ruamel.yaml.error import YAMLError
from speechbrain.utils.distributed import get_rank
from speechbrain.utils.logger import get_logger
from speechbrain.utils.run_opts import RunOptions

from recipes.common.command_line import RUN_OPTIONS, CommandLine, parse
from recipes.common.yaml_build import build
from recipes.common.yaml_checks import placeholders, resolved_faults, source_faults
from recipes.common.yaml_help import help_text, usage_text
from recipes.common.yaml_overrides import apply_overrides, expand, set_key
from recipes.common.yaml_tree import Source, copy_tree, new_yaml, read_source, to_text

logger = get_logger(__name__)


@dataclass(frozen=True)
class Run:
    """One run as asked for on the command line.

    Arguments
    ---------
    hparams : dict
        The YAML's objects.
    run_opts : RunOptions
        SpeechBrain's run options: command line before YAML before default.
    overrides : dict
        What the command line changed in the YAML, by dotted key.
    path : Path
        YAML file that was loaded.
    resolved_text : str
        The YAML with bases, includes, overrides and references filled in; loads by itself.
    """

    hparams: dict[str, Any]
    run_opts: RunOptions
    overrides: dict[str, Any]
    path: Path
    resolved_text: str

    def without_objects(self) -> Run:
        """Return what another process needs to build the same: texts and plain values."""
        return replace(self, hparams={}, overrides={})

    def with_objects(self) -> Run:
        """Build the objects from the resolved text, whatever has become of the files since.

        Returns
        -------
        Run
            With new ``hparams``.

        Raises
        ------
        ValueError
            Names the key whose object could not be built.
        """
        return replace(self, hparams=build(self.resolved_text, where=str(self.path)))


def load_run(argv: Sequence[str]) -> Run:
    """Read the command line, check its YAML, and build what it names.

    Arguments
    ---------
    argv : Sequence[str]
        Arguments without the program's name: a YAML file, ``--key value``, ``--key.inner value``,
        SpeechBrain's run options, ``--help``, ``--dry_run`` (prints the resolved YAML).

    Returns
    -------
    Run
        The run.

    Raises
    ------
    ValueError
        Names all faults of command line and YAML, or the key whose object could not be built.
    SystemExit
        After ``--help`` and ``--dry_run``.
    """
    line = parse(argv)
    if line.path is None:
        if line.wants_help:
            _print_and_exit(usage_text())
        raise ValueError(f"command line: names no YAML file.\n{usage_text()}")
    source = _read(line)
    faults = list(line.faults)
    if line.wants_help:
        _print_and_exit(help_text(expand(source, faults)))
    made = apply_overrides(source, line.overrides.values(), faults)
    for name in line.run_options:
        if name in source.tree:
            source.tree[name] = made[name] = line.run_options[name]
    text = _resolve(source, faults)
    if faults:
        listed = "\n".join(f"- {fault}" for fault in faults)
        raise ValueError(f"{source.path}: {len(faults)} faults:\n{listed}")
    if line.is_dry_run:
        _print_and_exit(text)
    hparams = build(text, where=str(source.path))
    return Run(hparams, _run_opts(line, hparams, source.path), made, source.path, text)


def _read(line: CommandLine) -> Source:
    source = read_source(Path(str(line.path)))
    if "data_folder" not in line.overrides:
        return source
    if source.with_data_folder is None:
        if source.has_base and source.tree.get("data_folder", line) is None:
            line.faults.append(
                f"--data_folder: {source.path.name} makes no use of it, it would train on the "
                "corpus that it names; expected a run file for your corpus, or --corpus FILE.yaml "
                "with --corpus.data_folder."
            )
        return source
    path = source.path.parent / source.with_data_folder
    logger.info("--data_folder is given: %s is loaded instead of %s", path, source.path.name)
    return read_source(path)


def _resolve(source: Source, faults: list[str]) -> str:
    """Return the resolved text; add what is wrong to ``faults``."""
    view = expand(source, faults)
    faults += source_faults(view)
    tree = copy_tree(source.tree)
    for parts in placeholders(view.tree):
        # A stand-in of no type, only to find what else is wrong.
        set_key(tree, parts, new_yaml().load("!name:builtins.object"))
    try:
        text = str(resolve_references(StringIO(to_text(tree))).read())
        faults += resolved_faults(new_yaml().load(text))
    except (ValueError, KeyError, TypeError, YAMLError, OSError) as error:
        faults.append(f"references cannot be resolved: {error}")
        return ""
    return f"# Resolved from {source.path}\n# yamllint disable\n{text}"


def _run_opts(line: CommandLine, hparams: dict[str, Any], path: Path) -> RunOptions:
    values = {name: hparams[name] for name in RUN_OPTIONS if name in hparams}
    values.update(line.run_options)
    # What stands in the YAML already has the command line's value there; naming it again would
    # only make the Brain report each as overridden.
    overridden = set(line.run_options) - set(hparams)
    return RunOptions(**values, param_file=str(path), overridden_args=overridden)


def _print_and_exit(text: str) -> None:
    if (get_rank() or 0) == 0:
        sys.stdout.write(text.rstrip("\n") + "\n")
    raise SystemExit(0)
