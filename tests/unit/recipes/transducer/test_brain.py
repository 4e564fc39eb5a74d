"""The recipe's Brain: updates, average, search, resume."""

import json

import pytest
import torch
from speechbrain import Stage

from recipes.common.update import NonFiniteError
from recipes.LibriSpeech.ASR.transducer import model
from recipes.LibriSpeech.ASR.transducer.features import splice
from recipes.LibriSpeech.ASR.transducer.lamb import LAMB
from recipes.LibriSpeech.ASR.transducer.splitting import split_point
from recipes.LibriSpeech.ASR.transducer.tokenizer import benchmark_options
from tests.unit.recipes.transducer.brains import PLAIN, fit, make_brain, make_split

DOTTED = {key.replace(".", "__"): value for key, value in PLAIN.items()}
RUN = {"global_batch": 8, "micro_batch": 8, "num_epochs": 2}


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return make_split(tmp_path_factory.mktemp("corpus") / "train")


def values(brain):
    return {name: p.detach().clone() for name, p in brain.raw_modules.named_parameters()}


def losses(folder):
    lines = (folder / "train_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [row["train_loss"] for row in map(json.loads, lines)]


def keep_losses(brain):
    """Return a dict that gets the loss of each update by its number."""
    found, noted = {}, brain.on_update_end

    def note(report):
        found[report.number] = report.loss
        noted(report)

    brain.on_update_end = note
    return found


def assert_equal(one, other, *, atol=0.0):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.allclose(one[name], other[name], rtol=0.0, atol=atol), name


def test_batch_of_the_loader_is_moved_without_waiting(split, tmp_path, monkeypatch):
    brain, train_set, _ = make_brain(split, tmp_path / "run", **RUN)
    batch = next(iter(train_set))
    hosts = [*batch.wavs, *batch.tokens]
    moved, plain = [], torch.Tensor.to

    def to(tensor, *arguments, **options):
        if any(tensor is host for host in hosts):
            moved.append(options.get("non_blocking"))
        return plain(tensor, *arguments, **options)

    monkeypatch.setattr(torch.Tensor, "to", to)
    brain.compute_forward(batch, Stage.VALID)
    assert moved == [True] * 4


def test_late_reports_change_nothing(split, tmp_path):
    brains = [
        fit(*make_brain(split, tmp_path / str(late), reports_late=late, **RUN))
        for late in (True, False)
    ]
    assert brains[0].optimizer_step == brains[1].optimizer_step == 6
    assert brains[0].num_utterances == brains[1].num_utterances == 48
    assert_equal(*map(values, brains), atol=1e-6)
    assert losses(tmp_path / "True") == pytest.approx(losses(tmp_path / "False"), rel=1e-6)


def test_late_report_of_a_loss_that_is_not_finite_ends_the_run(split, tmp_path):
    brain, *loaders = make_brain(split, tmp_path / "run", **RUN)
    with torch.no_grad():
        brain.raw_modules["joint"].joint_net.bias[0] = torch.nan
    with pytest.raises(NonFiniteError, match="update 1: loss nan"):
        fit(brain, *loaders)


def test_accumulation_equals_one_large_batch(split, tmp_path):
    whole, parts = (
        fit(*make_brain(split, tmp_path / str(m), **{**RUN, **DOTTED, "micro_batch": m}))
        for m in (8, 2)
    )
    assert (whole.grad_accumulation_factor, parts.grad_accumulation_factor) == (1, 4)
    assert whole.optimizer_step == parts.optimizer_step == 6
    assert_equal(values(whole), values(parts), atol=1e-5)


def test_resume_equals_a_run_that_was_not_stopped(split, tmp_path):
    whole, *loaders = make_brain(split, tmp_path / "whole", **RUN)
    expected = keep_losses(whole)
    fit(whole, *loaders)
    options = {**RUN, "ckpt_interval_minutes": 0}
    fit(*make_brain(split, tmp_path / "parts", max_updates=4, **options))
    resumed, *loaders = make_brain(split, tmp_path / "parts", **options)
    found = keep_losses(resumed)
    fit(resumed, *loaders)
    assert isinstance(resumed.optimizer, LAMB)
    assert resumed.optimizer_step == whole.optimizer_step == 6
    assert found == {number: expected[number] for number in (5, 6)}
    assert losses(tmp_path / "parts")[-1] == losses(tmp_path / "whole")[-1]
    assert_equal(values(whole), values(resumed))
    for one, other in zip(whole.average.averages, resumed.average.averages, strict=True):
        assert torch.equal(one, other)


def test_validation_sees_the_average_and_gives_the_parameters_back(split, tmp_path):
    brain, *_ = make_brain(split, tmp_path / "run", ema_decay=0.5)
    weight = brain.raw_modules["joint"].joint_net.weight
    before = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1.0)
    brain.average.update()
    brain.on_stage_start(Stage.VALID, 1)
    assert torch.allclose(weight, before + 0.5)
    brain.average.swap()
    assert torch.allclose(weight, before + 1.0)


def test_checkpoint_holds_parameters_and_average(split, tmp_path):
    brain, *loaders = make_brain(split, tmp_path / "run", **RUN)
    fit(brain, *loaders)
    trained, average = values(brain), [a.clone() for a in brain.average.averages]
    other, *_ = make_brain(split, tmp_path / "run", **RUN)
    other.checkpointer.recover_modules()
    assert_equal(values(other), trained)
    assert all(torch.equal(a, b) for a, b in zip(average, other.average.averages, strict=True))
    assert not torch.equal(average[0], trained["encoder.pre_rnn.lstm.weight_ih_l0"])


def test_search_results_are_in_the_order_of_the_batch(split, tmp_path):
    brain, _, valid_set = make_brain(split, tmp_path / "run", **DOTTED)
    brain.modules.eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for layer in (brain.raw_modules["joint"].joint_net, brain.raw_modules["encoder"].joint_enc):
            torch.nn.init.normal_(layer.weight)
        batch = valid_set.fetch(0)
        together = brain.compute_forward(batch, stage=Stage.VALID)
    assert len({tuple(tokens) for tokens in together["hypotheses"]}) > 1
    wavs, lengths = batch.wavs.data, (batch.wavs.lengths * batch.wavs.data.shape[1]).round().int()
    feats, frames = splice(*brain.modules.front_end(wavs, lengths.long()))
    with torch.no_grad():
        enc, steps = brain.raw_modules["encoder"](feats, frames)
        assert brain.hparams.search(enc, steps) == together["hypotheses"]


def test_validation_sees_utterances_as_they_are(split, tmp_path):
    options = {"speed": "[1.0, 1.0]", "freq_masks": 0, "time_masks": 0}
    made = [
        make_brain(split, tmp_path / name, **own)
        for name, own in (("augmented", {}), ("plain", options))
    ]
    found = {Stage.VALID: [], Stage.TRAIN: []}
    for brain, _, valid_set in made:
        brain.modules.eval()
        for stage, losses in found.items():
            with torch.no_grad():
                losses.append(brain.compute_forward(valid_set.fetch(0), stage)["losses"])
    assert torch.equal(*found[Stage.VALID])
    assert not torch.equal(*found[Stage.TRAIN])


def test_tokenizer_of_the_run_file_is_the_benchmarks(split, tmp_path):
    brain, *_ = make_brain(split, tmp_path / "run")
    info = json.loads((brain.tokenizer.folder / "tokenizer.json").read_text(encoding="utf-8"))
    assert info["options"] == benchmark_options(18).stamp()


def test_training_text_with_an_unknown_piece_is_refused(split, tmp_path):
    brain, train_set, _ = make_brain(split, tmp_path / "run", **RUN)
    batch = train_set.fetch(0)
    brain.compute_forward(batch, Stage.TRAIN)
    batch.tokens.data[3, 0] = 0
    with pytest.raises(ValueError, match=f"{batch.id[3]} has an unknown piece .*{batch.text[3]}"):
        brain.compute_forward(batch, Stage.TRAIN)
    with torch.no_grad():
        brain.compute_forward(batch, Stage.VALID)


def test_loss_is_the_sum_over_utterances(split, tmp_path):
    brain, train_set, _ = make_brain(split, tmp_path / "run", **RUN)
    batch = train_set.fetch(0)
    outputs = brain.compute_forward(batch, Stage.TRAIN)
    loss = brain.compute_objectives(outputs, batch, Stage.TRAIN)
    assert loss.count == 8
    assert loss.total.item() == pytest.approx(outputs["losses"].sum().item())
    batch.is_padding = True
    padding = brain.compute_objectives(outputs, batch, Stage.TRAIN)
    assert (padding.total.item(), padding.count) == (0.0, 0)


def test_loss_is_float32_under_bfloat16(split, tmp_path):
    brain, train_set, _ = make_brain(split, tmp_path / "run", precision="bf16", **RUN)
    batch = train_set.fetch(0)
    with brain.training_ctx:
        loss = brain.compute_objectives(
            brain.compute_forward(batch, Stage.TRAIN), batch, Stage.TRAIN
        )
    assert loss.total.dtype == torch.float32
    loss.total.backward()
    assert torch.isfinite(brain.raw_modules["encoder"].pre_rnn.lstm.weight_ih_l0.grad).all()


@pytest.mark.parametrize("loss", ["dense", "torchaudio", "pruned"])
def test_every_loss_trains(split, tmp_path, loss):
    brain, *loaders = make_brain(split, tmp_path / "run", **{**RUN, "num_epochs": 1, "loss": loss})
    fit(brain, *loaders)
    assert brain.optimizer_step == 3
    assert brain.train_loss > 0


def test_run_stops_at_its_target(split, tmp_path):
    options = {**RUN, "num_epochs": 5, "target_value": 1000.0, "stops_at_target": True}
    brain = fit(*make_brain(split, tmp_path / "run", **options))
    assert brain.optimizer_step == 3


def test_schedule_learns_the_length_of_an_epoch(split, tmp_path):
    brain = fit(*make_brain(split, tmp_path / "run", **{**RUN, "num_epochs": 1}))
    assert brain.options.update_schedule.updates_per_epoch == 3


def test_reference_and_fast_mode_give_the_same_loss(tmp_path, monkeypatch):
    # Masks of SpecAugment and dither come from the same stream of random numbers in both, row by
    # row: so both have the order of the rows that the reference has.
    still = {key: value for key, value in DOTTED.items() if "dropout" in key}
    still |= {"by_length": False, "global_batch": 24, "micro_batch": 24}
    shards = [[0.3 + 1.7 * number / 23 for number in range(24)]]
    split = make_split(tmp_path / "corpus" / "train", shards=shards)
    splits = []

    def keep_split(*arguments, **options):
        splits.append(split_point(*arguments, **options))
        return splits[-1]

    monkeypatch.setattr(model, "split_point", keep_split)
    found = []
    for run_file in ("train.yaml", "reference.yaml"):
        options = {**RUN, **still, "num_workers": 0, "pins_memory": False, "in_feats": 240}
        brain, train_set, _ = make_brain(split, tmp_path / run_file, run_file=run_file, **options)
        torch.manual_seed(5)
        losses = brain.compute_forward(train_set.fetch(0), Stage.TRAIN)["losses"]
        losses.sum().backward()
        weight = brain.raw_modules["encoder"].pre_rnn.lstm.weight_ih_l0
        found.append((brain.hparams.loss, losses.detach(), weight.grad))
    (fast, *ours), (reference, *theirs) = found
    assert (fast, reference) == ("packed", "torchaudio")
    assert splits[0] is not None and splits[1] is None
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, rtol=1e-4, atol=1e-4)
