"""Two vocabularies, tags, and what they do to the loss."""

import pickle

import pytest
import torch

from data_prepare.mixing import MixedLoader
from recipes.common import tokenizer_training
from recipes.MuSTC.ST.conformer.losses import translation_loss
from recipes.MuSTC.ST.conformer.tokens import PairEncoder, TokenizerPair, train_pair
from tests.unit.data_prepare.corpora import write_split

TEXTS = [
    {"id": f"u{n}", "text": f"Li domor {n} vid.", "notes": {"source": f"the house {n} sees"}}
    for n in range(40)
]
SIZES = {"source_size": 30, "target_size": 32}


class Index:
    """Stands for an index of a split."""

    checksum, num_utterances = "c", len(TEXTS)

    def texts(self):
        return iter(TEXTS)

    @classmethod
    def load_texts(cls, folder):
        return cls()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Tokenizers of transcripts and translations, with the tags de and fr."""
    with monkeypatch.context() as patch:
        patch.setattr(tokenizer_training, "ShardIndex", Index)
        train_pair(["split"], tmp_path / "pair", tags=["de", "fr"], model_type="bpe", **SIZES)
    return tmp_path / "pair"


def example(**changes):
    return {
        "id": "u1",
        "text": "Li domor vid.",
        "language": "fr",
        "notes": {"source": "the house"},
    } | changes


def test_pair_has_two_vocabularies_and_a_token_for_each_tag(folder):
    pair = TokenizerPair(folder, tag="language", tags=["de", "fr"], **SIZES)
    assert pair.target.pieces()[4:6] == ["<lang:de>", "<lang:fr>"]
    assert "<lang:de>" not in pair.source.pieces()
    assert pair.source.decode([pair.source.encode("the house 3 sees")]) == ["the house 3 sees"]
    assert pair.decode([[5, *pair.target.encode("Li domor vid."), 3]]) == ["Li domor vid."]


def test_encoder_without_tag_begins_with_the_start(folder):
    encoded = PairEncoder(TokenizerPair(folder, **SIZES))(example())
    assert encoded["prefix"].tolist() == [2]
    assert encoded["tokens_bos"][0] == 2
    assert encoded["tokens_eos"][-1] == 3
    assert torch.equal(encoded["tokens_bos"][1:], encoded["tokens_eos"][:-1])
    assert len(encoded["source_tokens"])


@pytest.mark.parametrize(("form", "prefix"), [("start", [5]), ("prefix", [2, 5])])
def test_tag_is_the_forced_first_token(folder, form, prefix):
    options = {"tag": "language", "tags": ["de", "fr"], "tag_form": form}
    encoded = PairEncoder(TokenizerPair(folder, **options, **SIZES))(example())
    assert encoded["prefix"].tolist() == prefix
    assert encoded["tokens_bos"].tolist()[: len(prefix)] == prefix
    words = TokenizerPair(folder, **SIZES).target.encode("Li domor vid.")
    assert encoded["tokens_eos"].tolist() == [*prefix[1:], *words, 3]


def test_tag_may_come_from_a_note(folder):
    pair = TokenizerPair(folder, tag="origin", tags=["de", "fr"], **SIZES)
    assert pair.prefix_of(example(notes={"source": "x", "origin": "de"})) == [4]


def test_unknown_tag_is_an_error_that_names_it(folder):
    pair = TokenizerPair(folder, tag="language", tags=["de", "fr"], **SIZES)
    with pytest.raises(ValueError, match=r"u1 has the tag 'it' \(language\).*\['de', 'fr'\]"):
        pair.prefix_of(example(language="it"))


def test_absent_source_is_an_error_that_names_the_notes(folder):
    with pytest.raises(ValueError, match=r"u1 has None as 'source'.*\['origin'\]"):
        PairEncoder(TokenizerPair(folder, **SIZES))(example(notes={"origin": "mt"}))


def test_utterance_that_stands_for_an_unread_batch_needs_no_tag(folder):
    pair = TokenizerPair(folder, tag="language", tags=["de", "fr"], **SIZES)
    encoded = PairEncoder(pair)({"id": "", "text": "", "language": "", "notes": {}})
    assert encoded["prefix"].tolist() == encoded["tokens_bos"].tolist() == [2]
    assert not len(encoded["source_tokens"])


def test_two_forms_of_the_tag_differ_by_the_leading_place_alone():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(1, 4, 9, generator=generator)  # of [start, tag, w1, w2]
    with_prefix = translation_loss(
        scores, torch.tensor([[5, 7, 8, 3]]), torch.tensor([4]), label_smoothing=0.1, num_ignored=1
    )
    as_start = translation_loss(
        scores[:, 1:], torch.tensor([[7, 8, 3]]), torch.tensor([3]), label_smoothing=0.1
    )
    assert with_prefix.item() == pytest.approx(as_start.item(), rel=1e-6)


def test_mixture_of_origins_gives_each_set_its_tag(folder, tmp_path):
    pair = TokenizerPair(folder, tag="origin", tags=["de", "fr"], tag_form="prefix", **SIZES)
    sets = {
        origin: write_split(
            tmp_path / origin, [[0.5, 0.6]], notes={"source": "the house", "origin": origin}
        )
        for origin in ("de", "fr")
    }
    loader = MixedLoader(
        sets,
        temperature=2.0,
        max_batch_s=2.0,
        shuffle=True,
        keep_batches=True,
        transforms=PairEncoder(pair),
    )
    found = {}
    for batch in loader:
        (origin,) = set(batch.corpus)
        found.setdefault(origin, set()).update(map(tuple, batch.prefix.data.tolist()))
    assert found == {"de": {(2, 4)}, "fr": {(2, 5)}}


def test_pair_pickles_and_is_found_again(folder, monkeypatch):
    monkeypatch.setattr(tokenizer_training, "ShardIndex", Index)
    pair = pickle.loads(pickle.dumps(TokenizerPair(folder, **SIZES)))
    assert len(pair.source) == 30
    assert train_pair(["split"], folder, tags=["de", "fr"], model_type="bpe", **SIZES) == folder
    with pytest.raises(ValueError, match="symbols is"):
        train_pair(["split"], folder, tags=["de"], model_type="bpe", **SIZES)


def test_tag_without_words_is_refused(folder):
    with pytest.raises(ValueError, match="expected the words that the tag may be"):
        TokenizerPair(folder, tag="language", **SIZES)
