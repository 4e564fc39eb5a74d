"""Two vocabularies, one for transcripts (CTC) and one for translations, and the forced tag.

A tag says in which language, or of which origin, a translation shall be. It is a token of its own,
and its word is taken from an utterance's field or note, such as ``language`` or ``origin``. Where
the tag stands:

- ``start``: it is the start, [tag, w_1, ...], and is never predicted;
- ``prefix``: it follows the start, [start, tag, w_1, ...], as in fairseq, and the loss leaves out
  the first place (``--ignore-prefix-size 1``). The two differ by that leading place alone.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from data_prepare.storage import Storage
from recipes.common.tokenizer_training import field_of
from recipes.common.tokens import Tokenizer, train_tokenizer

TagForm = Literal["start", "prefix"]


def tag_symbol(word: str) -> str:
    """Return the token of a tag, as FBK's and fairseq's data write it."""
    return f"<lang:{word}>"


def train_pair(
    folders: Sequence[str | Path | Storage],
    out_folder: str | Path,
    *,
    source_size: int,
    target_size: int,
    model_type: Literal["bpe", "unigram", "char"] = "unigram",
    character_coverage: float = 1.0,
    tags: Sequence[str] = (),
    overwrite: bool = False,
) -> Path:
    """Train the tokenizers of transcripts and translations, or find them trained already.

    Arguments
    ---------
    folders : Sequence[str | Path | Storage]
        Folders of splits whose utterances have the note ``source``.
    out_folder : str | Path
        Gets the folders source and target.
    source_size : int
        Tokens of transcripts, the four special ones included.
    target_size : int
        Tokens of translations, special ones and tags included.
    model_type : Literal["bpe", "unigram", "char"]
        "bpe", "unigram" or "char".
    character_coverage : float
        Share of the texts' characters that get tokens.
    tags : Sequence[str]
        Words of the tags, such as [de, fr].
    overwrite : bool
        Replace tokenizers that were made of other texts or options.

    Returns
    -------
    Path
        The out_folder.
    """
    folder = Path(out_folder)
    sides: dict[str, dict[str, Any]] = {
        "source": {"vocab_size": source_size, "field": "source"},
        "target": {"vocab_size": target_size, "symbols": [tag_symbol(tag) for tag in tags]},
    }
    for name, options in sides.items():
        train_tokenizer(
            folders,
            folder / name,
            model_type=model_type,
            character_coverage=character_coverage,
            overwrite=overwrite,
            **options,
        )
    return folder


class TokenizerPair:
    """The tokenizers of transcripts and translations; pickles as its folders.

    Arguments
    ---------
    folder : str | Path
        Where `train_pair` wrote to.
    source_size : int
        Tokens of transcripts that the model expects; the CTC blank comes after them.
    target_size : int
        Tokens of translations that the model expects.
    tag : str | None
        Field or note of an utterance that names its tag; None: translations start with the
        start token.
    tags : Sequence[str]
        Words that it may be.
    tag_form : TagForm
        See the module.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        source_size: int,
        target_size: int,
        tag: str | None = None,
        tags: Sequence[str] = (),
        tag_form: TagForm = "start",
    ) -> None:
        if tag_form not in ("start", "prefix") or (tag is not None and not tags):
            raise ValueError(
                f"tokens: tag is {tag!r}, tags {list(tags)}, tag_form {tag_form!r}; expected the "
                "words that the tag may be, and the form start or prefix."
            )
        folder = Path(folder)
        self.source = Tokenizer(folder / "source", vocab_size=source_size)
        self.target = Tokenizer(folder / "target", vocab_size=target_size)
        self.tag, self.tags, self.tag_form = tag, tuple(tags), tag_form
        first_index = Tokenizer.eos_index + 1  # tags follow the special tokens
        self._tag_indexes = {word: first_index + place for place, word in enumerate(self.tags)}

    def decode(self, ids: Iterable[Iterable[int]]) -> list[str]:
        """Return the translations of token lists, without tags and special tokens."""
        tags = set(self._tag_indexes.values())
        return self.target.decode([i for i in map(int, row) if i not in tags] for row in ids)

    def prefix_of(self, example: dict[str, Any]) -> list[int]:
        """Return the tokens that the decoder of an utterance is given first.

        Arguments
        ---------
        example : dict[str, Any]
            Fields and notes of the utterance.

        Returns
        -------
        list[int]
            The start, the tag, or both.

        Raises
        ------
        ValueError
            If its tag is none of `tags`.
        """
        if self.tag is None:
            return [Tokenizer.bos_index]
        word = field_of(example, self.tag)
        if word not in self._tag_indexes:
            raise ValueError(
                f"tokens: utterance {example['id']} has the tag {word!r} ({self.tag}); expected "
                f"one of {list(self.tags)}; add it to tags and train tokenizer and model anew."
            )
        index = self._tag_indexes[word]
        return [index] if self.tag_form == "start" else [Tokenizer.bos_index, index]


class PairEncoder:
    """Transform for the loader: adds the tokens of transcript and translation.

    All are int64: `source_tokens` [U'] for CTC; `prefix` [P] that a search is given; `tokens_bos`
    [P + U], the prefix first; `tokens_eos` [P + U], the end last. The utterance without an id that
    stands for a batch of which nothing could be read has neither transcript nor tag.

    Arguments
    ---------
    tokenizer : TokenizerPair
        Encodes the utterance's note ``source`` and its ``text``.
    """

    def __init__(self, tokenizer: TokenizerPair):
        self.tokenizer = tokenizer

    def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
        """Return the utterance's dict with its tokens."""
        pair = self.tokenizer
        is_silence = not example["id"]
        prefix = [Tokenizer.bos_index] if is_silence else pair.prefix_of(example)
        source = [] if is_silence else pair.source.encode(field_of(example, "source"))
        words = [*prefix, *pair.target.encode(example["text"]), Tokenizer.eos_index]
        ids = torch.tensor(words, dtype=torch.int64)
        return {
            **example,
            "source_tokens": torch.tensor(source, dtype=torch.int64),
            "prefix": torch.tensor(prefix, dtype=torch.int64),
            "tokens_bos": ids[:-1],
            "tokens_eos": ids[1:],
        }
