import inspect
from pathlib import Path

import pytest

from data_prepare.bizspeech import BizSpeechOptions, prepare_bizspeech
from data_prepare.librispeech import LibriSpeechOptions, prepare_librispeech
from data_prepare.manifest import prepare_manifest
from data_prepare.options import CommonOptions, SplitOptions, make_options
from data_prepare.spgispeech import prepare_spgispeech

PREPARERS = (prepare_bizspeech, prepare_librispeech, prepare_spgispeech, prepare_manifest)


def test_make_options_yaml_forms_are_taken():
    values = {
        "metadata": "a/b.json",
        "hours_wanted": 80,
        "exclude_files": ["x.json"],
        "num_shards": {"train": 3},
        "include_keys": None,
    }
    options = make_options(BizSpeechOptions, values, where="x")
    assert options.metadata == Path("a/b.json")
    assert options.hours_wanted == 80.0
    assert options.exclude_files == (Path("x.json"),)
    assert options.num_shards == {"train": 3}
    assert options.include_keys == ()


def test_make_options_several_faults_are_told_at_once():
    values = {"hours": 80, "num_jobs": "2", "sorting": "up", "progress": "no", "reject_texts": "a"}
    with pytest.raises(ValueError, match="prepare_x:") as caught:
        make_options(CommonOptions, values, where="prepare_x")
    for part in ("no option 'hours'", "num_jobs is '2'", "sorting is 'up'", "progress", "a list"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (CommonOptions, {"min_duration_s": 5, "max_duration_s": 2}, "max_duration_s must be >"),
        (CommonOptions, {"max_duration_s": 4000.0}, "max_duration_s is > 600"),
        (CommonOptions, {"num_jobs": 0}, "num_jobs must be positive"),
        (CommonOptions, {"num_shards": {"train": 0}}, "num_shards must be positive"),
        (CommonOptions, {"max_rejected_share": 2.0}, "max_rejected_share"),
        (CommonOptions, {"reject_texts": [""]}, "empty phrase"),
        (CommonOptions, {"slice": "3/3"}, "slice is '3/3'; expected I/N"),
        (CommonOptions, {"slice": "0/3", "plan_only": True}, "exclude each other"),
        (CommonOptions, {"slice": "0/3", "overwrite": True}, "would delete other slices"),
        (CommonOptions, {"scheduler": ""}, "scheduler is empty"),
        (SplitOptions, {"train_share": 0.9, "valid_share": 0.2}, "at most 1"),
        (SplitOptions, {"train_share": 0.0}, "train_share must be positive"),
        (BizSpeechOptions, {"nonnative_share": 1.5}, "nonnative_share must lie in 0 to 1"),
        (BizSpeechOptions, {"hours_wanted": 0}, "hours_wanted must be positive"),
        (BizSpeechOptions, {"strict_include": False}, "need include_file"),
        (BizSpeechOptions, {"include_file": "a", "strict_include": False}, "needs hours_wanted"),
        (BizSpeechOptions, {"exclude_keys": ["a"]}, "needs exclude_files"),
        (LibriSpeechOptions, {"subsets": ["train"]}, "no subset 'train'"),
        (LibriSpeechOptions, {"merge": {"a": "dev-clean+dev-clean"}}, "takes 'dev-clean' twice"),
    ],
)
def test_make_options_bad_value_is_told(kind, values, message):
    with pytest.raises(ValueError, match=message):
        make_options(kind, values, where="prepare")


def test_split_shares_empty_splits_are_left_out():
    assert SplitOptions().split_shares == pytest.approx(
        {"train": 0.96, "valid": 0.02, "test": 0.02}
    )
    assert SplitOptions(train_share=1.0, valid_share=0.0).split_shares == {"train": 1.0}
    assert list(SplitOptions(train_share=0.9, valid_share=0.1).split_shares) == ["train", "valid"]


@pytest.mark.parametrize("function", PREPARERS)
def test_prepare_signature_shows_all_options(function):
    parameters = inspect.signature(function).parameters
    assert {"seed", "num_jobs", "num_shards", "overwrite", "max_duration_s"} <= parameters.keys()
    assert all(p.default is not p.empty for p in list(parameters.values())[2:])


def test_options_of_the_original_preparer_are_all_there():
    names = inspect.signature(prepare_bizspeech).parameters.keys()
    wanted = {
        "hours_wanted", "nonnative_share", "qna_share", "ceo_only", "strict_include",
        "include_file", "exclude_files", "max_duration_s", "audio_types", "train_share",
        "valid_share", "seed", "sorting", "num_shards", "local_folder", "rate_hz",
    }  # fmt: skip
    assert wanted <= names
