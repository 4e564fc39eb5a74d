"""YAML files for the tests of command line and loader."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.common.hparams import Run, load_run

MAIN = """\
# A run
seed: 7  # of everything
rate: 0.5
name: run
is_fast: False
limit: null
steps: 10  # null: no limit
shape: (1, 2)
sizes: [1, 2]
data_folder: !PLACEHOLDER  # where the corpus is
corpus: !include:corpus/a.yaml
    folder: !ref <data_folder>
model: !include:model.yaml {}
inner:
    depth: 2
    act: !name:torch.nn.ReLU
path: !ref <data_folder>/<name>
layer: !new:torch.nn.Linear
    in_features: !ref <steps>
    out_features: 3
"""
CORPUS_A = "folder: !PLACEHOLDER\nkind: a\nhours: 2\nplace: !ref <folder>/<kind>\n"
CORPUS_B = "folder: !PLACEHOLDER\nkind: b\nplace: !ref <folder>/<kind>\n"
MODEL = """\
rnn_layers: 4
parts:
    width: 8
net: !new:torch.nn.Linear
    in_features: !ref <parts[width]>
    out_features: !ref <rnn_layers>
"""


def write_yamls(folder: Path) -> Path:
    """Write a run file, two corpora and a model."""
    (folder / "corpus").mkdir()
    (folder / "corpus" / "a.yaml").write_text(CORPUS_A)
    (folder / "corpus" / "b.yaml").write_text(CORPUS_B)
    (folder / "model.yaml").write_text(MODEL)
    (folder / "main.yaml").write_text(MAIN)
    return folder


def run(folder: Path, *argv: str, file: str = "main.yaml") -> Run:
    """Load the run file with its placeholder filled."""
    return load_run([str(folder / file), "--data_folder", "/x", *argv])


def faults(folder: Path, *argv: str, file: str = "main.yaml") -> str:
    """Return what loading complains about."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is checked by callers
        load_run([str(folder / file), *argv])
    return str(caught.value)
