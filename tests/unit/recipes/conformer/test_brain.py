"""The Brain: its loss and units, accumulation, checks, tests."""

import math
from types import SimpleNamespace

import pytest
import torch
from speechbrain import Stage

from recipes.common.schedule import inverse_square_root
from recipes.MuSTC.ST.conformer.losses import ctc_loss, translation_loss
from recipes.MuSTC.ST.conformer.tokens import PairEncoder
from tests.unit.data_prepare.corpora import wordless_batch
from tests.unit.recipes.conformer.models import PAIRS, load_model, make_batch, make_brain

NUM_TARGETS = sum(len(target) + 1 for _, target in PAIRS)
NUM_SOURCES = sum(len(source) + 1 for source, _ in PAIRS)


@pytest.fixture
def brain(tmp_path):
    found = make_brain(tmp_path)
    found.on_stage_start(Stage.TRAIN, 1)
    return found


def loss_of(brain, batch, stage=Stage.TRAIN):
    return brain.compute_objectives(brain.compute_forward(batch, stage), batch, stage)


def test_loss_is_the_translations_plus_half_of_ctc(brain):
    batch = make_batch()
    outputs = brain.compute_forward(batch, Stage.TRAIN)
    encoded = outputs["encoded"]
    tokens, lens = batch.tokens_eos
    seq = translation_loss(
        outputs["logits"], tokens, (lens * tokens.shape[1]).round().long(), label_smoothing=0.1
    )
    source, lens = batch.source_tokens
    num = (lens * source.shape[1]).round().long()
    ctc, _ = ctc_loss(encoded.ctc_logits, encoded.ctc_lengths, source, num, blank_index=12)
    loss = brain.compute_objectives(outputs, batch, Stage.TRAIN)
    assert loss.total.item() == pytest.approx((seq + 0.5 * ctc).item(), rel=1e-6)


@pytest.mark.parametrize(
    ("unit", "count"),
    [("source_tokens", NUM_SOURCES), ("target_tokens", NUM_TARGETS), ("utterances", len(PAIRS))],
)
def test_training_loss_counts_the_units_asked_for(brain, unit, count):
    brain.hparams.normalize_by = unit
    assert loss_of(brain, make_batch()).count == count


def test_validation_loss_is_in_bits_of_target_tokens(brain):
    brain.modules.eval()
    with torch.no_grad():
        train = loss_of(brain, make_batch())
        valid = loss_of(brain, make_batch(), Stage.VALID)
    assert valid.count == NUM_TARGETS
    assert valid.total.item() == pytest.approx(train.total.item() / math.log(2), rel=1e-6)


def test_ctc_loss_does_not_depend_on_compression(brain):
    """An encoder that gave CTC the compressed lengths would make it read a part only."""
    batch, found = make_batch(), []
    for start in (0, 10**9):
        brain.hparams.compress_start_step = start
        brain.on_stage_start(Stage.TRAIN, 1)
        encoded = brain.compute_forward(batch, Stage.TRAIN)["encoded"]
        assert bool((encoded.lengths < encoded.ctc_lengths).any()) == (start == 0)
        loss_of(brain, batch)
        found.append(float(brain.sums[0]))
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_compression_begins_at_its_step_and_is_on_in_tests(brain):
    brain.hparams.compress_start_step = 5
    assert not brain.is_compressing(Stage.TRAIN)
    assert brain.is_compressing(Stage.TEST)
    brain.optimizer_step = 5
    assert brain.is_compressing(Stage.TRAIN)


def test_padding_batch_weighs_nothing(brain):
    loss = loss_of(brain, make_batch(is_padding=True))
    loss.total.backward()
    grads = [p.grad for p in brain.modules.parameters() if p.grad is not None]
    assert (loss.total.item(), loss.count) == (0.0, 0)
    assert grads and all(grad.abs().max() == 0 for grad in grads)
    assert not brain.sums.any()


@pytest.mark.parametrize("is_readable", [True, False])
@pytest.mark.parametrize("stage", [Stage.TRAIN, Stage.VALID])
def test_batch_without_tokens_has_a_loss_and_gradients(brain, tmp_path, stage, is_readable):
    words = SimpleNamespace(encode=lambda text: [])
    pair = SimpleNamespace(source=words, target=words, prefix_of=lambda example: [2])
    batch = wordless_batch(tmp_path / "split", PairEncoder(pair), is_readable=is_readable)
    assert batch.source_tokens.data.shape == (1, 0)
    loss = loss_of(brain, batch, stage)
    loss.total.backward()
    grads = [p.grad for p in brain.modules.parameters() if p.grad is not None]
    assert grads and all(grad.isfinite().all() for grad in grads)
    assert (loss.count, bool(loss.total > 0)) == ((1, True) if is_readable else (0, False))
    assert int(brain.sums[4]) == 0


def test_infeasible_utterances_are_counted(brain):
    pairs = [([4, 4, 4, 5, 6, 7, 8, 9], [5]), ([4], [6])]
    loss = loss_of(brain, make_batch(pairs, seconds=(0.2, 0.2)))
    assert int(brain.sums[4]) == 1
    assert torch.isfinite(loss.total)


def gradients(brain, batches):
    brain.modules.zero_grad(set_to_none=True)
    caught = {}
    brain.apply_update = lambda optimizers: caught.update(
        {n: p.grad.clone() for n, p in brain.modules.named_parameters()}
    )
    brain.init_optimizers()
    brain.start_epoch(num_batches=len(batches))
    for number, batch in enumerate(batches, start=1):
        brain.step = number
        brain.fit_batch(batch)
    return caught


def test_micro_batches_of_unequal_size_equal_one_large_batch(tmp_path):
    seconds = (1.0, 0.53, 0.8)
    parts = [
        make_batch(PAIRS[:2], seconds=seconds[:2]),
        make_batch(PAIRS[2:], seconds=seconds[2:]),
    ]
    whole = make_batch(seconds=seconds)
    audio = [row for part in parts for row in part.wavs.data]
    for row, wav in enumerate(audio):
        whole.wavs.data[row, : len(wav)] = wav[: whole.wavs.data.shape[1]]
    found = gradients(make_brain(tmp_path, run_opts={"grad_accumulation_factor": 2}), parts)
    expected = gradients(make_brain(tmp_path), [whole])
    for name, grad in expected.items():
        assert torch.allclose(found[name], grad, rtol=1e-4, atol=1e-6), name


def test_last_micro_batches_of_an_epoch_are_applied_too(tmp_path):
    brain = make_brain(tmp_path, run_opts={"grad_accumulation_factor": 2})
    gradients(brain, [make_batch()] * 3)
    assert brain.optimizer_step == 2


@pytest.mark.parametrize(
    ("update", "rate"),
    [(0, 0.0), (1, 8e-8), (12_500, 1e-3), (25_000, 2e-3), (50_000, 2e-3 / 2**0.5), (100_000, 1e-3)],
)
def test_schedule_has_the_published_rates(update, rate):
    assert inverse_square_root(update, peak=2e-3, num_warmup=25_000) == pytest.approx(
        rate, rel=1e-6
    )


def test_first_update_has_rate_zero(tmp_path):
    schedule = {
        "update_schedule": lambda update: inverse_square_root(update, peak=1.0, num_warmup=3)
    }
    brain = make_brain(tmp_path, **schedule)
    before = [p.clone() for p in brain.modules.parameters()]
    brain.init_optimizers()
    brain.start_epoch(num_batches=1)
    brain.step = 1
    brain.fit_batch(make_batch())
    assert brain.optimizer_step == 1
    assert all(torch.equal(a, b) for a, b in zip(before, brain.modules.parameters(), strict=True))


@pytest.mark.parametrize("stage", list(Stage))
def test_spec_augment_is_of_training_alone(tmp_path, stage):
    brain = make_brain(tmp_path, spec_augment=lambda feats, num_frames: torch.zeros_like(feats))
    plain, batch = make_brain(tmp_path), make_batch()
    for one in (brain, plain):
        one.modules.eval()
    logits = [one.compute_forward(batch, stage)["logits"] for one in (brain, plain)]
    assert torch.equal(*logits) == (stage != Stage.TRAIN)


def test_bfloat16_takes_finite_steps_with_float32_losses(tmp_path):
    brain = make_brain(tmp_path, run_opts={"precision": "bf16"})
    brain.init_optimizers()
    brain.start_epoch(num_batches=5)
    for step in range(1, 6):
        brain.step = step
        loss = brain.fit_batch(make_batch())
        assert loss.total.dtype == torch.float32
        assert loss.total.isfinite()
    assert brain.optimizer_step == 5


def test_wrong_options_are_named_at_once(tmp_path):
    brain = make_brain(
        tmp_path, normalize_by="frames", compress_start_step=-1, frames_per_update=4000
    )
    with pytest.raises(
        ValueError, match=r"normalize_by is 'frames'.*compress_start_step is -1.*1000"
    ):
        brain.check_options()


def test_frames_per_update_count_batches_accumulation_and_ranks(tmp_path):
    options = {"frames_per_update": 320_000, "max_batch_s": 400.0}
    make_brain(tmp_path, run_opts={"grad_accumulation_factor": 8}, **options).check_options()
    with pytest.raises(ValueError, match="400 s a batch x 2 micro-batches x 1 ranks are 80000"):
        make_brain(tmp_path, run_opts={"grad_accumulation_factor": 2}, **options).check_options()


@pytest.mark.parametrize("stage", [Stage.VALID, Stage.TEST])
def test_stage_translates_every_utterance_once(brain, stage):
    brain.modules.eval()
    brain.on_stage_start(stage, 1)
    with torch.no_grad():
        loss_of(brain, make_batch(), stage)
    assert [item.id for item in brain.scores.items] == ["u0", "u1", "u2"]
    assert [item.reference for item in brain.scores.items] == ["de", "fgh", "a"]
    assert brain.scores.items[2].source == "source 2"


@pytest.mark.parametrize("block", ["conformer", "source"])
@pytest.mark.parametrize("search", ["greedy_search", "beam_search"])
@pytest.mark.parametrize("num_frames", [40, 41, 42, 43])
def test_text_of_an_utterance_is_the_same_in_any_batch(tmp_path, block, search, num_frames):
    model = load_model(block=block, target_vocab_size=40)  # so that texts follow the audio closely
    brain = make_brain(tmp_path, model=model, valid_search=model[search])
    with torch.no_grad():
        model["decoder"].head.weight.mul_(4)
    brain.modules.eval()
    seconds = (1.0, (num_frames * 160 + 240 + 37) / 16000, 0.025)  # the last is one frame
    together = brain.compute_forward(make_batch(seconds=seconds), Stage.VALID)["hypotheses"]
    assert all(together)
    assert len({tuple(tokens) for tokens in together}) > 1
    for number in range(3):
        batch = make_batch(seconds=seconds)
        wav = batch.wavs.data[number : number + 1, : int(16000 * seconds[number])]
        alone = make_batch(PAIRS[number : number + 1], seconds=seconds[number : number + 1])
        alone.wavs = type(alone.wavs)(wav, torch.ones(1))
        assert brain.compute_forward(alone, Stage.VALID)["hypotheses"] == [together[number]]


def test_utterance_of_one_frame_is_trained_on(brain):
    loss = loss_of(brain, make_batch([([4], [5]), ([], [6])], seconds=(0.025, 0.03)))
    loss.total.backward()
    assert loss.total.isfinite()


def test_test_stage_writes_translations_and_signatures(brain, tmp_path):
    brain.modules.eval()
    brain.on_stage_start(Stage.TEST)
    with torch.no_grad():
        loss_of(brain, make_batch(), Stage.TEST)
    logged = {}
    brain.run_log.stage = lambda name, values, **counts: logged.update(values)
    brain.on_stage_end(Stage.TEST, 1.0)
    assert isinstance(logged["bleu"], float)
    assert logged["bleu_signature"] == brain.results["signatures"]["bleu"]
    assert "REF fgh" in (tmp_path / "translations/test.txt").read_text()
    assert brain.results["utterances"] == 3
    assert brain.results["signatures"]["bleu"].startswith("nrefs:1|case:mixed")
    assert 0 < brain.results["compression"] <= 1


def test_test_that_misses_utterances_is_an_error(brain):
    class Data(torch.utils.data.DataLoader):
        class index:  # noqa: N801 - stands for a ShardIndex
            num_utterances = 4

    data = Data([make_batch()], batch_size=None)
    with pytest.raises(RuntimeError, match="3 of 4 utterances were translated"):
        brain.evaluate(data, progressbar=False)


def test_validation_without_search_has_no_bleu(brain):
    brain.hparams.valid_search = None
    outputs = brain.compute_forward(make_batch(), Stage.VALID)
    assert "hypotheses" not in outputs
