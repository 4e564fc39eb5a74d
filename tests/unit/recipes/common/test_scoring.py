"""Error rates, against SpeechBrain's own edit distance."""

import random

import pytest
from speechbrain.utils.metric_stats import ErrorRateStats

from recipes.common.scoring import Recognised, TextScores, alignment, facets
from recipes.common.text import as_written, normalise

WORDS = ["we", "saw", "strong", "growth", "--", "up", "15%", "in", "Europe,", "$4.2", "billion."]


def random_scores(seed: int, num: int = 40) -> TextScores:
    rng = random.Random(seed)
    scores = TextScores()
    for i in range(num):
        reference = rng.choices(WORDS, k=rng.randint(1, 12))
        hypothesis = [w for w in reference if rng.random() > 0.2] + rng.choices(WORDS, k=1)
        scores.append(
            [f"u{i:03}"],
            references=[" ".join(reference)],
            hypotheses=[" ".join(hypothesis)],
            categories=[rng.choice(["native/presentation", "nonnative/q-and-a"])],
        )
    return scores


def test_normalise_punctuation_and_case_are_removed():
    assert normalise("We -- we saw 15%, U.S. same-store; $4.2!") == "WE WE SAW 15 US SAMESTORE 42"


def test_normalise_only_punctuation_gives_empty():
    assert normalise("-- ... $") == ""


def test_as_written_typographic_apostrophe_becomes_plain():
    assert as_written("it\u2019s   on") == "it's on"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_summarise_equals_speechbrain(seed):
    scores = random_scores(seed)
    expected = {}
    for name, split in {"wer_p": str.split, "cer_p": list}.items():
        stats = ErrorRateStats()
        stats.append(
            [i.id for i in scores.items],
            [split(i.hypothesis) for i in scores.items],
            [split(i.reference) for i in scores.items],
        )
        expected[name] = stats.summarize()["WER"]
    summary = scores.summarise()
    assert summary["wer_p"] == pytest.approx(expected["wer_p"])
    assert summary["cer_p"] == pytest.approx(expected["cer_p"])


def test_summarise_categories_and_facets_add_up():
    summary = random_scores(3).summarise()
    by = summary["by_category"]
    assert set(by) == {"native", "nonnative", "presentation", "q-and-a"} | {
        "native/presentation",
        "nonnative/q-and-a",
    }
    assert by["native"]["utterances"] + by["nonnative"]["utterances"] == summary["utterances"]


def test_summarise_mixed_batch_uses_each_utterances_own_category():
    scores = TextScores()
    scores.append(["a", "b"], references=["x", "x"], hypotheses=["x", "y"], categories=["n", "m"])
    by = scores.summarise()["by_category"]
    assert (by["n"]["wer"], by["m"]["wer"]) == (0.0, 100.0)


def test_summarise_empty_reference_has_no_rate():
    scores = TextScores([Recognised("a", "", "word", "")])
    assert scores.summarise()["wer"] is None


def test_merge_two_ranks_equals_one():
    whole = random_scores(4)
    parts = [TextScores(whole.items[i::2]) for i in range(2)]
    merged = TextScores()
    merged.merge(parts)
    assert merged.summarise() == whole.summarise()


def test_merge_same_utterance_twice_raises():
    part = random_scores(5, num=2)
    with pytest.raises(ValueError, match="decoded twice"):
        TextScores().merge([part, part])


def test_facets_one_level_is_named_once():
    assert facets("clean") == ["clean"]
    assert facets("") == []


def test_alignment_marks_each_edit():
    lines = alignment(Recognised("a", "a b c", "a x c d", ""))
    assert [line.split() for line in lines] == [
        ["REF", "a", "b", "c", "*"],
        ["HYP", "a", "x", "c", "d"],
        ["EDIT", "S", "I"],
    ]


def test_write_alignments_worst_first(tmp_path):
    scores = TextScores([Recognised("good", "a", "a", ""), Recognised("bad", "a b", "c", "")])
    scores.write_alignments(tmp_path / "wer.txt")
    text = (tmp_path / "wer.txt").read_text(encoding="utf-8")
    assert text.index("bad") < text.index("good")
    assert not list(tmp_path.glob("*.tmp"))
