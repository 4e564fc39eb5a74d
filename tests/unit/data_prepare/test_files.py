import hashlib

import pytest

from data_prepare.files import atomic_path, canonical_json, file_sha256, remove_temporaries


def test_atomic_path_success_gives_final_name_only(tmp_path):
    with atomic_path(tmp_path / "a") as path:
        path.write_text("whole")
        assert not (tmp_path / "a").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_atomic_path_error_leaves_old_content(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(KeyError), atomic_path(tmp_path / "a") as path:
        path.write_text("half")
        raise KeyError
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_remove_temporaries_rest_of_killed_writer_goes(tmp_path):
    (tmp_path / "shard-000000.tar.tmp-0123").write_text("half")
    (tmp_path / "shard-000000.tar").write_text("whole")
    remove_temporaries(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["shard-000000.tar"]


def test_canonical_json_order_of_names_does_not_matter():
    assert canonical_json({"b": 1, "a": "é"}) == canonical_json({"a": "é", "b": 1})
    assert canonical_json({"a": "é"}) == '{"a":"é"}'.encode()


def test_file_sha256_equals_hashlib(tmp_path):
    data = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(data)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()
