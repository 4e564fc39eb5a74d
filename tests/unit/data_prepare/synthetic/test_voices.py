"""Voices: many persons, none twice, accents only where asked for."""

import numpy as np

from data_prepare.synthetic.voices import ACCENTS, NATIVE_LANGUAGES, Voice, draw_voice


def pool(*, is_native: bool, size: int = 300) -> list[Voice]:
    rng = np.random.default_rng(0)
    return [draw_voice(rng, is_native=is_native) for _ in range(size)]


def test_draw_voice_three_hundred_are_all_different() -> None:
    voices = pool(is_native=True) + pool(is_native=False)
    assert len({(v.language, v.variant_file(), v.rate_wpm, v.rules) for v in voices}) == len(voices)


def test_draw_voice_native_covers_languages_and_has_no_rules() -> None:
    voices = pool(is_native=True)
    assert {voice.language for voice in voices} == set(NATIVE_LANGUAGES)
    assert all(voice.is_native and not voice.rules for voice in voices)


def test_draw_voice_nonnative_covers_first_languages_and_keeps_to_their_habits() -> None:
    voices = pool(is_native=False)
    assert {voice.first_language for voice in voices} == set(ACCENTS)
    for voice in voices:
        assert voice.rules
        assert set(voice.rules) <= set(ACCENTS[voice.first_language].items())


def test_draw_voice_women_are_higher_in_pitch_and_formants() -> None:
    voices = pool(is_native=True)
    pitch_hz, formant = {}, {}
    for gender in ("female", "male"):
        group = [voice for voice in voices if voice.gender == gender]
        assert len(group) > 90
        pitch_hz[gender] = np.mean([voice.pitch_hz[0] for voice in group])
        formant[gender] = np.mean([voice.formants_percent[2] for voice in group])
    assert pitch_hz["female"] > 1.5 * pitch_hz["male"]
    assert formant["female"] > 1.08 * formant["male"]


def test_variant_file_names_every_formant() -> None:
    lines = pool(is_native=True, size=1)[0].variant_file().splitlines()
    assert lines[0] == "language variant"
    assert [line.split()[1] for line in lines if line.startswith("formant")] == list("012345")
