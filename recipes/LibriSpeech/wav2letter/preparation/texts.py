"""Text for language models: streamed, cleaned, shuffled without holding it in memory."""

from __future__ import annotations

import gzip
import random
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from data_prepare.files import atomic_path
from data_prepare.index import ShardIndex

SHUFFLE_SEED = 42
_BUCKET_BYTES = 1 << 26


def read_texts(paths: Sequence[str | Path]) -> Iterator[str]:
    """Yield the lines of text files in lower case with single blanks; empty ones are left out.

    Arguments
    ---------
    paths : Sequence[str | Path]
        Text files, plain or gzipped.

    Yields
    ------
    str
        A line.

    Raises
    ------
    FileNotFoundError
        If a file is absent.
    """
    for path in map(Path, paths):
        if not path.is_file():
            raise FileNotFoundError(
                f"lm text: {path} is absent; expected a text file, one sentence a line; give its "
                "path, or have it downloaded (--download_folder)."
            )
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                if text := clean(line):
                    yield text


def clean(text: str) -> str:
    """Return a text in lower case with single blanks."""
    return " ".join(text.lower().split())


def split_texts(index: ShardIndex) -> Iterator[tuple[str, str]]:
    """Yield id and cleaned text of every utterance of a prepared split."""
    for row in index.texts():
        yield row["id"], clean(row["text"])


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Write lines atomically; return how many."""
    number = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(line + "\n")
            number += 1
    return number


def shuffled(
    lines: Iterable[str], *, seed: int = SHUFFLE_SEED, bucket_bytes: int = _BUCKET_BYTES
) -> Iterator[str]:
    """Yield lines in a random order, every order being equally likely, whatever their number.

    Each line goes to a bucket on disk that is drawn for it; then one bucket after the other is
    shuffled in memory. Equal lines and seed give the equal order.

    Arguments
    ---------
    lines : Iterable[str]
        Without line ends.
    seed : int
        Of the order.
    bucket_bytes : int
        About the size of a bucket; there are at most 256 of them.

    Yields
    ------
    str
        A line.
    """
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="shuffle-") as folder, ExitStack() as stack:
        whole = Path(folder) / "lines"
        num_bytes = 0
        with whole.open("w", encoding="utf-8") as file:
            for line in lines:
                num_bytes += file.write(line + "\n")
        num_buckets = min(256, 1 + num_bytes // bucket_bytes)
        paths = [Path(folder) / f"bucket-{number}" for number in range(num_buckets)]
        buckets = [stack.enter_context(path.open("w", encoding="utf-8")) for path in paths]
        with whole.open(encoding="utf-8") as file:
            for line in file:
                buckets[draw.randrange(num_buckets)].write(line)
        whole.unlink()
        for path, bucket in zip(paths, buckets, strict=True):
            bucket.close()
            held = path.read_text(encoding="utf-8").splitlines()
            path.unlink()
            draw.shuffle(held)
            yield from held


def frequent_words(lines: Iterable[str], *, min_count: int) -> list[str]:
    """Return the words that come at least so often, most frequent first, then by the alphabet.

    Arguments
    ---------
    lines : Iterable[str]
        Cleaned text.
    min_count : int
        Occurrences.

    Returns
    -------
    list[str]
        Words.
    """
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(line.split())
    kept = [(word, count) for word, count in counts.items() if count >= min_count]
    return [word for word, _ in sorted(kept, key=lambda pair: (-pair[1], pair[0]))]
