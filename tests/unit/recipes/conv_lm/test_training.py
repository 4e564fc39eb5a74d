"""Text, its loader, and a run of the small recipe whose model a search asks."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import train
import train_hogwild
from recipes.LibriSpeech.LM.conv_lm import loader as loader_module
from recipes.LibriSpeech.LM.conv_lm.loader import TextLoader
from recipes.LibriSpeech.LM.conv_lm.loading import conv_lm
from recipes.LibriSpeech.LM.conv_lm.text import END, UNKNOWN, EncodedText, Vocabulary, encode
from recipes.LibriSpeech.wav2letter.decoding.lexicon_free import LexiconFreeSearch
from recipes.LibriSpeech.wav2letter.decoding.options import BeamOptions
from recipes.LibriSpeech.wav2letter.tokens import TokenSet, letter_tokens
from tests.conftest import ROOT
from tests.unit.data_prepare.corpora import write_split

RUN = """
__base__: {root}/recipes/LibriSpeech/LM/conv_lm/hparams/{base}.yaml
work_folder: {work}
output_folder: {work}/out
corpus:
    shards_folder: {work}/shards
    make: null
    prepare: null
    train_split: train
    valid_split: train
    test_splits: [train]
"""
TEXTS = ["THE CAT SAT", "A CAT SAT ON THE MAT", "THE MAT"] * 8


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conv_lm")
    write_split(folder / "shards" / "train", [[0.1] * len(TEXTS)], texts=TEXTS)
    (folder / "shards" / "summary.json").write_text(json.dumps({"splits": {"train": {}}}))
    letter_tokens().save(folder / "letters.txt")
    return folder


def make_loader(work: Path, **options: object) -> TextLoader:
    given = {"max_words": 40, "batch_examples": 2} | options
    paths = {"tokens_file": work / "letters.txt", "work_folder": work}
    return TextLoader(work / "shards" / "train", **paths, **given)


def words_of(batches: list[object]) -> list[list[int]]:
    return [
        [word for word in row.tolist() if word != 1]
        for batch in batches
        if not batch.is_padding
        for row in batch.targets
    ]


def test_vocabulary_is_filled_up_to_a_multiple_of_8(work):
    vocabulary = Vocabulary(work / "letters.txt")
    assert vocabulary.size() == 40
    assert vocabulary.numbers()["|"] == 4


def test_text_is_encoded_once_with_the_end_of_each_sentence(work, tmp_path):
    options = {"vocabulary": Vocabulary(work / "letters.txt"), "stamp": "x"}
    text = encode(lambda: ["a b", "", "c ?"], tmp_path, **options)
    assert text.words.tolist() == [6, 7, END, 8, UNKNOWN, END]
    again = encode(lambda: pytest.fail("encoded again"), tmp_path, **options)
    assert again.ends.tolist() == [3, 6]
    with pytest.raises(ValueError, match="no sentence"):
        encode(list, tmp_path, **options | {"stamp": "y"})


def test_examples_hold_whole_sentences_and_cut_long_ones():
    ends = np.cumsum([4, 3, 3, 12, 2])
    text = EncodedText(np.arange(24, dtype=np.int32), ends)
    examples = text.examples(8).tolist()
    assert examples == [[0, 7], [7, 10], [10, 18], [18, 24]]


def test_loader_gives_every_word_once_in_another_order_each_epoch(work):
    loader = make_loader(work, shuffle=True)
    first, second = (words_of(list(loader)) for _ in range(2))
    assert sorted(first) == sorted(second)
    assert first != second
    assert sum(map(len, first)) == loader.report()["words"]
    assert words_of(list(make_loader(work, shuffle=True))) == first


def test_loader_goes_on_in_mid_epoch(work, tmp_path):
    loader = make_loader(work, shuffle=True)
    batches = iter(loader)
    used = words_of([next(batches) for _ in range(2)])
    loader._save(tmp_path / "state")
    other = make_loader(work, shuffle=True)
    other._recover(tmp_path / "state", False)
    whole = words_of(list(make_loader(work, shuffle=True)))
    assert used + words_of(list(other)) == whole
    assert (other.epoch, other.batch) == (1, 0)


def test_batches_that_are_fetched_are_those_of_the_epochs(work):
    loader, other = (make_loader(work, shuffle=True, num_workers=0) for _ in range(2))
    epochs = [list(loader), list(loader)]
    for pass_number, batches in enumerate(epochs):
        assert other.num_batches(pass_number) == len(batches) > 2
        fetched = [other.fetch(n, pass_number=pass_number) for n in range(len(batches))]
        for one, theirs in zip(fetched, batches, strict=True):
            assert torch.equal(one.inputs, theirs.inputs)
            assert torch.equal(one.targets, theirs.targets)
            assert one.id == theirs.id
            assert not one.ends_epoch
    assert epochs[0][0].id != epochs[1][0].id
    assert (other.epoch, other.batch) == (0, 0)


def test_state_names_text_and_order(work):
    states = [
        make_loader(work, **how).state_dict()
        for how in ({}, {"shuffle": True}, {"seed": 1}, {"max_words": 30}, {"level": "words"})
    ]
    assert len({json.dumps(state) for state in states}) == 5
    assert make_loader(work).state_dict() == states[0]


def test_ranks_share_the_batches(work, monkeypatch):
    whole = words_of(list(make_loader(work)))
    monkeypatch.setattr(loader_module, "world_size", lambda: 2)
    parts, lengths = [], []
    for rank in range(2):
        monkeypatch.setattr(loader_module, "rank", lambda rank=rank: rank)
        batches = list(make_loader(work, batch_examples=3))
        assert batches[-1].ends_epoch
        lengths.append(len(batches))
        parts += words_of(batches)
    assert lengths[0] == lengths[1]
    assert sorted(parts) == sorted(whole)


def test_wrong_options_and_absent_text_are_told(work):
    with pytest.raises(ValueError, match="max_words 1"):
        make_loader(work, max_words=1)
    with pytest.raises(FileNotFoundError, match="text_file"):
        make_loader(work, text_file=work / "no.txt")


@pytest.fixture(scope="module")
def run(work: Path) -> Path:
    """Output folder of the small recipe."""
    path = work / "run.yaml"
    path.write_text(RUN.format(root=ROOT, work=work, base="small"))
    options = ["--num_epochs", "30", "--batch_examples", "1", "--max_words", "64", "--lr", "0.2"]
    assert train.main([str(path), *options]) == 0
    return work / "out"


def test_small_recipe_learns_and_its_model_helps_a_search(run):
    record = json.loads((run / "run.json").read_text())
    assert record["results"]["train"]["perplexity"] < 3

    tokens = letter_tokens()
    model = conv_lm(tokens, folder=run)
    said = [t for word in ("the", "cat", "sat") for t in (*tokens.spell(word), 0)]
    x = torch.zeros(len(said), 30)
    x[torch.arange(len(said)), torch.tensor(said)] = 2.0
    x[5] = 0.0
    x[5, [tokens.index("a"), tokens.index("u")]] = torch.tensor([2.0, 2.1])
    options = BeamOptions(beam_size=20, lm_weight=1.0)
    found = LexiconFreeSearch(tokens, model, options=options).search(x, torch.zeros(30, 30))
    assert found[0].words == ["the", "cat", "sat"]
    plain = LexiconFreeSearch(tokens).search(x, torch.zeros(30, 30))
    assert plain[0].words == ["the", "cut", "sat"]


def test_vocabulary_of_another_size_than_the_models_is_refused(work, tmp_path, capsys):
    path = tmp_path / "run.yaml"
    path.write_text(RUN.format(root=ROOT, work=work, base="small"))
    words = [str(path), "--num_words", "48", "--output_folder", str(tmp_path / "out")]
    with pytest.raises(SystemExit):
        train.main(words)
    assert "num_words is 48" in capsys.readouterr().err


def test_words_of_a_lexicon_that_the_model_lacks_are_unknown(run):
    tokens = letter_tokens()
    model, whole = (conv_lm(names, folder=run) for names in (["t", "yak", "<unk>"], tokens))
    found, every = (m.scores(np.array([m.start()]))[0] for m in (model, whole))
    assert found[0] == every[tokens.index("t")]
    assert found[1] == found[2]
    assert found[1] not in every
    with pytest.raises(ValueError, match="lacks the tokens"):
        conv_lm(TokenSet(("t", "yak"), replabel=0), folder=run)


@pytest.mark.slow
@pytest.mark.multiproc
def test_two_workers_learn_and_one_is_the_plain_run(work, repo_root, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(RUN.format(root=repo_root, work=work, base="train_hogwild"))
    given = {"batch_examples": 1, "max_words": 64, "lr": 0.2, "hogwild.num_workers": 1}

    def main(program, name, **options):
        words = [w for key, value in {**given, **options}.items() for w in (f"--{key}", value)]
        words += ["--output_folder", tmp_path / name]
        assert program.main([str(path), *map(str, words)]) == 0
        return json.loads((tmp_path / name / "run.json").read_text())

    plain = main(train, "plain", num_epochs=2)
    assert main(train_hogwild, "one", num_epochs=2)["results"] == plain["results"]
    record = main(train_hogwild, "two", num_epochs=15, **{"hogwild.num_workers": 2})
    assert min(record["hogwild"]["updates_by_worker"]) > 0
    assert record["updates"] == sum(record["hogwild"]["updates_by_worker"])
    before, after = (r["results"]["train"]["perplexity"] for r in (plain, record))
    assert after < 6 < before


def test_absent_run_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="output folder"):
        conv_lm(letter_tokens(), folder=tmp_path)
