"""Random numbers that belong to an utterance and a pass, whoever asks for them, in any order.

A loader that plans batches and a trainer that augments them must agree on what was drawn, on every
rank and after a resume. So a number is a hash of (utterance id, seed, pass): BLAKE2 of the id,
once, then the finaliser of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom
number generators").
"""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_GOLDEN = 0x9E3779B97F4A7C15
_FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_MASK = (1 << 64) - 1


def text_keys(texts: Iterable[str]) -> NDArray[np.uint64]:
    """Return a 64-bit key of each text, the same on every machine."""
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def keyed_uniform(keys: NDArray[np.uint64], *, seed: int, pass_number: int) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each key.

    Arguments
    ---------
    keys : NDArray[np.uint64]
        Of the utterances.
    seed : int
        Of the run; >= 0.
    pass_number : int
        Pass over the corpus, from 0.

    Returns
    -------
    NDArray
        Of the length of `keys`.
    """
    salt = _mix(np.array([(seed * _GOLDEN) & _MASK], dtype=np.uint64))
    salt = _mix(salt + np.uint64((pass_number + 1) * _GOLDEN & _MASK))
    return ((_mix(keys ^ salt) >> np.uint64(11)) * 2.0**-53).astype(np.float64)


def keyed_percents(
    keys: NDArray[np.uint64], *, bounds: tuple[float, float], seed: int, pass_number: int
) -> NDArray[np.int64]:
    """Return a factor for each key in percent, uniform between two bounds, both included.

    Arguments
    ---------
    keys : NDArray[np.uint64]
        Of the utterances.
    bounds : tuple[float, float]
        Smallest and largest factor.
    seed : int
        Of the run.
    pass_number : int
        Pass over the corpus, from 0.

    Returns
    -------
    NDArray
        Each hundredth has the share of the interval that is rounded to it.
    """
    lowest, highest = bounds
    draws = keyed_uniform(keys, seed=seed, pass_number=pass_number)
    return (100.0 * (lowest + (highest - lowest) * draws) + 0.5).astype(np.int64)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = values + np.uint64(_GOLDEN)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(_FACTORS[0])
    values = (values ^ (values >> np.uint64(27))) * np.uint64(_FACTORS[1])
    return values ^ (values >> np.uint64(31))
