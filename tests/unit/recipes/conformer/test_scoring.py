"""BLEU and chrF with their signatures, merged over ranks."""

import pytest

from recipes.MuSTC.ST.conformer.scoring import TranslationScores

SIGNATURES = {
    "bleu": "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0",
    "chrf": "nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.6.0",
}


def scores(hypotheses, references, first=0):
    collected = TranslationScores()
    ids = [f"u{first + number}" for number in range(len(references))]
    collected.append(ids, sources=ids, references=references, hypotheses=hypotheses)
    return collected


def test_summary_of_perfect_and_of_wrong_translations():
    texts = ["Li domor verdo vidar nek.", "Hodi, ela pomelan portar.", "Noi tris skribin trovit."]
    summary = scores(texts, texts).summarise()
    assert summary["bleu"] == pytest.approx(100.0)
    assert summary["chrf"] == pytest.approx(100.0)
    assert summary["exact"] == 100.0
    assert summary["utterances"] == 3
    assert summary["length_ratio"] == 1.0
    assert summary["signatures"] == SIGNATURES
    wrong = scores(["x"] * 3, texts).summarise()
    assert wrong["bleu"] < 1.0
    assert wrong["length_ratio"] < 0.3


def test_summary_is_cased_and_of_the_set_not_a_mean_of_utterances():
    references = ["The old house is on the hill today.", "a b c d e f g h"]
    lower = scores([references[0].lower(), references[1]], references).summarise()
    assert lower["bleu"] < 100.0
    hypotheses = ["The old house is on the hill.", "a b c d e f x y"]
    one, two = (
        scores([h], [r]).summarise()["bleu"] for h, r in zip(hypotheses, references, strict=True)
    )
    both = scores(hypotheses, references).summarise()["bleu"]
    assert min(one, two) < both < max(one, two)
    assert both != pytest.approx((one + two) / 2, rel=1e-3)


def test_merge_sorts_and_refuses_repeats():
    parts = [scores(["b"], ["b"], first=1), scores(["a"], ["a"], first=0)]
    merged = TranslationScores()
    merged.merge(parts)
    assert [item.id for item in merged.items] == ["u0", "u1"]
    with pytest.raises(ValueError, match="1 utterances were translated twice"):
        merged.merge([*parts, parts[0]])


def test_empty_set_has_no_scores():
    summary = TranslationScores().summarise()
    assert (summary["bleu"], summary["utterances"]) == (None, 0)


def test_write_shows_every_utterance(tmp_path):
    scores(["Li hund."], ["Lo hund."]).write(tmp_path / "test.txt")
    assert (tmp_path / "test.txt").read_text() == "u0\nSRC u0\nREF Lo hund.\nHYP Li hund.\n\n"
