"""The loss and the search of the attention recipe, on a tiny model and made-up audio."""

from types import SimpleNamespace

import pytest
import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain import Stage
from speechbrain.dataio.batch import PaddedBatch

from recipes.BizSpeech.ASR.seq2seq.brain import ASR
from recipes.common.tokens import TokenEncoder
from tests.conftest import ROOT
from tests.unit.data_prepare.corpora import wordless_batch

SIZES = {
    "vocab_size": 11, "norm_type": "sentence", "hop_ms": 20, "dropout": 0.0, "cnn_blocks": 1,
    "cnn_channels": [4], "cnn_pooling": [2], "rnn_layers": 1, "rnn_neurons": 8, "dnn_blocks": 1,
    "dnn_neurons": 8, "embedding_size": 6, "decoder_neurons": 8, "attention_size": 8,
    "attention_kernel": 3, "beam_size": 2,
}  # fmt: skip
TEXTS = [[4, 5, 5, 6], [7], [8, 9, 10, 4, 6, 7]]


class Letters:
    """Stands for a tokenizer: token 4 is "a"."""

    def decode(self, ids):
        return ["".join(chr(93 + int(i)) for i in row) for row in ids]


def make_batch(texts=TEXTS, *, seconds=(1.0, 0.5, 0.8), is_padding=False) -> PaddedBatch:
    generator = torch.Generator().manual_seed(0)
    rows = []
    for i, (text, duration) in enumerate(zip(texts, seconds, strict=False)):
        rows.append(
            {
                "id": f"u{i}",
                "wavs": 0.1 * torch.randn(int(16000 * duration), generator=generator),
                "tokens": torch.tensor(text),
                "tokens_bos": torch.tensor([2, *text]),
                "tokens_eos": torch.tensor([*text, 3]),
                "text": "".join(chr(93 + t) for t in text),
                "category": "clean",
            }
        )
    batch = PaddedBatch(rows)
    batch.is_padding = is_padding
    return batch


@pytest.fixture
def brain(tmp_path) -> ASR:
    torch.manual_seed(0)
    with (ROOT / "hparams/model/crdnn_seq2seq.yaml").open(encoding="utf-8") as file:
        model = load_hyperpyyaml(file, SIZES)
    hparams = {
        **model,
        "wav_augment": None,
        "fea_augment": None,
        "label_smoothing": 0.1,
        "ctc_weight": 0.3,
        "ctc_epochs": 1,
        "valid_search": model["greedy_search"],
        "test_search": model["beam_search_ctc"],
        "output_folder": str(tmp_path),
        "valid_metric": "wer",
    }
    asr = ASR(model["modules"], torch.optim.Adam, hparams, {"device": "cpu"})
    asr.tokenizer = Letters()
    asr.run_log = SimpleNamespace(update=lambda report: None, stage=lambda *a, **k: None)
    asr.on_stage_start(Stage.TRAIN, 1)
    return asr


def loss_of(brain, batch, stage=Stage.TRAIN):
    return brain.compute_objectives(brain.compute_forward(batch, stage), batch, stage)


def test_objectives_equal_speechbrains_losses(brain):
    batch = make_batch()
    outputs = brain.compute_forward(batch, Stage.TRAIN)
    loss = brain.compute_objectives(outputs, batch, Stage.TRAIN)
    tokens_eos, eos_lens = batch.tokens_eos
    seq = sb.nnet.losses.nll_loss(
        outputs["seq_logits"].log_softmax(-1), tokens_eos, length=eos_lens, label_smoothing=0.1
    )
    tokens, token_lens = batch.tokens
    ctc = sb.nnet.losses.ctc_loss(
        outputs["ctc_logits"].log_softmax(-1),
        tokens,
        batch.wavs.lengths,
        token_lens,
        blank_index=0,
        reduction="sum",
    )
    num_targets = sum(len(text) + 1 for text in TEXTS)
    assert loss.count == num_targets
    expected = 0.7 * seq * num_targets + 0.3 * ctc
    assert loss.total.item() == pytest.approx(expected.item(), rel=1e-5)


def test_objectives_padding_batch_weighs_nothing(brain):
    loss = loss_of(brain, make_batch(is_padding=True))
    loss.total.backward()
    grads = [p.grad for p in brain.modules.parameters() if p.grad is not None]
    assert (loss.total.item(), loss.count) == (0.0, 0)
    assert grads and all(grad.abs().max() == 0 for grad in grads)


@pytest.mark.parametrize("is_readable", [True, False])
@pytest.mark.parametrize("stage", [Stage.TRAIN, Stage.VALID])
def test_batch_without_tokens_has_a_loss_and_gradients(brain, tmp_path, stage, is_readable):
    encoder = TokenEncoder(SimpleNamespace(encode=lambda text: []))
    batch = wordless_batch(tmp_path / "split", encoder, is_readable=is_readable)
    assert batch.tokens.data.shape == (1, 0)
    brain.on_stage_start(stage, 1)
    loss = loss_of(brain, batch, stage)
    loss.total.backward()
    grads = [p.grad for p in brain.modules.parameters() if p.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)
    assert (loss.count, bool(loss.total > 0)) == ((1, True) if is_readable else (0, False))
    assert int(brain.num_infeasible) == 0


def test_ctc_rests_after_its_epochs(brain):
    brain.on_stage_start(Stage.TRAIN, 2)
    assert "ctc_logits" not in brain.compute_forward(make_batch(), Stage.TRAIN)


def test_ctc_infeasible_utterances_are_counted(brain):
    loss = loss_of(brain, make_batch([[4, 4, 4, 5, 6, 7], [4]], seconds=(0.3, 0.3)))
    assert int(brain.num_infeasible) == 1
    assert torch.isfinite(loss.total)


def test_loss_is_float32_under_bfloat16(brain):
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(brain, make_batch())
    assert loss.total.dtype == torch.float32


@pytest.mark.parametrize("stage", [Stage.VALID, Stage.TEST])
def test_stage_decodes_every_utterance_once(brain, stage):
    brain.modules.eval()
    brain.on_stage_start(stage, 1)
    with torch.no_grad():
        loss_of(brain, make_batch(), stage)
    assert [item.id for item in brain.scores.items] == ["u0", "u1", "u2"]
    assert [item.reference for item in brain.scores.items] == ["abbc", "d", "efgacd"]


def test_stage_padding_batch_is_not_scored(brain):
    brain.modules.eval()
    brain.on_stage_start(Stage.VALID, 1)
    with torch.no_grad():
        loss_of(brain, make_batch(is_padding=True), Stage.VALID)
    assert brain.scores.items == []


def test_test_stage_writes_alignments(brain, tmp_path):
    brain.modules.eval()
    brain.on_stage_start(Stage.TEST)
    brain.test_set = "librispeech/test-clean"
    with torch.no_grad():
        loss_of(brain, make_batch(), Stage.TEST)
    brain.on_stage_end(Stage.TEST, 1.0)
    text = (tmp_path / "alignments/librispeech_test-clean.txt").read_text(encoding="utf-8")
    assert "u2" in text
    assert brain.results["utterances"] == 3
    assert brain.results["by_category"]["clean"]["utterances"] == 3


def test_augmentation_changes_training_only(brain):
    brain.hparams.wav_augment = lambda wavs, lens: (wavs * 0.0, lens)
    brain.modules.eval()
    with torch.no_grad():
        train = brain.compute_forward(make_batch(), Stage.TRAIN)["seq_logits"]
        valid = brain.compute_forward(make_batch(), Stage.VALID)["seq_logits"]
    assert not torch.equal(train, valid)


def test_unknown_valid_metric_is_refused_at_once(brain):
    hparams = {**vars(brain.hparams), "valid_metric": "wre"}
    with pytest.raises(ValueError, match="valid_metric: 'wre' is no figure"):
        ASR({}, None, hparams, {"device": "cpu"})
