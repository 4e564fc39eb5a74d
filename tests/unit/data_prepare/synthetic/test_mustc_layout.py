"""The synthetic translation corpus: its tree, its times, its splits."""

import numpy as np
import pytest
import soundfile
import yaml

from data_prepare.synthetic.mustc_layout import SPLITS, draw_pairs, split_of
from data_prepare.synthetic_prepare import prepare_synthetic

OPTIONS = {"layouts": ("mustc",), "hours": 1.0, "mustc_hours": 0.01, "progress": False}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Half a minute of talks."""
    return prepare_synthetic(tmp_path_factory.mktemp("mustc"), **OPTIONS)["mustc"]


def test_tree_is_the_official_one(corpus):
    found = {p.relative_to(corpus).as_posix() for p in corpus.rglob("*") if p.is_file()}
    texts = {
        f"en-qaa/data/{split}/txt/{split}.{end}"
        for split in SPLITS
        for end in ("yaml", "en", "qaa")
    }
    wavs = {
        f"en-qaa/data/{s}/wav/talk_{2 * n + k}.wav" for n, s in enumerate(SPLITS) for k in (0, 1)
    }
    assert found == texts | wavs


def test_segments_lie_where_there_is_speech(corpus):
    for split in SPLITS:
        folder = corpus / "en-qaa/data" / split
        items = yaml.safe_load((folder / "txt" / f"{split}.yaml").read_text())
        for end in ("en", "qaa"):
            assert len((folder / "txt" / f"{split}.{end}").read_text().splitlines()) == len(items)
        for item in items:
            samples, rate_hz = soundfile.read(folder / "wav" / item["wav"])
            assert rate_hz == 16000
            start = round(item["offset"] * rate_hz)
            end = start + round(item["duration"] * rate_hz)
            assert end <= len(samples)
            inside = np.abs(samples[start:end]).mean()
            before = np.abs(samples[max(0, start - 1600) : start]).mean()
            assert inside > 3 * before


def test_no_sentence_and_no_speaker_is_in_two_splits(corpus):
    texts, speakers = {}, {}
    for split in SPLITS:
        folder = corpus / "en-qaa/data" / split / "txt"
        texts[split] = set((folder / f"{split}.en").read_text().splitlines())
        items = yaml.safe_load((folder / f"{split}.yaml").read_text())
        speakers[split] = {item["speaker_id"] for item in items}
        assert {split_of(text) for text in texts[split]} == {split}
    for sets in (texts, speakers):
        assert sum(map(len, sets.values())) == len(set().union(*sets.values()))


def test_sentences_are_dealt_by_shares():
    rng = np.random.default_rng(0)
    pairs = [pair for split in SPLITS for pair in draw_pairs(rng, split, num=100)]
    assert len({english for english, _ in pairs}) > 295


def test_corpus_made_again_is_found(corpus):
    again = prepare_synthetic(corpus.parent, **OPTIONS)["mustc"]
    assert again == corpus
    with pytest.raises(ValueError, match=r"mustc_hours was 0.01, now 0.02"):
        prepare_synthetic(corpus.parent, **(OPTIONS | {"mustc_hours": 0.02}))
