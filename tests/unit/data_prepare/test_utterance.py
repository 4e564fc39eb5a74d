import pytest

from data_prepare.utterance import KEY_MAX_CHARS, Utterance, safe_key


def test_safe_key_plain_id_stays():
    assert safe_key("84-121123-0001") == "84-121123-0001"


@pytest.mark.parametrize("identifier", ["a/b", "a.b", "a b", "é", "../etc/passwd", "x" * 200, "\n"])
def test_safe_key_any_id_becomes_safe(identifier):
    key = safe_key(identifier)
    assert len(key) <= KEY_MAX_CHARS
    assert key.replace("-", "").replace("_", "").isascii()
    assert key.replace("-", "").replace("_", "").isalnum()


def test_safe_key_different_ids_stay_apart():
    identifiers = ["a/b", "a.b", "a b", "a_b", "x" * 200, "x" * 201]
    assert len({safe_key(identifier) for identifier in identifiers}) == len(identifiers)


def test_safe_key_empty_id_raises():
    with pytest.raises(ValueError, match="id is empty"):
        safe_key("")


def test_utterance_key_is_that_of_its_id():
    utterance = Utterance("a/1", "r.wav", 0.0, None, "hi", "s", "g", "")
    assert utterance.key == safe_key("a/1")
    assert (utterance.language, utterance.split) == ("en", None)
