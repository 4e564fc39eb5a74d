"""How much of a mixture's audio comes from each corpus."""

from collections.abc import Mapping

_PARTS = 10**12  # shares are whole numbers of these, so that sums over years of audio are exact


def share_weights(
    samples: Mapping[str, int],
    *,
    weights: Mapping[str, float] | None = None,
    temperature: float | None = None,
) -> dict[str, int]:
    """Return whole numbers in proportion to the audio that each corpus shall give.

    Without weights a corpus of h hours gets h ** (1 / temperature): 1 takes the corpora as they
    are, more raises the small ones, infinity makes all equal. (Used for many languages in one
    model: Arivazhagan et al. 2019, https://arxiv.org/abs/1907.05019.)

    Arguments
    ---------
    samples : Mapping[str, int]
        Audio of one pass over each corpus.
    weights : Mapping[str, float] | None
        Relative share of each corpus in seconds of audio; > 0.
    temperature : float | None
        > 0; 1 where neither is given.

    Returns
    -------
    dict[str, int]
        One weight >= 1 a corpus, in the order of `samples`.

    Raises
    ------
    ValueError
        Names all weights that are missing, unknown or out of range.
    """
    faults = _faults(samples, weights, temperature)
    if faults:
        raise ValueError("mixture: " + "; ".join(faults) + ".")
    if weights is not None:
        wanted = {name: float(weights[name]) for name in samples}
    elif temperature is None or temperature == 1:
        return dict(samples)  # exact: all corpora end a pass together
    else:
        most = max(samples.values())
        wanted = {name: (n / most) ** (1 / temperature) for name, n in samples.items()}
    total = sum(wanted.values())
    return {name: max(1, round(weight / total * _PARTS)) for name, weight in wanted.items()}


def _faults(
    samples: Mapping[str, int], weights: Mapping[str, float] | None, temperature: float | None
) -> list[str]:
    faults = []
    if temperature is not None and not temperature > 0:
        faults.append(f"temperature is {temperature}; expected > 0, or null")
    if weights is None:
        return faults
    if temperature is not None:
        faults.append("both weights and temperature are given; expected one of them")
    faults += [f"no weight is given for {n!r}" for n in samples if n not in weights]
    faults += [
        f"a weight is given for {name!r}, which is none of {', '.join(samples)}"
        for name in weights
        if name not in samples
    ]
    faults += [
        f"the weight of {name!r} is {weight}; expected > 0; leave the corpus out instead"
        for name, weight in weights.items()
        if not 0 < weight < float("inf")
    ]
    return faults
