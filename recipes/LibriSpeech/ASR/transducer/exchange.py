"""SentencePiece model and tokenised manifests in the benchmark's form, from its manifests.

    python -m recipes.LibriSpeech.ASR.transducer.exchange /corpora/LibriSpeech work/exchange

`librispeech1023.model` and `.vocab` are trained on the transcripts of the training manifests that
`python -m data_prepare.librispeech_exchange` has written. For each manifest a list of `fname`,
`original_duration`, `tokenized_transcript` follows as JSON, and as a pickle, which some programs of
the benchmark read; nothing here ever reads a pickle.
"""

import pickle
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sentencepiece

from data_prepare.command_line import run_command
from data_prepare.files import atomic_path, write_json
from data_prepare.librispeech import SUBSETS
from data_prepare.librispeech_exchange import TRAIN_SUBSETS, manifest_name, read_manifest
from recipes.common.tokenizer_training import train_model
from recipes.LibriSpeech.ASR.transducer.tokenizer import UNKNOWN, benchmark_options

_WHERE = "exchange"


def write_tokens(
    data_folder: str | Path,
    out_folder: str | Path,
    *,
    vocab_size: int = 1023,
    pickles: bool = False,
) -> Path:
    """Train the tokenizer on the training manifests, and tokenise all that are there.

    Arguments
    ---------
    data_folder : str | Path
        Folder with the manifests.
    out_folder : str | Path
        Gets sentencepieces/ and metadata/, as the benchmark names them.
    vocab_size : int
        Pieces.
    pickles : bool
        Write pickles too.

    Returns
    -------
    Path
        The model.

    Raises
    ------
    FileNotFoundError
        If there is no training manifest.
    """
    root, out = Path(data_folder), Path(out_folder)
    manifests = [root / manifest_name(subset) for subset in SUBSETS]
    there = [path for path in manifests if path.is_file()]
    train = [path for path in there if path.name in map(manifest_name, TRAIN_SUBSETS)]
    if not train:
        raise FileNotFoundError(
            f"{_WHERE}: {root} holds none of {', '.join(map(manifest_name, TRAIN_SUBSETS))}; "
            "expected manifests; write them: python -m data_prepare.librispeech_exchange"
        )
    path = write_model(train, out / "sentencepieces", vocab_size=vocab_size)
    processor = sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
    for manifest in there:
        rows = tokenised(manifest, processor)
        name = manifest.name.removesuffix(".json") + "-tokenized"
        (out / "metadata").mkdir(parents=True, exist_ok=True)
        write_json(out / "metadata" / f"{name}.json", rows)
        if pickles:
            with atomic_path(out / "metadata" / f"{name}.pkl") as temporary:
                temporary.write_bytes(pickle.dumps(rows, protocol=4))
    return path


def write_model(manifests: Sequence[Path], folder: Path, *, vocab_size: int) -> Path:
    """Write librispeech<size>.model and .vocab, trained on some manifests; return the model."""
    model, _ = train_model(_texts(manifests), benchmark_options(vocab_size))
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    lines = [
        f"{processor.id_to_piece(number)}\t{processor.get_score(number):g}\n"
        for number in range(vocab_size)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"librispeech{vocab_size}.model"
    with atomic_path(path) as temporary:
        temporary.write_bytes(model)
    with atomic_path(path.with_suffix(".vocab")) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")
    return path


def _texts(manifests: Sequence[Path]) -> Iterator[str]:
    for path in manifests:
        yield from (row["transcript"] for row in read_manifest(path))


def tokenised(manifest: Path, processor: Any) -> list[dict[str, Any]]:
    """Return the tokenised form of a manifest.

    Arguments
    ---------
    manifest : Path
        Of the benchmark's form.
    processor : Any
        SentencePiece's.

    Returns
    -------
    list[dict[str, Any]]
        One entry an utterance.

    Raises
    ------
    ValueError
        If training text has an unknown piece: the tokenizer is of other texts.
    """
    rows = []
    for row in read_manifest(manifest):
        tokens = processor.encode(row["transcript"])
        if UNKNOWN in tokens and "-train-" in manifest.name:
            raise ValueError(
                f"{_WHERE}: {row['fname']} of {manifest.name} has an unknown piece; expected a "
                "tokenizer that knows its training text; train it again."
            )
        rows.append(
            {
                "fname": row["fname"],
                "original_duration": row["duration_s"],
                "tokenized_transcript": tokens,
            }
        )
    return rows


if __name__ == "__main__":
    from recipes.LibriSpeech.ASR.transducer import exchange as module

    sys.exit(run_command(module.write_tokens, sys.argv[1:]))
