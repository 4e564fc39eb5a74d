"""The command that trains a tokenizer."""

import json
from pathlib import Path

import pytest

import tokenizer_train
from recipes.common.tokens import Tokenizer
from tests.unit.data_prepare.corpora import write_split

RUN = """
__base__: {root}/hparams/tokenizer.yaml
work_folder: {work}
corpus:
    shards_folder: {work}/shards
    make: null
    prepare: null
    train_split: train
"""


@pytest.fixture
def run_file(tmp_path: Path, repo_root: Path) -> Path:
    """Run file for a small prepared corpus."""
    texts = [f"call {n} is open, thank you all" for n in range(20)]
    write_split(tmp_path / "shards" / "train", [[0.1] * 20], texts=texts)
    summary = json.dumps({"splits": {"train": {}}})
    (tmp_path / "shards" / "summary.json").write_text(summary)
    path = tmp_path / "run.yaml"
    path.write_text(RUN.format(root=repo_root, work=tmp_path))
    return path


def test_tokenizer_train_writes_a_tokenizer_and_finds_it_again(run_file, capsys):
    for _ in range(2):
        assert tokenizer_train.main([str(run_file), "--vocab_size", "40"]) == 0
        assert "tokenizer_bpe_40: 40 tokens: <pad> <unk> <s> </s>" in capsys.readouterr().out
    tokenizer = Tokenizer(run_file.parent / "tokenizer_bpe_40")
    assert tokenizer.decode([tokenizer.encode("thank you")]) == ["thank you"]


def test_tokenizer_train_other_options_refused_unless_overwrite(run_file, capsys):
    command = [str(run_file), "--vocab_size", "40"]
    tokenizer_train.main(command)
    with pytest.raises(SystemExit) as ending:
        tokenizer_train.main([*command, "--text", "upper"])
    assert ending.value.code == 2
    assert "text is 'upper', was 'raw'" in capsys.readouterr().err
    assert tokenizer_train.main([*command, "--text", "upper", "--overwrite", "True"]) == 0
