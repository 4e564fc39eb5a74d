"""The speaking process: same job, same samples; faults told."""

import ast
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_prepare.synthetic.espeak import RATE_HZ, substitute
from data_prepare.synthetic.speech import SPOKEN_RATE_HZ, Line, SpeakingProcess
from data_prepare.synthetic.voices import Voice, draw_voice

CLAUSES = (("we think that revenue will grow", ","), ("driven by volume", "."))


def voice(seed: int = 0, *, is_native: bool = True) -> Voice:
    return draw_voice(np.random.default_rng(seed), is_native=is_native)


@pytest.fixture(scope="module")
def process():
    with SpeakingProcess() as speaking:
        yield speaking


def test_substitute_rules_keep_stress_and_words() -> None:
    assert (
        substitute("D|@ T|'3:|d w|,I|l", {"D": "z", "T": "s", "I": "i:"}) == "z|@ s|'3:|d w|,i:|l"
    )


def test_substitute_empty_target_drops_the_phoneme() -> None:
    assert substitute("h|'aU|s", {"h": ""}) == "'aU|s"


def test_rate_is_the_same_on_both_sides() -> None:
    assert RATE_HZ == SPOKEN_RATE_HZ


@pytest.mark.multiproc
def test_speak_same_job_again_and_elsewhere_gives_same_samples(process: SpeakingProcess) -> None:
    job = [Line(voice(1), CLAUSES), Line(voice(2, is_native=False), CLAUSES)]
    first = list(process.speak(job))
    list(process.speak([Line(voice(3), CLAUSES)]))
    again = list(process.speak(job))
    with SpeakingProcess() as other:
        elsewhere = list(other.speak(job))
    for one, two, three in zip(first, again, elsewhere, strict=True):
        assert len(one) > 0.8 * SPOKEN_RATE_HZ
        assert np.array_equal(one, two)
        assert np.array_equal(one, three)


@pytest.mark.multiproc
def test_speak_voice_parameters_change_the_sound(process: SpeakingProcess) -> None:
    base = replace(voice(), rules=())
    others = [
        replace(base, rate_wpm=base.rate_wpm + 40),
        replace(base, formants_percent=(130,) * 6),
        replace(base, language="gmw/en-GB-scotland"),
        replace(base, rules=(("T", "s"), ("w", "v"))),
    ]
    sounds = list(process.speak([Line(person, CLAUSES) for person in [base, *others]]))
    assert len({sound.tobytes() for sound in sounds}) == len(sounds)
    assert len(sounds[1]) < 0.9 * len(sounds[0])


@pytest.mark.multiproc
def test_speak_filler_is_a_pause(process: SpeakingProcess) -> None:
    plain = (("we think it will grow", "."),)
    pause = (("we", "--"), ("think it will grow", "."))
    short, long = process.speak([Line(voice(), plain), Line(voice(), pause)])
    assert 0.1 < (len(long) - len(short)) / SPOKEN_RATE_HZ < 1.0


@pytest.mark.multiproc
def test_speak_no_clauses_is_silence(process: SpeakingProcess) -> None:
    (samples,) = process.speak([Line(voice(), ())])
    assert len(samples) == 0


@pytest.mark.multiproc
def test_speak_unknown_voice_raises_with_the_library_s_words() -> None:
    with SpeakingProcess() as speaking, pytest.raises(RuntimeError, match="voice gmw/xx.*espeakng"):
        list(speaking.speak([Line(replace(voice(), language="gmw/xx"), CLAUSES)]))


def test_gpl_library_is_loaded_by_the_speaking_program_only(repo_root: Path) -> None:
    users = set()
    for path in (repo_root / "data_prepare").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in getattr(node, "names", []) if hasattr(alias, "name")]
            names.append(getattr(node, "module", None) or "")
            if "espeakng_loader" in names or "data_prepare.synthetic.espeak" in names:
                users.add(path.name)
    assert users == {"espeak.py"}
    assert "espeakng_loader" not in sys.modules
