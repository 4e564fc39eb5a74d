import json

import matplotlib.image
import pytest

from data_prepare.bizspeech import prepare_bizspeech
from data_prepare.index import ShardIndex
from data_prepare.summary import describe
from tests.unit.data_prepare.raw_corpora import write_bizspeech


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("summary")
    raw = write_bizspeech(folder / "raw", 6)
    (raw / "e1/recording.wav").unlink()
    return prepare_bizspeech(raw, folder / "out", train_share=0.6, valid_share=0.2, progress=False)


def test_summary_figures_are_those_of_the_indexes(corpus):
    summary = json.loads((corpus.folder / "summary.json").read_text())
    for split, folder in corpus.splits.items():
        index = ShardIndex.load(folder)
        figures = summary["splits"][split]
        assert figures["num_utterances"] == index.num_utterances
        assert figures["hours"] == pytest.approx(index.num_samples / 16000 / 3600, abs=1e-6)
        parts = figures["by_category"].values()
        assert sum(part["num_utterances"] for part in parts) == index.num_utterances
        assert figures["num_speakers"] == 2 * figures["num_groups"]
        assert figures["duration_s"]["min"] == figures["duration_s"]["max"] == 1.5
    assert summary["rejected"] == {"missing_recording": 6}
    assert summary["rejected_share"] == pytest.approx(6 / 36, abs=1e-6)


def test_summary_plot_is_a_picture(corpus):
    picture = matplotlib.image.imread(corpus.folder / "summary.png")
    assert picture.shape == (500, 1500, 4)
    assert picture.std() > 0.01


def test_describe_tells_splits_and_reasons(corpus):
    text = describe(json.loads((corpus.folder / "summary.json").read_text()))
    assert "train: 18 utterances, 0.007 h, 6 speakers" in text
    assert "native/q-and-a: " in text
    assert "rejected: 6 (missing_recording 6)" in text
    assert "left out by choice: 0 (nothing)" in text
