"""Measure the lexicon-free beam search: seconds for an utterance of 10 s on one core.

    python -m benchmarks.wav2letter_decoding
    python -m benchmarks.wav2letter_decoding --text librispeech.txt --order 15
    python -m benchmarks.wav2letter_decoding --quick

The emissions are made, not heard: a text that the language model was not trained on, spelled in
letters and stretched over the frames, plus noise. `clear` has little of it, `noisy` much, and
`flat` is noise alone: every hypothesis stays in reach of the best one, the worst case for a beam.
Searches: ours with the n-gram automaton (numpy), ours with KenLM (that of flashlight-text), and
flashlight-text's own: `plain`, which ignores the transitions, and `wrapped`, which gets them by way
of a language model in Python. Without `--text` the text is that of the embedded corpus.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.measuring import RESULTS, ROOT, head, median_of, setting, table, write_report
from benchmarks.wav2letter_peers import FlashlightSearch
from data_prepare.synthetic.phrases import SENTENCES
from data_prepare.synthetic.text import draw_company, draw_sentence
from recipes.LibriSpeech.wav2letter.decoding.kenlm_model import KenLMModel
from recipes.LibriSpeech.wav2letter.decoding.lexicon_free import LexiconFreeSearch
from recipes.LibriSpeech.wav2letter.decoding.ngram import NGramModel
from recipes.LibriSpeech.wav2letter.decoding.options import BeamOptions
from recipes.LibriSpeech.wav2letter.preparation.lexicons import letter_line
from recipes.LibriSpeech.wav2letter.preparation.ngram_training import train_ngram
from recipes.LibriSpeech.wav2letter.preparation.texts import clean, read_texts
from recipes.LibriSpeech.wav2letter.tokens import letter_tokens

PACKAGES = ("numpy", "torch", "flashlight-text")
TOKENS = letter_tokens()
FRAMES_A_SECOND = 100
FRAMES_A_LETTER = 6
WEIGHTS = {"lm_weight": 3.25, "word_score": 1.28, "sil_weight": -0.89}  # the paper's
THRESHOLD = 50.0
KENLM_ORDER = 6  # of flashlight-text's KenLM, at most
MARGINS = {"clear": 12.0, "noisy": 4.0, "flat": 0.0}
"""By how much the right letter exceeds the others, in deviations of the noise of 2."""


def sentences(text: Path | None) -> Iterator[str]:
    """Yield the lines of a text, or without end sentences of the embedded corpus."""
    if text is not None:
        yield from read_texts([text])
        return
    rng, roles = np.random.default_rng(0), sorted(SENTENCES)
    while True:
        names = {"company": draw_company(rng), "first": "Jane", "who": "Jane Doe"}
        yield clean(draw_sentence(rng, str(rng.choice(roles)), names=names).words)


def emissions(line: str, num_frames: int, *, margin: float, seed: int) -> Tensor:
    """Return [T, V] scores of a line of letters."""
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.randn(num_frames, len(TOKENS), generator=generator)
    letters = [TOKENS.index("|"), *(TOKENS.index(name) for name in line.split())]
    frames = torch.tensor(letters).repeat_interleave(FRAMES_A_LETTER)[:num_frames]
    x[torch.arange(len(frames)), frames] += margin
    return x


def transitions() -> Tensor:
    """Return [V, V] scores, [to, from]: like those that training begins with, and some noise."""
    generator = torch.Generator().manual_seed(1)
    size = len(TOKENS)
    return 4 * torch.eye(size) + 0.5 * torch.randn(size, size, generator=generator)


def ways(arpa: Path, options: BeamOptions, *, order: int) -> dict[str, Callable[[], Any]]:
    """Return what makes each search."""
    names = TOKENS.names
    found = {
        "ours, numpy": lambda: LexiconFreeSearch(TOKENS, NGramModel(arpa, names), options=options),
        "ours, KenLM": lambda: LexiconFreeSearch(TOKENS, KenLMModel(arpa, names), options=options),
        "flashlight, plain": lambda: FlashlightSearch(TOKENS, arpa, options, wraps=False),
        "flashlight, wrapped": lambda: FlashlightSearch(TOKENS, arpa, options, wraps=True),
    }
    return found if order <= KENLM_ORDER else {"ours, numpy": found["ours, numpy"]}


def measure(args: argparse.Namespace, arpa: Path, lines: Mapping[int, str]) -> list[dict[str, Any]]:
    """Decode one utterance after the other; the first of each way is not counted."""
    rows = []
    num_frames = round(args.seconds * FRAMES_A_SECOND)
    g = transitions()
    for beam in args.beams:
        options = BeamOptions(beam_size=beam, beam_threshold=THRESHOLD, **WEIGHTS)
        for way, make in ways(arpa, options, order=args.order).items():
            search = make()
            for kind, margin in MARGINS.items():
                if way == "flashlight, wrapped" and beam > args.largest_wrapped:
                    continue
                for repeat, line in lines.items():
                    x = emissions(line, num_frames, margin=margin, seed=repeat)
                    spent = _timed(lambda x=x, search=search: search.search(x, g))
                    row = {"way": way, "beam": beam, "kind": kind, "repeat": repeat}
                    rows.append(row | spent)
    return rows


def _timed(decode: Callable[[], Any]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    found = decode()
    cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - wall
    return {"wall_s": wall_s, "cpu_s": cpu_s, "score": float(found[0].score)}


def report(record: Mapping[str, Any]) -> list[str]:
    """Return the lines of the report."""
    rows = record["runs"]
    lines = head("Lexicon-free beam search", record)
    lines += [
        f"Utterances of {record['seconds']:g} s ({FRAMES_A_SECOND} frames a second), "
        f"{len(TOKENS)} tokens, beam threshold {THRESHOLD:g}, lm_weight 3.25 as in the paper. The "
        f"language model: order {record['order']}, {record['num_ngrams']:,} n-grams, made of "
        f"{record['num_lines']:,} lines. Processor seconds of one utterance on one thread: of the "
        "first one, for which the language model has no row yet, and the median of the "
        f"{record['repeats']} after it. `plain` has other scores, as it ignores the transitions.",
        "",
    ]
    cells = []
    for way in dict.fromkeys(row["way"] for row in rows):
        for beam in record["beams"]:
            cell = [way, beam]
            for kind in MARGINS:
                part = [r for r in rows if (r["way"], r["beam"], r["kind"]) == (way, beam, kind)]
                later = median_of([r for r in part if r["repeat"]], "cpu_s")
                cell += [f"{part[0]['cpu_s']:.2f} / {later:.2f}" if later is not None else ""]
            cells.append(cell)
    return lines + table(["search", "beam", *(f"{kind} s" for kind in MARGINS)], cells)


def main(argv: Sequence[str]) -> int:
    """Make the language model, measure and write the report."""
    args = parse(argv)
    torch.set_num_threads(1)
    record = setting("wav2letter_decoding", argv, PACKAGES)
    texts = islice(sentences(args.text), args.lines + 200 * (args.repeats + 1))
    lines = [letter_line(text, TOKENS) for text in texts]
    heard = {
        repeat: " ".join(lines[args.lines + 200 * repeat :][:200])
        for repeat in range(args.repeats + 1)
    }
    arpa = args.work / "letters.arpa"
    train_ngram(lines[: args.lines], arpa, order=args.order, tokens=TOKENS.names)
    num_ngrams = len(NGramModel(arpa, TOKENS.names).ngrams.log10) - 1
    record |= {"num_ngrams": num_ngrams, "num_lines": args.lines, "order": args.order}
    record |= {"beams": args.beams, "seconds": args.seconds, "repeats": args.repeats}
    record["runs"] = measure(args, arpa, heard)
    path = write_report(args.results, "wav2letter_decoding", record, report(record))
    print(path.read_text(encoding="utf-8"))
    return 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--text", type=Path, help="text, one sentence a line; the default: the embedded corpus's")
    add("--lines", type=int, default=4000, help="of the text, for the language model")
    add("--order", type=int, default=6, help="of the language model; above 6: ours, numpy, alone")
    add("--seconds", type=float, default=10.0, help="of an utterance")
    add("--beams", type=int, nargs="+", default=[100, 500, 2000])
    add("--largest_wrapped", type=int, default=100, help="beam of the slowest way, at most")
    add("--repeats", type=int, default=3)
    add("--work", type=Path, default=ROOT / "runs" / "benchmarks" / "wav2letter_decoding")
    add("--results", type=Path, default=RESULTS)
    add("--quick", action="store_true", help="small, one repeat: shows that all works")
    if "--quick" in argv:
        parser.set_defaults(lines=200, order=4, seconds=0.5, repeats=1, beams=[20])
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
