"""Packing, transforms, and the PaddedBatch that comes out."""

import io
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from speechbrain.dataio.batch import PaddedBatch

from data_prepare.batch import BatchReader, BatchRequest
from data_prepare.index import ShardIndex
from data_prepare.reading import ShardReader
from data_prepare.shards import decode_pair
from tests.unit.data_prepare.corpora import audio, write_split

SECONDS = [[0.3, 0.1, 0.2], [0.4]]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> ShardIndex:
    return ShardIndex.load(write_split(tmp_path_factory.mktemp("corpus") / "train", SECONDS))


def fetch(index: ShardIndex, numbers: list[int], *transforms: Any, **request: Any) -> Any:
    reader = BatchReader(ShardReader(index), transforms=transforms)
    return reader[BatchRequest(index.utterances[numbers], **request)].unpack()


def count_up(example: dict[str, Any]) -> dict[str, Any]:
    number = int(example["id"].removeprefix("utt-"))
    return {**example, "tokens": torch.arange(number + 1), "number": number}


def test_batch_equals_speechbrain_padded_batch(index):
    batch = fetch(index, [1, 3, 0], count_up)
    lengths = [1600, 6400, 4800]
    examples = [
        {
            "wavs": torch.from_numpy(audio(number, n)).float() / 32768,
            "id": f"utt-{number}",
            "text": f"text {number}",
            "tokens": torch.arange(number + 1),
            "number": number,
        }
        for number, n in zip([1, 3, 0], lengths, strict=True)
    ]
    expected = PaddedBatch(examples)
    assert isinstance(batch, PaddedBatch)
    for name in ("wavs", "tokens"):
        torch.testing.assert_close(batch[name].data, expected[name].data, rtol=0, atol=0)
        torch.testing.assert_close(batch[name].lengths, expected[name].lengths, rtol=0, atol=0)
        assert batch[name].data.dtype == expected[name].data.dtype
    assert batch.id == expected.id
    assert batch.text == expected.text
    assert torch.equal(batch.number, expected.number)
    assert batch.speaker == ["spk-1", "spk-0", "spk-0"]
    assert batch.category == ["noisy", "noisy", "clean"]
    assert batch.batchsize == len(batch) == 3


def test_batch_notes_are_dicts_empty_where_there_are_none(index, tmp_path):
    assert fetch(index, [0, 1]).notes == [{}, {}]
    folder = write_split(tmp_path / "train", SECONDS, notes={"ends_s": [0.05]})
    batch = fetch(ShardIndex.load(folder), [2, 0]).to("cpu")
    assert batch.notes == [{"ends_s": [0.05]}, {"ends_s": [0.05]}]


def test_batch_attributes_survive_to(index):
    batch = fetch(index, [0, 1], is_padding=False, ends_epoch=True).to("cpu")
    assert batch.ends_epoch
    assert not batch.is_padding
    assert batch.seconds == pytest.approx(0.4)


def test_batch_repeat_for_padding_has_no_seconds(index):
    batch = fetch(index, [0], is_padding=True)
    assert batch.is_padding
    assert batch.seconds == 0.0


def test_batch_audio_equals_float_decoding(index):
    row = index.utterances[0]
    pair = index.shard_path(0).read_bytes()[: int(row["num_bytes"])]
    expected, _ = soundfile.read(io.BytesIO(decode_pair(pair)[1]), dtype="float32")
    np.testing.assert_array_equal(fetch(index, [0]).wavs.data[0].numpy(), expected)


def test_batch_empty_tokens_padded_to_nothing(index):
    batch = fetch(index, [0, 1], lambda e: {**e, "tokens": torch.zeros(0, dtype=torch.long)})
    assert batch.tokens.data.shape == (2, 0)
    assert batch.tokens.lengths.tolist() == [0.0, 0.0]


def test_batch_matrix_and_array_values_padded(index):
    def add(example):
        frames = int(example["id"][-1]) + 1
        return {**example, "feats": np.ones((frames, 2), np.float32), "eq": torch.ones(frames)}

    batch = fetch(index, [0, 2], add)
    assert batch.feats.data.shape == (2, 3, 2)
    assert batch.feats.lengths.tolist() == pytest.approx([1 / 3, 1.0])
    assert batch.eq.data.sum() == 4


def test_batch_nothing_readable_second_of_silence_as_padding(tmp_path):
    split = write_split(tmp_path / "train", [[0.3]], rate_hz=8000)
    batch = fetch(ShardIndex.load(split), [0])
    assert batch.is_padding
    assert batch.wavs.data.shape == (1, 16000)
    assert not batch.wavs.data.any()
    assert len(batch.faults) == 1


def test_batch_transform_returns_no_dict_error_names_utterance(index):
    with pytest.raises(TypeError, match="returned NoneType for utterance utt-1"):
        fetch(index, [1], lambda example: None)


def test_batch_transform_adds_unequal_names_error(index):
    def odd(example):
        return example if example["id"] == "utt-0" else {**example, "more": 1}

    with pytest.raises(ValueError, match="utterance utt-1 has .*'more'"):
        fetch(index, [0, 1], odd)
