"""Checkpoints: atomic, checked, and falling back to the next good one."""

import errno
import json
import logging

import numpy as np
import pytest
import torch
import yaml
from speechbrain.utils.checkpoints import Checkpointer
from speechbrain.utils.epoch_loop import EpochCounter
from torch import nn

from recipes.common.checkpoint_files import plain_meta, sha256_of
from recipes.common.checkpointer import StampedeCheckpointer


def make(folder, *, size=2, **more):
    net = nn.Sequential(nn.Linear(size, 3), nn.BatchNorm1d(3))
    return net, StampedeCheckpointer(folder, {"net": net, "counter": EpochCounter(9), **more})


def save(checkpointer, net, value, **meta):
    nn.init.constant_(net[0].weight, value)
    return checkpointer.save_checkpoint(meta)


def test_checkpoint_comes_back_and_holds_checksums(tmp_path):
    net, checkpointer = make(tmp_path)
    saved = save(checkpointer, net, 2.0, wer=5.0)
    nn.init.constant_(net[0].weight, 0.0)
    assert checkpointer.recover_if_possible().path == saved.path
    assert net[0].weight.eq(2.0).all()
    table = json.loads((saved.path / "files.json").read_text())["files"]
    assert sorted(table) == ["CKPT.yaml", "counter.ckpt", "net.ckpt"]
    assert all(path.is_file() for path in saved.paramfiles.values())


def test_speechbrain_reads_our_checkpoint_and_we_read_its(tmp_path):
    net, ours = make(tmp_path)
    theirs = Checkpointer(tmp_path, {"net": net})
    save(ours, net, 2.0)
    assert theirs.recover_if_possible() is not None
    theirs.add_recoverable("counter", EpochCounter(9))
    nn.init.constant_(net[0].weight, 3.0)
    theirs.save_checkpoint()
    nn.init.constant_(net[0].weight, 0.0)
    ours.recover_if_possible()
    assert net[0].weight.eq(3.0).all()


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (torch.tensor(2.5), 2.5),
        (torch.tensor([4]), 4),
        ("text", "text"),
        (float("nan"), pytest.approx(float("nan"), nan_ok=True)),
    ],
)
def test_plain_meta_casts_scalars(value, plain):
    cast = plain_meta({"key": value})["key"]
    assert cast == plain
    assert type(cast) in (bool, int, float, str)
    assert yaml.safe_load(yaml.safe_dump({"key": cast})) is not None


def test_plain_meta_names_every_key_it_cannot_cast():
    with pytest.raises(TypeError, match=r"curve is list.*; scores is Tensor.*; when is NoneType"):
        plain_meta({"curve": [1], "wer": 1.0, "scores": torch.ones(2), "when": None})


def test_kill_while_saving_leaves_the_older_checkpoint(tmp_path, monkeypatch):
    net, checkpointer = make(tmp_path)
    save(checkpointer, net, 1.0)
    monkeypatch.setattr(EpochCounter, "_save", lambda *_: None)
    monkeypatch.setattr("recipes.common.checkpoint_store.write_checksums", kill)
    with pytest.raises(KeyboardInterrupt):
        save(checkpointer, net, 2.0)
    assert [p.name.startswith("unfinished-CKPT") for p in sorted(tmp_path.iterdir())] == [
        False,
        True,
    ]
    assert len(checkpointer.list_checkpoints()) == 1
    monkeypatch.undo()
    net, checkpointer = make(tmp_path)
    assert checkpointer.recover_if_possible() is not None
    assert net[0].weight.eq(1.0).all()
    save(checkpointer, net, 3.0)
    assert all(path.name.startswith("CKPT+") for path in tmp_path.iterdir())


def kill(*_):
    raise KeyboardInterrupt


def damage_cut(ckpt):
    path = ckpt.paramfiles["net"]
    path.write_bytes(path.read_bytes()[:-10])


def damage_bit(ckpt):
    path = ckpt.paramfiles["net"]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def damage_missing(ckpt):
    ckpt.paramfiles["counter"].unlink()


def damage_table(ckpt):
    (ckpt.path / "files.json").write_text("{")


def damage_meta(ckpt):
    (ckpt.path / "CKPT.yaml").write_text("wer: !!python/object:numpy.float64 [")


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (damage_cut, "net.ckpt has"),
        (damage_bit, "net.ckpt has another SHA-256"),
        (damage_missing, "counter.ckpt is missing"),
        (damage_table, "files.json cannot be read"),
        (damage_meta, "CKPT.yaml"),
    ],
)
def test_damaged_newest_is_skipped_with_a_reason(tmp_path, caplog, damage, named):
    net, checkpointer = make(tmp_path)
    save(checkpointer, net, 1.0)
    damage(save(checkpointer, net, 2.0))
    nn.init.constant_(net[0].weight, 0.0)
    with caplog.at_level(logging.WARNING):
        checkpointer.recover_if_possible()
    assert net[0].weight.eq(1.0).all()
    assert named in caplog.text


def test_newest_that_the_disk_cannot_read_is_skipped(tmp_path, caplog, monkeypatch):
    net, checkpointer = make(tmp_path)
    save(checkpointer, net, 1.0)
    bad = save(checkpointer, net, 2.0).paramfiles["net"]

    def read(path):
        if path == bad:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return sha256_of(path)

    monkeypatch.setattr("recipes.common.checkpoint_files.sha256_of", read)
    checkpointer.recover_if_possible()
    assert net[0].weight.eq(1.0).all()
    assert f"Input/output error: '{bad}'" in caplog.text


def test_damaged_best_falls_back_to_the_next_best(tmp_path):
    net, checkpointer = make(tmp_path)
    for value, wer in ((1.0, 7.0), (2.0, 5.0), (3.0, 6.0)):
        save(checkpointer, net, value, wer=wer)
    damage_cut(checkpointer.find_checkpoint(min_key="wer"))
    assert checkpointer.recover_modules(min_key="wer").meta["wer"] == 6.0
    assert net[0].weight.eq(3.0).all()


def test_killed_save_of_speechbrain_is_skipped(tmp_path):
    net, checkpointer = make(tmp_path)
    save(checkpointer, net, 1.0)
    for number, content in enumerate((None, b"", b"PK\x03\x04 cut")):
        folder = tmp_path / f"CKPT+2099-{number}"
        folder.mkdir()
        (folder / "CKPT.yaml").write_text("unixtime: 9999999999\nend-of-epoch: true\n")
        (folder / "counter.ckpt").write_text("1")
        if content is not None:
            (folder / "net.ckpt").write_bytes(content)
    checkpointer.recover_if_possible()
    assert net[0].weight.eq(1.0).all()


def test_no_good_checkpoint_is_an_error_and_none_at_all_is_not(tmp_path):
    net, checkpointer = make(tmp_path)
    assert checkpointer.recover_if_possible() is None
    damage_cut(save(checkpointer, net, 1.0))
    with pytest.raises(RuntimeError, match=r"none of 1 checkpoints.*net\.ckpt has"):
        checkpointer.recover_if_possible()


def test_checkpoint_of_another_model_lists_all_differences_and_loads_nothing(tmp_path):
    net, checkpointer = make(tmp_path)
    save(checkpointer, net, 1.0)
    other = nn.Sequential(nn.Linear(4, 3))
    other.add_module("extra", nn.Linear(1, 1))
    checkpointer = StampedeCheckpointer(tmp_path, {"net": other, "counter": EpochCounter(9)})
    before = other[0].weight.clone()
    with pytest.raises(ValueError, match="another model") as caught:
        checkpointer.recover_if_possible()
    for part in ("2 keys (extra", "5 keys (1.weight", "0.weight has shape [3, 2], expected [3, 4]"):
        assert part in str(caught.value)
    assert torch.equal(other[0].weight, before)


def test_recoverable_that_was_not_saved_is_an_error_unless_optional(tmp_path, caplog):
    net, checkpointer = make(tmp_path)
    save(checkpointer, net, 1.0)
    _, checkpointer = make(tmp_path, second=EpochCounter(9))
    with pytest.raises(RuntimeError, match=r"second\.ckpt was not saved"):
        checkpointer.recover_if_possible()
    _, checkpointer = make(tmp_path)
    checkpointer.add_recoverable("second", EpochCounter(9), optional_load=True)
    with caplog.at_level(logging.WARNING):
        assert checkpointer.recover_if_possible() is not None
    assert "holds no second: it starts anew" in caplog.text


def test_nan_is_never_best_and_newest_is_saved_last(tmp_path, monkeypatch):
    net, checkpointer = make(tmp_path)
    save(checkpointer, net, 1.0, wer=float("nan"))
    save(checkpointer, net, 2.0, wer=5.0)
    monkeypatch.setattr("recipes.common.checkpoint_store.time.time", lambda: 1.0)
    newest = save(checkpointer, net, 3.0, wer=6.0)
    assert checkpointer.find_checkpoint(min_key="wer").meta["wer"] == 5.0
    assert checkpointer.find_checkpoint().path == newest.path


def test_kill_while_deleting_leaves_no_half_checkpoint(tmp_path, monkeypatch):
    net, checkpointer = make(tmp_path)
    save(checkpointer, net, 1.0)
    newest = save(checkpointer, net, 2.0)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("recipes.common.checkpoint_store.shutil.rmtree", killed_rmtree)
        checkpointer.delete_checkpoints(num_to_keep=1)
    assert [path.name for path in tmp_path.glob("CKPT+*")] == [newest.path.name]
    _, resumed = make(tmp_path)
    saved = resumed.save_checkpoint()
    assert sorted(tmp_path.iterdir()) == sorted([newest.path, saved.path])


def killed_rmtree(folder, *, ignore_errors=False):
    if not ignore_errors:
        next(folder.iterdir()).unlink()
        raise KeyboardInterrupt


def test_names_sort_in_the_order_of_saves_within_a_second(tmp_path, monkeypatch):
    monkeypatch.setattr("speechbrain.utils.checkpoints.time.time", lambda: 1.7e9)
    _, checkpointer = make(tmp_path)
    names = []
    for _ in range(4):  # each deletes its forerunner, whose number is free again
        checkpointer.save_and_keep_only(num_to_keep=1)
        names += [path.name for path in tmp_path.glob("CKPT+*")]
    assert len(names) == 4
    assert names == sorted(set(names))


def test_named_checkpoint_is_replaced(tmp_path):
    net, checkpointer = make(tmp_path)
    for value in (1.0, 2.0):
        nn.init.constant_(net[0].weight, value)
        checkpointer.save_checkpoint(name="best")
    checkpointer.recover_if_possible()
    assert net[0].weight.eq(2.0).all()
    assert [path.name for path in tmp_path.iterdir()] == ["CKPT+best"]


def test_kill_while_replacing_keeps_a_checkpoint(tmp_path):
    net, checkpointer = make(tmp_path)
    saved = checkpointer.save_checkpoint(name="best")
    saved.path.rename(tmp_path / "replaced-CKPT+best")
    net, checkpointer = make(tmp_path)
    checkpointer.save_checkpoint(name="other")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["CKPT+best", "CKPT+other"]


def test_keep_only_keeps_best_and_newest(tmp_path):
    net, checkpointer = make(tmp_path)
    for wer in (5.0, 6.0, 7.0):
        checkpointer.save_and_keep_only({"wer": wer}, min_keys=["wer"])
    assert sorted(c.meta["wer"] for c in checkpointer.list_checkpoints()) == [5.0, 7.0]
