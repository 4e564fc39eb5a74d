"""Tokenizer: training, reuse, refusal, encoding; CTC feasibility."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from data_prepare.batch import BatchReader, BatchRequest
from data_prepare.index import ShardIndex
from data_prepare.reading import ShardReader
from recipes.common.tokens import (
    TokenEncoder,
    Tokenizer,
    count_ctc_labels,
    ctc_feasible,
    train_tokenizer,
)
from tests.unit.data_prepare.corpora import write_split

TEXTS = [
    "Thank you, operator; good morning.",
    "Revenue grew 5% in the third quarter,  to $1.2 billion.",
    "We're pleased -- very pleased -- with “adjusted” EBITDA½.",
    "",
]


def make_split(folder: Path, texts: list[str] = TEXTS) -> Path:
    return write_split(folder / "train", [[0.1] * len(texts)], texts=texts)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_split(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def tokenizer(split: Path, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    return Tokenizer(train_tokenizer([split], folder, vocab_size=60), vocab_size=60)


@pytest.mark.parametrize(("model_type", "vocab_size"), [("bpe", 60), ("unigram", 50), ("char", 46)])
def test_train_special_tokens_distinct_and_first(split, tmp_path, model_type, vocab_size):
    train_tokenizer([split], tmp_path, vocab_size=vocab_size, model_type=model_type)
    tokenizer = Tokenizer(tmp_path)
    assert tokenizer.pieces()[:4] == ["<pad>", "<unk>", "<s>", "</s>"]
    assert len(tokenizer) == vocab_size
    assert (tokenizer.blank_index, tokenizer.bos_index, tokenizer.eos_index) == (0, 2, 3)


def test_train_twice_byte_identical(split, tmp_path):
    files = [
        train_tokenizer([split], tmp_path / name, vocab_size=50, model_type="unigram")
        for name in "ab"
    ]
    for name in ("tokenizer.model", "tokenizer.json"):
        assert (files[0] / name).read_bytes() == (files[1] / name).read_bytes()


@pytest.mark.parametrize("text", TEXTS)
def test_tokenizer_decode_gives_text_back(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode([[2, *ids, 3, 0]]) == [" ".join(text.split())]


def test_tokenizer_decode_takes_tensors_and_empty_lists(tokenizer):
    ids = torch.tensor(tokenizer.encode("good morning"))
    assert tokenizer.decode([ids, []]) == ["good morning", ""]
    assert tokenizer.decode([]) == []


def test_tokenizer_upper_option_upper_texts(split, tmp_path):
    train_tokenizer([split], tmp_path, vocab_size=50, text="upper")
    tokenizer = Tokenizer(tmp_path)
    assert tokenizer.decode([tokenizer.encode("good  Morning")]) == ["GOOD MORNING"]


def test_train_again_reused_without_training(split, tokenizer, monkeypatch):
    monkeypatch.setattr("recipes.common.tokenizer_training._fit", None)
    train_tokenizer([split], tokenizer.folder, vocab_size=60)


def test_train_again_same_texts_in_other_shards_reused(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr("recipes.common.tokenizer_training._fit", None)
    other = write_split(tmp_path / "train", [[0.2], [0.1] * 3], texts=TEXTS)
    train_tokenizer([other], tokenizer.folder, vocab_size=60)


def test_train_with_a_shard_gone_warns_and_is_the_same(split, tokenizer, tmp_path, caplog):
    other = shutil.copytree(split, tmp_path / "train")
    (other / "shard-000000.tar").unlink()
    train_tokenizer([other], tokenizer.folder, vocab_size=60)  # as a resumed run calls it
    assert "shard-000000.tar: missing" in caplog.text
    anew = train_tokenizer([other], tmp_path / "tokenizer", vocab_size=60)
    for name in ("tokenizer.model", "tokenizer.json"):
        assert (anew / name).read_bytes() == (tokenizer.folder / name).read_bytes()


def test_train_again_other_options_error_names_them(split, tokenizer):
    with pytest.raises(ValueError, match="text is 'upper', was 'raw'; vocab_size is 50, was 60"):
        train_tokenizer([split], tokenizer.folder, vocab_size=50, text="upper")


def test_train_again_other_texts_error_unless_overwrite(split, tmp_path):
    folder = train_tokenizer([split], tmp_path / "tokenizer", vocab_size=50)
    other = make_split(tmp_path, [*TEXTS, "More text."])
    with pytest.raises(ValueError, match=r"the texts differ \(4 with SHA-256 \w+, were 3 with"):
        train_tokenizer([other], folder, vocab_size=50)
    train_tokenizer([other], folder, vocab_size=50, overwrite=True)
    assert json.loads((folder / "tokenizer.json").read_text())["text"]["num_texts"] == 4


@pytest.mark.parametrize(
    ("model_type", "vocab_size", "bound"),
    [
        ("bpe", 5000, r"at most \d+;"),
        ("unigram", 5000, r"at most \d+;"),
        ("char", 5000, "at most 48;"),
        ("bpe", 10, r"at least 48 \(its characters\)"),
    ],
)
def test_train_impossible_size_error_says_bound(split, tmp_path, model_type, vocab_size, bound):
    with pytest.raises(ValueError, match=f"vocab_size {vocab_size} is impossible .*{bound}"):
        train_tokenizer([split], tmp_path, vocab_size=vocab_size, model_type=model_type)
    assert not list(tmp_path.iterdir())


def test_train_bad_options_all_named(split, tmp_path):
    with pytest.raises(ValueError) as caught:
        train_tokenizer([split], tmp_path, vocab_size=3, model_type="word", character_coverage=2)
    for name in ("vocab_size", "model_type", "character_coverage"):
        assert name in str(caught.value)


def test_train_max_texts_thins_evenly(split, tmp_path):
    train_tokenizer([split], tmp_path, vocab_size=44, max_texts=2)
    info = json.loads((tmp_path / "tokenizer.json").read_text())
    assert info["text"]["num_texts"] == 1  # the other one is the empty text


def test_tokenizer_absent_error_on_first_use(tmp_path):
    tokenizer = Tokenizer(tmp_path)
    with pytest.raises(FileNotFoundError, match="tokenizer.json is missing"):
        tokenizer.encode("a")


def test_tokenizer_other_size_error(tokenizer):
    with pytest.raises(ValueError, match="has 60 tokens; expected 5000"):
        Tokenizer(tokenizer.folder, vocab_size=5000).encode("a")


def test_tokenizer_damaged_model_error(split, tmp_path):
    train_tokenizer([split], tmp_path, vocab_size=50)
    (tmp_path / "tokenizer.model").write_bytes(b"cut")
    with pytest.raises(ValueError, match="not the file that tokenizer.json describes"):
        len(Tokenizer(tmp_path))


@pytest.mark.parametrize("used", [False, True])
def test_tokenizer_pickles_before_and_after_use(tokenizer, used):
    if used:
        tokenizer.encode("a")
    copy = pickle.loads(pickle.dumps(TokenEncoder(tokenizer)))
    example = copy({"text": "good morning"})
    assert example["tokens"].tolist() == tokenizer.encode("good morning")


def test_encoder_in_batches_pads_with_blank(split, tokenizer):
    index = ShardIndex.load(split)
    reader = BatchReader(ShardReader(index), transforms=[TokenEncoder(tokenizer)])
    batch = reader[BatchRequest(index.utterances[[0, 1]])].unpack()
    ids = [tokenizer.encode(text) for text in batch.text]
    assert batch.tokens_bos.data[0, : len(ids[0]) + 1].tolist() == [2, *ids[0]]
    assert batch.tokens_eos.data[0, : len(ids[0]) + 1].tolist() == [*ids[0], 3]
    assert batch.tokens.data.shape == (2, max(map(len, ids)))
    assert batch.tokens.data.dtype == torch.int64


def test_ctc_labels_of_empty_texts_are_none():
    tokens, num_tokens = torch.zeros(2, 0, dtype=torch.int64), torch.tensor([0, 0])
    assert count_ctc_labels(tokens, num_tokens).tolist() == [0, 0]
    assert count_ctc_labels(torch.tensor([[5]]), torch.tensor([1])).tolist() == [1]
    logp = torch.randn(3, 2, 4).log_softmax(-1)
    loss = F.ctc_loss(logp, tokens, torch.tensor([3, 2]), num_tokens, reduction="none")
    blanks = torch.stack([-logp[:, 0, 0].sum(), -logp[:2, 1, 0].sum()])
    assert torch.allclose(loss, blanks)


def test_ctc_feasible_agrees_with_ctc_loss():
    torch.manual_seed(0)
    tokens = torch.randint(1, 3, (64, 6))
    num_tokens = torch.randint(1, 7, (64,))
    num_frames = torch.randint(1, 11, (64,))
    logp = torch.randn(10, 64, 3).log_softmax(-1)
    loss = F.ctc_loss(logp, tokens, num_frames, num_tokens, reduction="none")
    feasible = ctc_feasible(count_ctc_labels(tokens, num_tokens), num_frames)
    assert torch.equal(feasible, loss.isfinite())
    assert 0 < int(feasible.sum()) < 64
