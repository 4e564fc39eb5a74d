"""Traps of SpeechBrain 1.1.2 in checkpoints, data, decoding: 4, 5, 6, 9, 10, 11, 12, 15, 18."""

import ast
import inspect
import io
import pickle
import tarfile

import numpy as np
import pytest
import sentencepiece
import speechbrain as sb
import torch
import webdataset
import yaml
from speechbrain.dataio import dataloader as sb_dataloader
from speechbrain.decoders import seq2seq
from speechbrain.nnet.losses import ctc_loss
from speechbrain.nnet.RNN import LSTM
from speechbrain.processing.features import InputNormalization
from speechbrain.utils.checkpoints import Checkpointer
from torch import nn

from recipes.common.checkpointer import StampedeCheckpointer
from recipes.common.tokens import Tokenizer, ctc_feasible
from tests.unit.recipes.common.traps import ROOT, imported_names, mended, sources

YAMLS = sorted((ROOT / "hparams").rglob("*.yaml")) + sorted((ROOT / "recipes").rglob("*.yaml"))


def test_trap_4_webdataset_support_hangs_on_another_package_upstream():
    source = inspect.getsource(sb_dataloader)
    assert "from importlib_metadata import version" in source, mended(4, "data_prepare.stream")


def test_traps_4_and_9_our_loader_does_without_webdataset():
    for path, tree in sources("data_prepare", "recipes"):
        assert "webdataset" not in imported_names(tree), path
        assert "WDS_AVAILABLE" not in ast.unparse(tree), path


def test_trap_5_numpy_meta_blocks_every_listing_upstream(tmp_path):
    checkpointer = Checkpointer(tmp_path, {"net": nn.Linear(1, 1)})
    checkpointer.save_checkpoint({"wer": np.float64(5.0)})
    with pytest.raises(yaml.YAMLError):
        pytest.fail(f"{mended(5, 'checkpoint_files.plain_meta')} {checkpointer.list_checkpoints()}")


def test_trap_5_our_meta_is_plain(tmp_path):
    checkpointer = StampedeCheckpointer(tmp_path, {"net": nn.Linear(1, 1)})
    checkpointer.save_checkpoint({"wer": np.float64(5.0), "loss": torch.tensor(0.5)})
    meta = checkpointer.find_checkpoint(min_key="wer").meta
    assert (meta["wer"], meta["loss"]) == (5.0, 0.5)


@pytest.mark.parametrize("kind", [Checkpointer, StampedeCheckpointer])
def test_trap_6_damaged_newest_checkpoint(tmp_path, kind):
    net = nn.Linear(1, 1)
    checkpointer = kind(tmp_path, {"net": net})
    first = checkpointer.save_checkpoint()
    checkpointer.save_checkpoint().paramfiles["net"].write_bytes(b"PK cut")
    if kind is StampedeCheckpointer:
        assert checkpointer.recover_if_possible().path == first.path
        return
    with pytest.raises((RuntimeError, pickle.UnpicklingError)):
        pytest.fail(f"{mended(6, 'checkpointer')} {checkpointer.recover_if_possible()}")


def test_trap_6_meta_is_written_first_upstream(tmp_path, monkeypatch):
    checkpointer = Checkpointer(tmp_path, {"net": nn.Linear(1, 1)})
    monkeypatch.setattr("torch.save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        checkpointer.save_checkpoint()
    assert len(checkpointer.list_checkpoints()) == 1, mended(6, "checkpoint_store")


def test_keep_only_grows_its_default_list_upstream(tmp_path):
    parameters = inspect.signature(Checkpointer.save_and_keep_only).parameters
    before = len(parameters["importance_keys"].default)
    Checkpointer(tmp_path, {"net": nn.Linear(1, 1)}).save_and_keep_only()
    assert len(parameters["importance_keys"].default) == before + 1, (
        "upstream mended save_and_keep_only: our override can go"
    )
    assert (
        inspect.signature(StampedeCheckpointer.save_and_keep_only)
        .parameters["importance_keys"]
        .default
        == ()
    )


def test_trap_9_shard_order_is_the_same_on_every_pass_upstream(tmp_path):
    urls = []
    for number in range(6):
        urls.append(str(tmp_path / f"{number}.tar"))
        with tarfile.open(urls[-1], "w") as tar:
            member = tarfile.TarInfo(f"{number}.txt")
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
    dataset = webdataset.WebDataset(urls, shardshuffle=100)
    passes = [[sample["__key__"] for sample in dataset] for _ in range(3)]
    assert passes[0] == passes[1] == passes[2], mended(9, "data_prepare.plan")


def test_trap_10_normalisation_statistics_are_no_buffers_upstream():
    normalize = InputNormalization(norm_type="global")
    assert list(normalize.buffers()) == [], mended(10, "the recipes' `epoch=` and broadcast")
    features, lengths = torch.randn(2, 5, 3), torch.ones(2)
    counts = []
    for epoch in (1, 2, 3, 4):
        normalize(features, lengths, epoch=epoch)
        counts.append(normalize.count)
    assert counts[2] == counts[3]  # frozen, if it is told the epoch
    normalize(features, lengths)
    assert normalize.count > counts[3], mended(10, "the recipes' `epoch=`")


def normalisations_without_epoch(tree: ast.Module) -> list[int]:
    """Return the lines that call a normalisation without its ``epoch``."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith((".normalize", ".normalizer"))
        and "epoch" not in {keyword.arg for keyword in node.keywords}
    ]


def test_trap_10_recipes_pass_the_epoch_to_the_normalisation():
    assert normalisations_without_epoch(ast.parse("self.modules.normalize(x, lens)")) == [1]
    for path, tree in sources("recipes"):
        if path.name == "brain.py":
            assert normalisations_without_epoch(tree) == [], path


def test_trap_11_joint_decoding_refuses_equal_indexes_upstream():
    source = inspect.getsource(seq2seq)
    assert "len({bos_index, eos_index, blank_index}) < 3" in source, mended(
        11, "recipes.common.tokens"
    )


def test_trap_11_our_indexes_are_distinct():
    indexes = {Tokenizer.blank_index, Tokenizer.bos_index, Tokenizer.eos_index}
    assert len(indexes) == 3
    for path in YAMLS:
        found = [
            line.split("#")[0].split(":")[1].strip()
            for line in path.read_text(encoding="utf-8").splitlines()
            if line.startswith(("blank_index:", "bos_index:", "eos_index:"))
        ]
        assert len(set(found)) in (0, 1, 3), path
        assert not all(value.isdigit() for value in found) or len(set(found)) == len(found), path


def test_trap_12_labels_longer_than_frames_vanish_upstream():
    logp = torch.randn(1, 3, 5).log_softmax(-1)
    labels, whole = torch.tensor([[1, 2, 3, 4]]), torch.ones(1)
    assert ctc_loss(logp, labels, whole, whole, 0).item() == 0.0, mended(12, "tokens.ctc_feasible")


def test_trap_12_such_utterances_are_found():
    assert ctc_feasible(torch.tensor([4, 3]), torch.tensor([3, 3])).tolist() == [False, True]


def test_trap_15_empty_sentencepiece_cannot_be_unpickled_upstream():
    pickled = pickle.dumps(sentencepiece.SentencePieceProcessor())
    with pytest.raises(RuntimeError):
        pytest.fail(f"{mended(15, 'tokens.Tokenizer')} {pickle.loads(pickled)}")


def test_trap_15_our_tokenizer_pickles_before_it_has_loaded(tmp_path):
    assert pickle.loads(pickle.dumps(Tokenizer(tmp_path))).folder == tmp_path
    for path in YAMLS:
        assert "!new:sentencepiece" not in path.read_text(encoding="utf-8"), path


def test_trap_18_rnn_flattens_its_weights_in_every_forward_upstream():
    source = inspect.getsource(LSTM.forward)
    assert "flatten_parameters()" in source, mended(18, "the shared-memory trainer")


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="trap 18 (flatten_parameters) needs a CUDA device, and there is none",
)
def test_trap_18_flattening_moves_weights_to_another_storage():
    rnn = LSTM(hidden_size=4, input_size=3).cuda()
    weight = rnn.rnn.weight_ih_l0
    weight.data = weight.data.clone()  # as a shared tensor: outside of cuDNN's buffer
    place = weight.data_ptr()
    rnn(torch.randn(2, 5, 3, device="cuda"))
    assert weight.data_ptr() != place, mended(18, "the shared-memory trainer")


def test_versions_are_those_whose_traps_are_closed():
    assert sb.__version__ == "1.1.2"
