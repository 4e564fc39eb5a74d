"""Run files that build on others, and the file for a real corpus."""

import logging

import pytest

from recipes.common.command_line import RUN_OPTIONS, colliding_options
from recipes.common.hparams import load_run
from recipes.common.yaml_tree import read_source

BASE = """\
seed: 1  # null: any
data_folder: null
__with_data_folder__: real.yaml
part: !include:parts/p.yaml
    width: !ref <seed>
group:
    a: 1
    b: 2
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "parts" / "p.yaml").write_text("width: 3\nhalf: !ref <width> / 2\n")
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "real.yaml").write_text("__base__: base.yaml\ndata_folder: !PLACEHOLDER\nseed: 9\n")
    return tmp_path


def load(path, *argv):
    return load_run([str(path), *argv]).hparams


def test_base_keys_are_replaced_whole_and_new_ones_added(folder):
    (folder / "runs" / "run.yaml").write_text(
        "__base__: ../base.yaml\nseed: 4\ngroup:\n    a: 5\nextra: !ref <part[half]>\n"
    )
    hparams = load(folder / "runs" / "run.yaml")
    assert hparams["part"] == {"width": 4, "half": 2.0}
    assert hparams["group"] == {"a": 5}
    assert hparams["extra"] == 2.0


def test_includes_are_relative_to_the_file_that_names_them(folder):
    (folder / "runs" / "q.yaml").write_text("width: 8\n")
    (folder / "runs" / "run.yaml").write_text("__base__: ../base.yaml\npart: !include:q.yaml\n")
    assert load(folder / "runs" / "run.yaml")["part"] == {"width": 8}


def test_chain_of_bases_and_its_comments(folder):
    (folder / "runs" / "one.yaml").write_text("__base__: ../base.yaml\nseed: 4\n")
    (folder / "runs" / "two.yaml").write_text("__base__: one.yaml\ngroup: null\n")
    source = read_source(folder / "runs" / "two.yaml")
    assert list(source.tree) == ["seed", "data_folder", "part", "group"]
    assert source.comments == {}  # one.yaml's seed replaced the line with the comment
    assert load(folder / "runs" / "two.yaml")["seed"] == 4


def test_cycle_of_bases_is_refused(folder):
    (folder / "one.yaml").write_text("__base__: two.yaml\n")
    (folder / "two.yaml").write_text("__base__: one.yaml\n")
    with pytest.raises(ValueError, match="one.yaml -> two.yaml -> one.yaml"):
        load(folder / "one.yaml")


def test_missing_base_is_told(folder):
    (folder / "one.yaml").write_text("__base__: none.yaml\n")
    with pytest.raises(ValueError, match="none.yaml: cannot be read"):
        load(folder / "one.yaml")


def test_data_folder_on_the_command_line_loads_the_other_file(folder, caplog):
    assert load(folder / "base.yaml")["seed"] == 1
    with caplog.at_level(logging.INFO):
        hparams = load(folder / "base.yaml", "--data_folder", "/corpora/x", "--group.a", "7")
    assert (hparams["seed"], hparams["data_folder"]) == (9, "/corpora/x")
    assert hparams["group"]["a"] == 7
    assert "real.yaml is loaded instead of base.yaml" in caplog.text.replace(f"{folder}/", "")


def test_other_file_is_not_inherited_and_an_unused_data_folder_is_refused(folder):
    (folder / "child.yaml").write_text("__base__: base.yaml\nseed: 2\n")
    assert load(folder / "child.yaml")["seed"] == 2
    with pytest.raises(ValueError, match="--data_folder: child.yaml makes no use of it"):
        load(folder / "child.yaml", "--data_folder", "/x")


def test_included_file_with_base_is_refused(folder):
    (folder / "parts" / "p.yaml").write_text("__base__: q.yaml\nwidth: 3\n")
    (folder / "parts" / "q.yaml").write_text("width: 3\n")
    with pytest.raises(
        ValueError, match="part: p.yaml is included; expected no keys of a run file"
    ):
        load(folder / "base.yaml")


def test_key_that_abbreviates_an_option_is_known():
    assert colliding_options("log") == ["log_config"]
    assert colliding_options("precision") == []
    assert colliding_options("seed") == []
    assert "jit_module_keys" in RUN_OPTIONS
