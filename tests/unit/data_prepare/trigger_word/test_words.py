"""Words of folders and manifests, divided before anything is mixed."""

import json
from pathlib import Path

import pytest

from data_prepare.trigger_word.words import (
    ManifestRoles,
    Word,
    divide,
    words_of_folder,
    words_of_manifest,
)

SHARES = {"valid": 0.2, "test": 0.2}


def words(num: int = 20, **splits: str) -> list[Word]:
    roles = ("trigger", "negative", "background")
    return [
        Word(f"{role}-{n}", Path(f"{role}{n}.wav"), role, splits.get(f"{role}_{n}", ""))
        for role in roles
        for n in range(num)
    ]


def test_divide_each_recording_has_one_split_by_its_id():
    found = divide(words(), shares=SHARES, seed=3)
    for role in ("trigger", "negative", "background"):
        splits = [word.split for word in found if word.role == role]
        assert [splits.count(split) for split in ("train", "valid", "test")] == [12, 4, 4]
    again = divide(list(reversed(words())), shares=SHARES, seed=3)
    assert {w.id: w.split for w in found} == {w.id: w.split for w in again}
    assert {w.id: w.split for w in divide(words(), shares=SHARES, seed=4)} != {
        w.id: w.split for w in found
    }


def test_divide_given_splits_stay():
    given = words(6, trigger_0="test", trigger_1="test")
    found = {word.id: word.split for word in divide(given, shares=SHARES, seed=0)}
    triggers = [found[f"trigger-{n}"] for n in range(6)]
    assert triggers[:2] == ["test", "test"]
    assert sorted(triggers[2:]) == ["train", "train", "train", "valid"]


def test_divide_tells_all_faults():
    given = [*words(2), words(2)[0]]
    with pytest.raises(ValueError, match=r"no trigger in train.*no background in train.*trigger-0"):
        divide(given, shares=SHARES, seed=0)


def test_folder_gives_roles_and_splits(tmp_path):
    for name in ("activates/a.wav", "test/negatives/b.flac", "backgrounds/c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = words_of_folder(tmp_path)
    assert [(w.id, w.role, w.split) for w in found] == [
        ("activates/a.wav", "trigger", ""),
        ("test/negatives/b.flac", "negative", "test"),
    ]
    with pytest.raises(FileNotFoundError, match="nowhere"):
        words_of_folder(tmp_path / "nowhere")


def roles(**changes) -> ManifestRoles:
    values = {"trigger": {"word": "go"}, "negative": {}, "background": {"word": ""}, "test": {}}
    return ManifestRoles(**values | changes)


RECORDS = [
    {"id": "1", "path": "1.wav", "word": "go", "speaker": "a", "split": "train"},
    {"id": "2", "path": "2.wav", "word": "stop", "speaker": "b", "split": "test"},
    {"id": "3", "path": "3.wav", "word": "", "speaker": None, "split": "dev"},
]


def write(path: Path, records) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_manifest_gives_roles_and_splits(tmp_path):
    path = write(tmp_path / "m.jsonl", RECORDS)
    found = words_of_manifest(path, roles())
    assert [(w.role, w.split) for w in found] == [
        ("trigger", ""),
        ("negative", "test"),
        ("background", "valid"),
    ]
    assert found[0].path == tmp_path / "1.wav"
    held_out = words_of_manifest(path, roles(test={"speaker": "a"}))
    assert [w.split for w in held_out] == ["test", "", "valid"]
    assert len(words_of_manifest(path, roles(negative={"word": "other"}))) == 2


def test_manifest_broken_record_names_its_line(tmp_path):
    path = write(tmp_path / "m.jsonl", [*RECORDS, {"word": "go", "id": "4"}])
    with pytest.raises(ValueError, match=r"line 4: lacks id or path"):
        words_of_manifest(path, roles())
    with pytest.raises(FileNotFoundError, match="no file"):
        words_of_manifest(tmp_path / "none.jsonl", roles())
