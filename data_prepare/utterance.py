"""One utterance of a corpus, and the name under which it is stored in a shard."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KEY_MAX_CHARS = 90
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_DIGEST_CHARS = 12


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of a recording with the words that are spoken in it.

    Arguments
    ---------
    id : str
        Unique in the corpus; any characters.
    recording : str
        Path of the audio file.
    start_s : float
        Start in the recording, seconds; 0.0 is the recording's first sample.
    end_s : float | None
        End in the recording, seconds; None is the recording's end.
    text : str
        What is said, as the corpus writes it.
    speaker : str
        Who speaks; equal names are the same person in the whole corpus.
    group : str
        Call, chapter or session; a split by group never cuts it.
    category : str
        Facets joined by "/", such as "native/q-and-a"; "" for none.
    language : str
        Language code, such as "en".
    split : str | None
        Split that the corpus itself gives, or None.
    notes : Mapping[str, Any]
        What else is known of it, such as times of events: plain JSON values by name. They go
        into its shard and come back as `batch.notes`.
    """

    id: str
    recording: str
    start_s: float
    end_s: float | None
    text: str
    speaker: str
    group: str
    category: str
    language: str = "en"
    split: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def key(self) -> str:
        """Base name of the utterance's two members in a shard, see `safe_key`."""
        return safe_key(self.id)


def safe_key(identifier: str) -> str:
    """Turn an id into a TAR member's base name: [A-Za-z0-9_-] only, at most 90 characters.

    An id that is safe already stays as it is. Any other gets "_" for each unsafe character and
    ends with 12 hexadecimal digits of its SHA-256, so that "a/b" and "a.b" stay apart.

    Arguments
    ---------
    identifier : str
        Id of the utterance; not empty.

    Returns
    -------
    str
        The key.

    Raises
    ------
    ValueError
        If the id is empty.
    """
    if not identifier:
        raise ValueError("utterance: the id is empty; expected a unique name; give every row one.")
    safe = _UNSAFE.sub("_", identifier)
    if safe == identifier and len(safe) <= KEY_MAX_CHARS:
        return safe
    digest = hashlib.sha256(identifier.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{safe[: KEY_MAX_CHARS - _DIGEST_CHARS - 1]}-{digest[:_DIGEST_CHARS]}"
