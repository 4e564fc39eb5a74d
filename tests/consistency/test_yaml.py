"""Every YAML loads, holds no key that nothing uses, and lacks none that code reads."""

import pydoc
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hyperpyyaml import load_hyperpyyaml
from speechbrain.utils.run_opts import RunOptions

from recipes.common.hparams import load_run
from recipes.common.options import BrainOptions
from recipes.common.yaml_checks import placeholders
from recipes.common.yaml_tree import CommentedMap, tag_of, to_text, walk
from tests.conftest import ROOT
from tests.consistency import run_files as files

RUN_FILES, FRAGMENTS = files.run_files(), files.fragments()
ALL_FILES = [*RUN_FILES, *FRAGMENTS]
OPTIONS = {field.name for field in fields(RunOptions)}
LOADER_KEYS = {"data_folder"}
"""Read by load_run itself, which takes another run file where it is given."""
DDP_KEYS = {
    *("output_folder", "max_batch_s", "lr", "num_epochs", "num_warmup", "num_hold", "num_decay"),
    *("num_workers", "num_threads", "distributed_backend", "find_unused_parameters"),
    *("batches_per_epoch", "grad_accumulation_factor", "group_batches"),
}
"""In these train_ddp.yaml may differ from train.yaml."""
DECEPTIVE = {"yes", "no", "on", "off", "none", "~"}


def each(paths: list[Path]) -> Any:
    return pytest.mark.parametrize("path", paths, ids=files.name_of)


def test_there_are_run_files_and_fragments():
    names = {path.name for path in ALL_FILES}
    assert {"train.yaml", "train_ddp.yaml", "tokenizer.yaml"} <= names
    assert {"bizspeech.yaml", "synthetic.yaml", "crdnn_seq2seq.yaml"} <= names


@each(RUN_FILES)
def test_run_file_loads(path, load):
    keys = {key for key in files.view_of(path).tree if not key.startswith("__")}
    assert keys
    assert keys <= load(path).keys


@each(FRAGMENTS)
def test_fragment_loads(path, tmp_path):
    names = [parts[0] for parts in placeholders(files.tree_of(path))]
    overrides = {name: files.filling(name, tmp_path) for name in names}
    with path.open(encoding="utf-8") as file:
        loaded = load_hyperpyyaml(file, overrides)
    assert loaded


@each(RUN_FILES)
def test_run_file_has_no_dead_key(path):
    assert not dead_keys(path)


def dead_keys(path: Path) -> set[str]:
    """Return the keys of a run file that neither code nor another key (of a base, too) uses.

    A key of the base whose user a file replaces stays: a file cannot take keys away.
    """
    used = {other for tree in files.chain(path) for _, other in files.references(tree)}
    used |= files.keys_wanted(path) | LOADER_KEYS | OPTIONS
    used |= {field.name for field in fields(BrainOptions)}
    return {key for key in files.view_of(path).tree if not key.startswith("__")} - used


@each(RUN_FILES)
def test_run_file_has_every_key_that_code_reads(path):
    wanted = files.keys_wanted(path)
    assert wanted
    assert not wanted - set(files.view_of(path).tree)


def test_every_corpus_has_the_keys_that_code_reads():
    code = [ROOT / name for name in ("train.py", "tokenizer_train.py", "recipes/common/job.py")]
    wanted = {"make", "prepare"}.union(*(files.corpus_keys_read(path) for path in code))
    assert {"shards_folder", "train_split", "test_splits"} <= wanted
    corpora = [path for path in FRAGMENTS if path.parent.name == "corpus"]
    wanted -= {"data_folder"}  # asked for in the corpora that are only tested on
    for path in corpora:
        keys = set(files.tree_of(path))
        assert wanted <= keys, path.name
        assert keys <= wanted | used_inside(path) | {"data_folder"}, path.name


@each([path for path in FRAGMENTS if path.parent.name == "model"])
def test_model_has_no_dead_number(path):
    tree = files.tree_of(path)
    numbers = {key for key, value in tree.items() if not tag_of(value) and key != "modules"}
    assert not numbers - used_inside(path)


def used_inside(path: Path) -> set[str]:
    """Return the keys of a fragment that others of its keys refer to."""
    return {other for _, other in files.references(files.tree_of(path))}


@each(ALL_FILES)
def test_yaml_names_what_can_be_imported_or_read(path):
    for place, node in walk(files.tree_of(path)):
        kind, colon, target = tag_of(node).partition(":")
        if kind == "!include":
            assert (path.parent / target).is_file(), place
        elif colon:
            assert kind in ("!new", "!name", "!apply", "!module"), place
            assert pydoc.locate(target) is not None, f"{place}: {target}"


@each(ALL_FILES)
def test_yaml_has_no_word_that_only_looks_like_a_boolean_or_null(path):
    text = path.read_text(encoding="utf-8")
    words = [(place, node) for place, node in walk(files.tree_of(path)) if isinstance(node, str)]
    assert not [(place, word) for place, word in words if word.lower() in DECEPTIVE]
    assert not re.search(r":\s+~\s*(#|$)", text, re.MULTILINE)


@each(RUN_FILES)
def test_run_file_key_abbreviates_no_option(path):
    for key in files.view_of(path).tree:
        assert key in OPTIONS or not [name for name in OPTIONS if name.startswith(key)], key


@each([path for path in RUN_FILES if path.name == "train_ddp.yaml"])
def test_train_ddp_equals_train_but_for_listed_keys(path, tmp_path):
    alone, ddp = (files.view_of(p).tree for p in (path.with_name("train.yaml"), path))
    assert alone.keys() == ddp.keys()
    differing = {key for key in ddp if shown(alone[key]) != shown(ddp[key])}
    assert differing <= DDP_KEYS
    options = ["--output_folder", str(tmp_path), *files.fillings(path, tmp_path)]
    changed = [f"--{key}={ddp[key]}" for key in differing - {"output_folder"}]
    one = load_run([str(path.with_name("train.yaml")), *options, *changed])
    other = load_run([str(path), *options])
    assert one.resolved_text.splitlines()[1:] == other.resolved_text.splitlines()[1:]


def shown(node: Any) -> str:
    return to_text(CommentedMap({"key": node}))


def test_code_does_not_ask_whether_a_key_is_there():
    for path in (ROOT / "recipes").rglob("*.py"):
        found = re.findall(r"(?:has|get)attr\(\w*\.?hparams\b.*", path.read_text(encoding="utf-8"))
        assert not found, path


def test_a_dead_key_is_found(tmp_path):
    path = tmp_path / "run.yaml"
    base = ROOT / "hparams" / "train.yaml"
    path.write_text(
        f"__base__: {base}\nnum_epochs: 3\nnum_epoch: 3\nhelper: !ref <helped>\nhelped: 1\n"
    )
    assert dead_keys(path) == {"num_epoch", "helper"}
