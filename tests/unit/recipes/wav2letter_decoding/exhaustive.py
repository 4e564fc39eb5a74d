"""Plain searches that the fast ones are compared with: all paths, or one hypothesis at a time."""

from functools import cache
from itertools import product
from typing import Any

import numpy as np

from recipes.LibriSpeech.wav2letter.decoding.language_model import LanguageModel
from recipes.LibriSpeech.wav2letter.decoding.options import BeamOptions


def one(value: int) -> np.ndarray:
    return np.array([value], np.int64)


def lm_score(model: LanguageModel, tokens: list[int]) -> float:
    """Score of a sequence of tokens and its end, one call a token."""
    state, total = one(model.start()), 0.0
    for token in tokens:
        total += float(model.scores(state)[0, token])
        state = model.advance(state, one(token))
    return total + float(model.finish(state)[0])


def path_score(
    path: tuple[int, ...], x: Any, g: Any, *, lm: Any, options: BeamOptions, sil: int
) -> float:
    """Score of a path by the formula in `lexicon_free`; `lm` scores a sequence of tokens."""
    before = (sil, *path[:-1])
    total = sum(float(x[t, token]) for t, token in enumerate(path))
    total += sum(float(g[path[t], path[t - 1]]) for t in range(1, len(path)))
    total += options.sil_weight * path.count(sil)
    entered = [token for token, last in zip(path, before, strict=True) if token != last]
    total += options.word_score * entered.count(sil)
    return total + options.lm_weight * lm(tuple(entered))


def best_path(
    x: Any, g: Any, *, model: LanguageModel, options: BeamOptions, sil: int
) -> tuple[float, tuple[int, ...]]:
    """The best of all paths."""
    lm = cache(lambda tokens: lm_score(model, list(tokens)))
    paths = product(range(x.shape[1]), repeat=len(x))
    return max((path_score(p, x, g, lm=lm, options=options, sil=sil), p) for p in paths)


def plain_beam(
    x: Any, g: Any, *, model: LanguageModel, options: BeamOptions, sil: int
) -> tuple[float, list[int]]:
    """The beam search written down hypothesis by hypothesis."""
    beam = {(model.start(), sil): (0.0, [])}
    for t, frame in enumerate(x.tolist()):
        found: dict[tuple[int, int], tuple[float, list[int]]] = {}
        for (state, last), (score, path) in beam.items():
            row = model.scores(one(state))[0]
            for token, emission in enumerate(frame):
                total, after = score + emission, state
                total += float(g[token, last]) if t else 0.0
                total += options.sil_weight if token == sil else 0.0
                if token != last:
                    total += options.word_score if token == sil else 0.0
                    total += options.lm_weight * float(row[token])
                    after = int(model.advance(one(state), one(token))[0])
                key = (after, token)
                if key not in found or total > found[key][0]:
                    found[key] = (total, [*path, token])
        best = max(score for score, _ in found.values())
        kept = sorted(found.items(), key=lambda item: -item[1][0])[: options.beam_size]
        beam = {k: v for k, v in kept if v[0] >= best - options.beam_threshold}
    finals = [
        (score + options.lm_weight * float(model.finish(one(state))[0]), path)
        for (state, _), (score, path) in beam.items()
    ]
    return max(finals)
