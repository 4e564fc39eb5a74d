"""hparams/corpus/bizspeech.yaml and the preparer's command ask for the same corpus."""

from dataclasses import asdict
from pathlib import Path

import pytest
from hyperpyyaml import load_hyperpyyaml

from data_prepare.bizspeech import BizSpeechOptions
from data_prepare.options import NEUTRAL_OPTIONS

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = {"data_folder": "/corpora/x", "work_folder": "/scratch/x"}


@pytest.fixture
def given():
    text = (ROOT / "hparams/corpus/bizspeech.yaml").read_text(encoding="utf-8")
    return load_hyperpyyaml(text, overrides=FOLDERS)["prepare"].keywords


def test_bizspeech_yaml_has_the_defaults_of_the_command(given):
    defaults = asdict(BizSpeechOptions())
    decisive = given.keys() - {"data_folder", "out_folder"} - set(NEUTRAL_OPTIONS)
    assert {name: given[name] for name in decisive} == {name: defaults[name] for name in decisive}


def test_bizspeech_yaml_offers_hours_and_ratios(given):
    assert {"hours_wanted", "nonnative_share", "qna_share", "split_by", "seed"} <= given.keys()
