"""Training a SentencePiece model: which texts, what is written, when it is used again."""

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sentencepiece

from data_prepare.files import atomic_path, file_sha256, write_json
from data_prepare.index import ShardIndex
from data_prepare.storage import Storage

FORMAT = "stampede-tokenizer-1"
MODEL_NAME = "tokenizer.model"
INFO_NAME = "tokenizer.json"

PAD_INDEX, UNK_INDEX, BOS_INDEX, EOS_INDEX = range(4)
SPECIALS: dict[str, dict[str, Any]] = {
    "four": {
        "pad_id": PAD_INDEX,
        "unk_id": UNK_INDEX,
        "bos_id": BOS_INDEX,
        "eos_id": EOS_INDEX,
        # As written: no Unicode folding, so that decoding gives the text back.
        "normalization_rule_name": "identity",
    },
    # MLPerf's: the unknown token is 0, there is no other; Unicode is folded as SentencePiece does.
    "unknown": {"pad_id": -1, "unk_id": 0, "bos_id": -1, "eos_id": -1},
}
"""SentencePiece's options by the special tokens that a model has."""


@dataclass(frozen=True, kw_only=True)
class TokenizerOptions:
    """What a tokenizer depends on besides its texts; see `tokens.train_tokenizer`."""

    model_type: str
    vocab_size: int
    character_coverage: float
    text: str
    max_texts: int | None
    field: str = "text"
    symbols: tuple[str, ...] = ()
    specials: str = "four"

    def stamp(self) -> dict[str, Any]:
        """Return the options as they are noted; those that came later only where they are set."""
        later = {"field": "text", "symbols": (), "specials": "four"}
        values = asdict(self)
        kept = {n: v for n, v in values.items() if n not in later or v != later[n]}
        return {n: list(v) if isinstance(v, tuple) else v for n, v in kept.items()}

    def check(self) -> None:
        """Raise a ValueError that names all options out of range."""
        rules = {
            f"model_type is {self.model_type!r}; expected bpe, unigram or char": (
                self.model_type in ("bpe", "unigram", "char")
            ),
            f"specials is {self.specials!r}; expected four or unknown": self.specials in SPECIALS,
            f"vocab_size is {self.vocab_size}; expected more than the special tokens": (
                self.vocab_size > (1 if self.specials == "unknown" else 4)
            ),
            f"character_coverage is {self.character_coverage}; expected (0, 1]": (
                0 < self.character_coverage <= 1
            ),
            f"text is {self.text!r}; expected raw, upper or lower": self.text in _CASES,
            f"max_texts is {self.max_texts}; expected >= 1 or null": (
                self.max_texts is None or self.max_texts >= 1
            ),
            f"symbols is {list(self.symbols)}; expected different words without blanks": (
                len(set(self.symbols)) == len(self.symbols)
                and all(symbol and not any(map(str.isspace, symbol)) for symbol in self.symbols)
            ),
        }
        faults = [fault for fault, holds in rules.items() if not holds]
        if faults:
            raise ValueError("tokenizer: " + "; ".join(faults) + ".")


_CASES: dict[str, Callable[[str], str]] = {"raw": str, "upper": str.upper, "lower": str.lower}


def normalise(text: str, form: str) -> str:
    """Return the text as it is trained on and encoded: single spaces, and the case asked for."""
    return _CASES[form](" ".join(text.split()))


def read_info(folder: Path) -> dict[str, Any] | None:
    """Return the content of tokenizer.json, None if there is none."""
    path = folder / INFO_NAME
    if not path.is_file():
        return None
    info = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise ValueError(
            f"tokenizer: {path} is not of format {FORMAT!r}; expected what tokenizer_train.py "
            "writes; train it again in another folder."
        )
    return info


def train(
    folders: Sequence[str | Path | Storage],
    out_folder: Path,
    *,
    options: TokenizerOptions,
    overwrite: bool,
) -> None:
    """Train and write a tokenizer, unless an equal one is there; see `tokens.train_tokenizer`."""
    options.check()
    if not folders:
        raise ValueError("tokenizer: folders is empty; expected at least one prepared split.")
    indexes = [ShardIndex.load_texts(folder) for folder in folders]
    info = None if overwrite else read_info(out_folder)
    if info is not None:
        differences = _differences(info, indexes, options)
        if differences:
            raise ValueError(
                f"tokenizer {out_folder}: was made otherwise: {'; '.join(differences)}; expected "
                "the same texts and options; give another folder, or overwrite."
            )
        return
    model, text_stamp = _fit(indexes, options)
    _write(out_folder, model, {"options": options.stamp(), "text": text_stamp})


def _write(out_folder: Path, model: bytes, info: dict[str, Any]) -> None:
    out_folder.mkdir(parents=True, exist_ok=True)
    # Without its tokenizer.json a model counts as not there: a kill leaves nothing that misleads.
    (out_folder / INFO_NAME).unlink(missing_ok=True)
    with atomic_path(out_folder / MODEL_NAME) as path:
        path.write_bytes(model)
    stamp = {
        "vocab_size": info["options"]["vocab_size"],
        "model_sha256": file_sha256(out_folder / MODEL_NAME),
    }
    write_json(out_folder / INFO_NAME, {"format": FORMAT, **stamp, **info})


def _differences(
    info: dict[str, Any], indexes: list[ShardIndex], options: TokenizerOptions
) -> list[str]:
    """Return what differs between a tokenizer that is there and the one asked for."""
    now, then = options.stamp(), info["options"]
    found = [
        f"{name} is {now.get(name)!r}, was {then.get(name)!r}"
        for name in sorted(now.keys() | then.keys())
        if now.get(name) != then.get(name)
    ]
    text = info["text"]
    # Equal indexes have equal texts; only otherwise all texts are read again.
    if not found and text["indexes"] != [index.checksum for index in indexes]:
        digest = hashlib.sha256()
        num_texts = sum(1 for _ in _digested(_texts(indexes, options), digest))
        if digest.hexdigest() != text["sha256"]:
            found.append(
                f"the texts differ ({num_texts} with SHA-256 {digest.hexdigest()[:12]}, were "
                f"{text['num_texts']} with {text['sha256'][:12]})"
            )
    return found


def _texts(indexes: list[ShardIndex], options: TokenizerOptions) -> Iterator[str]:
    """Yield the texts in order, evenly thinned to `max_texts`."""
    total = sum(index.num_utterances for index in indexes)
    wanted = min(total, options.max_texts or total)
    rows = (row for index in indexes for row in index.texts())
    for number, row in enumerate(rows):
        if number * wanted // total != (number + 1) * wanted // total:
            text = normalise(field_of(row, options.field), options.text)
            if text:
                yield text


def field_of(row: dict[str, Any], name: str) -> str:
    """Return a text of an utterance: one of its own fields, or of its notes.

    Arguments
    ---------
    row : dict[str, Any]
        As in utterances.jsonl, or an example of the loader.
    name : str
        Such as "text", or a note.

    Returns
    -------
    str
        The text.

    Raises
    ------
    ValueError
        If the utterance has no such text.
    """
    notes = row.get("notes", {})
    value = row.get(name, notes.get(name))
    if not isinstance(value, str):
        raise ValueError(
            f"tokens: utterance {row.get('id')} has {value!r} as {name!r}; expected a text; its "
            f"notes are {sorted(notes)}; name one of them, or prepare the corpus with it."
        )
    return value


def _digested(texts: Iterator[str], digest: Any) -> Iterator[str]:
    for text in texts:
        digest.update(text.encode() + b"\n")
        yield text


def _fit(indexes: list[ShardIndex], options: TokenizerOptions) -> tuple[bytes, dict[str, Any]]:
    """Return the model's bytes and the stamp of the texts."""
    digest = hashlib.sha256()
    data, num_texts = train_model(_digested(_texts(indexes, options), digest), options)
    stamp = {
        "sha256": digest.hexdigest(),
        "num_texts": num_texts,
        "indexes": [index.checksum for index in indexes],
    }
    return data, stamp


def train_model(texts: Iterable[str], options: TokenizerOptions) -> tuple[bytes, int]:
    """Train a SentencePiece model; return its bytes and the number of texts.

    Arguments
    ---------
    texts : Iterable[str]
        As `normalise` gives them.
    options : TokenizerOptions
        `field` and `max_texts` have been the caller's matter.

    Returns
    -------
    tuple[bytes, int]
        Equal for equal texts, on every machine.

    Raises
    ------
    ValueError
        If the vocabulary size is impossible for the texts.
    """
    num_texts = 0

    def counted() -> Iterator[str]:
        nonlocal num_texts
        for text in texts:
            num_texts += 1
            yield text

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=counted(),
            model_writer=model,
            model_type=options.model_type,
            vocab_size=options.vocab_size,
            character_coverage=options.character_coverage,
            **SPECIALS[options.specials],
            user_defined_symbols=list(options.symbols),
            max_sentence_length=1 << 20,
            # One thread: sums in one order, hence equal bytes on every machine.
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _size_error(error, options, num_texts) from error
    data = model.getvalue()
    size = sentencepiece.SentencePieceProcessor(model_proto=data).get_piece_size()
    if size != options.vocab_size:
        raise _impossible(options, num_texts, f"at most {size}")
    return data, num_texts


def _size_error(error: RuntimeError, options: TokenizerOptions, num_texts: int) -> Exception:
    """Return a readable error for what SentencePiece says of the vocabulary size."""
    if most := re.search(r"value <= (\d+)", str(error)):
        return _impossible(options, num_texts, f"at most {most[1]}")
    if least := re.search(r"required_chars\. \d+ vs (\d+)", str(error)):
        return _impossible(
            options, num_texts, f"at least {least[1]} (its characters), or less character_coverage"
        )
    return RuntimeError(f"tokenizer: SentencePiece failed on {num_texts} texts: {error}")


def _impossible(options: TokenizerOptions, num_texts: int, bound: str) -> ValueError:
    return ValueError(
        f"tokenizer: vocab_size {options.vocab_size} is impossible for {num_texts} texts and "
        f"model_type {options.model_type}; expected {bound}; change vocab_size."
    )
