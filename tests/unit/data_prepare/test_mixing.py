"""The loader of a mixture: audio, corpora, ranks, workers, checkpoints, faults."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from speechbrain.utils.checkpoints import Checkpointer

from data_prepare.mixing import MixedLoader
from data_prepare.stream import ShardLoader
from tests.unit.data_prepare import corpora as tiny
from tests.unit.data_prepare.corpora import random_shards, write_split

SIZES = {"calls": 30, "books": 12, "notes": 5}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("corpora")
    return {
        name: write_split(folder / name, random_shards(size, num_shards=2, seed=size))
        for name, size in SIZES.items()
    }


def make_loader(folders: dict[str, Path], **options: Any) -> MixedLoader:
    return MixedLoader(folders, **{"max_batch_s": 1.5, "shuffle": True, **options})


def ids(batches: Any) -> list[tuple[str, str]]:
    """Corpus and id of each utterance."""
    return [pair for batch in batches for pair in zip(batch.corpus, batch.id, strict=True)]


def test_mixed_loader_as_the_hours_each_utterance_once_in_new_order(folders):
    loader = make_loader(folders)
    epochs = [ids(loader), ids(loader)]
    for epoch in epochs:
        assert len(epoch) == len(set(epoch)) == sum(SIZES.values())
    assert epochs[0] != epochs[1]
    assert epochs == [ids(again) for again in [make_loader(folders)] for _ in range(2)]


def test_mixed_loader_batches_are_those_of_the_corpus_alone(folders):
    loader = make_loader(folders, temperature=3.0)
    batches = [*loader, *loader]
    for name, folder in folders.items():
        alone = ShardLoader(folder, max_batch_s=1.5, shuffle=True)
        expected = [batch for _ in range(20) for batch in alone]
        mixed = [batch for batch in batches if batch.corpus[0] == name]
        assert {corpus for batch in mixed for corpus in batch.corpus} == {name}
        for batch, other in zip(mixed, expected, strict=False):
            assert batch.id == other.id
            assert torch.equal(batch.wavs.data, other.wavs.data)


def test_mixed_loader_length_and_last_batch_flag(folders):
    loader = make_loader(folders, batches_per_epoch=4)
    assert len(loader) == 4
    assert [batch.ends_epoch for batch in loader] == [False] * 3 + [True]


def test_mixed_loader_pickled_before_use_loads_the_same(folders):
    loader = make_loader(folders)
    assert ids(pickle.loads(pickle.dumps(loader))) == ids(loader)


@pytest.mark.multiproc
def test_mixed_loader_workers_change_nothing(folders):
    expected = make_loader(folders, temperature=2.0)
    loader = make_loader(folders, temperature=2.0, num_workers=2, prefetch_factor=3)
    for _ in range(2):
        for batch, other in zip(loader, expected, strict=True):
            assert (batch.id, batch.corpus) == (other.id, other.corpus)
            assert torch.equal(batch.wavs.data, other.wavs.data)
            assert batch.position == other.position


def test_mixed_loader_4_then_3_then_1_ranks_lose_and_repeat_nothing(folders):
    def make(rank: int, world_size: int) -> MixedLoader:
        ranks = {"rank": rank, "world_size": world_size}
        return make_loader(folders, temperature=2.0, max_batch_s=0.7, **ranks)

    used, saved = [], json.dumps(make(0, 1).state_dict())
    for world_size, num_rounds in ((4, 3), (3, 2), (1, 99)):
        ranks = [make(rank, world_size) for rank in range(world_size)]
        for loader in ranks:
            loader.load_state_dict(json.loads(saved))
        of_ranks = [[b for _, b in zip(range(num_rounds), r, strict=False)] for r in ranks]
        rounds = list(zip(*of_ranks, strict=True))
        assert len(rounds) >= 2
        used += [batch for one_round in rounds for batch in one_round]
        states = {json.dumps(loader.state_dict()) for loader in ranks}
        assert len(states) == 1
        saved = states.pop()
    assert used[-1].ends_epoch
    assert ids(used) == ids(make(0, 1))


def test_mixed_loader_checkpoint_in_mid_epoch_goes_on_there(folders, tmp_path):
    whole = make_loader(folders, temperature=2.0)
    expected = [*ids(whole), *ids(whole)]
    loader = make_loader(folders, temperature=2.0)
    length = len(loader)
    before = ids(batch for _, batch in zip(range(4), loader, strict=False))
    Checkpointer(tmp_path, {"loader": loader}).save_checkpoint(end_of_epoch=False)
    resumed = make_loader(folders, temperature=2.0)
    Checkpointer(tmp_path, {"loader": resumed}).recover_if_possible()
    assert len(resumed) == length
    assert before + ids(resumed) + ids(resumed) == expected


def test_mixed_loader_resume_with_other_mixture_error_names_it(folders):
    state = make_loader(folders, weights={"calls": 2, "books": 1, "notes": 1}).state_dict()
    with pytest.raises(ValueError, match=r"the share of 'calls' is 0.6\d+, was 0.5; .*'books'"):
        make_loader(folders).load_state_dict(state)
    with pytest.raises(ValueError, match="calls: max_batch_s is 2.0, was 1.5; books: seed is 1"):
        options = {"calls": {"max_batch_s": 2.0}, "books": {"seed": 1}}
        make_loader(folders, options=options).load_state_dict(state)
    with pytest.raises(ValueError, match="corpus 'notes' is gone"):
        make_loader({n: f for n, f in folders.items() if n != "notes"}).load_state_dict(state)


def test_mixed_loader_reports_each_corpus(folders):
    weights = {"calls": 1, "books": 2, "notes": 1}
    loader = make_loader(folders, weights=weights)
    used = ids(loader) + ids(loader)
    report = loader.report()
    for name, size in SIZES.items():
        part = report["corpora"][name]
        count = sum(corpus == name for corpus, _ in used)
        assert part["num_utterances"] == size
        assert part["utterances_had"] == count
        assert part["passes"] == pytest.approx(count / size, abs=0.35)
        assert part["share_wanted"] == weights[name] / 4
        assert part["share_had"] == pytest.approx(weights[name] / 4, abs=0.1)
    hours_had = sum(part["hours_had"] for part in report["corpora"].values())
    assert report["hours_had"] == pytest.approx(hours_had)
    assert json.loads(json.dumps(report)) == report


def test_mixed_loader_statistics_of_each_corpus_add_up(folders):
    loader = make_loader(folders)
    list(loader)
    counts = {name: part.statistics.utterances for name, part in loader.parts.items()}
    assert counts == SIZES
    assert loader.statistics.utterances == sum(SIZES.values())
    assert loader.statistics.summary()["wait_s"] > 0


def test_mixed_loader_options_of_one_corpus(folders):
    loader = make_loader(
        folders, options={"calls": {"max_utterance_s": 0.4}, "notes": {"shards": (0, 1)}}
    )
    list(loader)
    report = loader.report()["corpora"]
    assert (
        report["calls"]["left_out"]["too_long"]
        == SIZES["calls"] - report["calls"]["num_utterances"]
        > 0
    )
    assert report["books"]["num_utterances"] == SIZES["books"]
    assert report["notes"]["utterances_had"] == 3


def test_mixed_loader_transforms_know_the_corpus(folders):
    def mark(example):
        return {**example, "mark": f"{example['corpus']}/{example['id']}"}

    for batch in make_loader(folders, transforms=mark):
        assert batch.mark == [f"{c}/{i}" for c, i in zip(batch.corpus, batch.id, strict=True)]


def test_mixed_loader_batch_by_number_is_that_of_the_epoch(folders):
    loader = make_loader(folders, temperature=4.0)
    fetched = [loader.fetch(number, pass_number=1).id for number in range(loader.num_batches(1))]
    list(loader)
    assert [batch.id for batch in loader] == fetched


def test_mixed_loader_faults_are_counted_by_corpus(folders, tmp_path, caplog):
    bad = write_split(tmp_path / "bad", [[0.3] * 10])
    row = ShardLoader(bad, max_batch_s=1.5).index.utterances[2]
    with (bad / "shard-000000.tar").open("r+b") as file:
        file.seek(int(row["offset"]) + 700)
        file.write(bytes(200))
    mixed = {**folders, "bad": bad}
    with pytest.raises(ValueError, match=r"1 unusable .* shard-000000.tar"):
        list(make_loader(mixed))
    loader = make_loader(mixed, options={"bad": {"max_bad_share": 0.1}})
    for _ in range(2):
        assert len([c for c, _ in ids(loader) if c == "bad"]) == 9
        assert loader.parts["bad"].statistics.faults == loader.statistics.faults == 1
    assert "bad: skipped" in caplog.text
    # Once an epoch, whichever corpus its last batch is of.
    assert caplog.text.count("bad: skipped in this epoch: {'") == 2


def test_mixed_loader_rates_differ_error(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(tiny, "RATE_HZ", 8000)
    other = write_split(tmp_path / "other", [[0.3] * 4])
    with pytest.raises(ValueError, match="sampling rates differ: calls 16000 Hz, .* other 8000 Hz"):
        make_loader({**folders, "other": other})


def test_mixed_loader_bad_options_error_names_all(folders):
    with pytest.raises(ValueError) as caught:
        MixedLoader(
            {"calls": folders["calls"]},
            max_utterence_s=3,
            options={"books": {}, "calls": {"num_workers": 1}},
            batches_per_epoch=0,
        )
    for text in (
        "there is no option 'max_utterence_s'",
        "options are for 'books', which is none of calls",
        "options of 'calls': there is no 'num_workers'",
        "corpus 'calls' has no max_batch_s",
        "batches_per_epoch is 0",
    ):
        assert text in str(caught.value)
    with pytest.raises(ValueError, match="there is no corpus"):
        make_loader({})
    with pytest.raises(FileNotFoundError, match=r"index.json is missing") as absent:
        make_loader({"calls": folders["calls"] / "nowhere"})
    assert absent.value.__notes__ == ["It is corpus 'calls' of a mixture."]
