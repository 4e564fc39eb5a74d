"""The end of a stage is told once, in one form, by every recipe."""

from types import SimpleNamespace

import pytest
from speechbrain import Stage

from recipes.common.reporting import merge_scores, report_recognition, report_stage
from recipes.common.scoring import TextScores


@pytest.fixture
def brain(tmp_path):
    scores = TextScores()
    scores.append(["u"], references=["A b."], hypotheses=["A c."], categories=["native/talk"])
    made = SimpleNamespace(
        scores=scores, valid_figures=("loss", "wer"), optimizer_step=7, epoch=2, train_loss=0.5,
        num_utterances=9, clock=SimpleNamespace(train_s=3.0, valid_s=1.0), test_set="other/clean",
        hparams=SimpleNamespace(output_folder=str(tmp_path)), told=[], finished=[],
        num_nonfinite_batches=0,
    )  # fmt: skip
    made.run_log = SimpleNamespace(
        stage=lambda name, values, **rest: made.told.append((name, values, rest))
    )
    made.finish_validation = lambda figures, *, epoch: made.finished.append((dict(figures), epoch))
    return made


def test_validation_is_logged_written_and_decides(brain, tmp_path):
    report_recognition(brain, Stage.VALID, merge_scores(brain, 1.25, share=0.5))
    ((name, values, rest),) = brain.told
    assert (name, rest["number"], rest["epoch"]) == ("valid", 7, 2)
    assert values == {
        "loss": 1.25, "wer": 50.0, "train_loss": 0.5, "utterances": 9, "train_s": 3.0,
        "valid_s": 1.0,
    }  # fmt: skip
    assert rest["details"]["wer native"] == 50.0
    assert brain.results["share"] == 0.5
    assert brain.finished == [({"loss": 1.25, "wer": 50.0}, 2)]
    assert "A c." in (tmp_path / "alignments" / "valid.txt").read_text()


def test_test_is_logged_under_its_name_and_decides_nothing(brain, tmp_path):
    figures = {"loss": 1.0}
    report_stage(
        brain, Stage.TEST, figures, more={"f1": 2.0}, folder="out", write=lambda p: p.touch()
    )
    ((name, values, _),) = brain.told
    assert (name, values) == ("test other/clean", {"loss": 1.0, "f1": 2.0})
    assert (tmp_path / "out" / "other_clean.txt").is_file()
    assert not brain.finished


def test_batches_left_out_are_told(brain):
    brain.num_nonfinite_batches = 2
    report_stage(brain, Stage.TEST, {"loss": 1.0})
    ((_, values, _),) = brain.told
    assert values == {"loss": 1.0, "nonfinite_batches": 2}


def test_nothing_is_written_where_there_is_nothing_to_write(brain, tmp_path):
    report_stage(brain, Stage.TEST, {"loss": 1.0})
    assert len(brain.told) == 1
    assert not list(tmp_path.iterdir())
