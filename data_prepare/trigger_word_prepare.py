"""Mix clips for trigger-word detection: a manifest and FLAC files, for `data_prepare.manifest`.

    python -m data_prepare.trigger_word_prepare work/trigger_words/clips
    python -m data_prepare.trigger_word_prepare work/clips --words_folder my/words --rate_hz 16000
    python -m data_prepare.trigger_word_prepare work/clips --manifest my/manifest.jsonl \
        --trigger_where task=wakeword keyword=athena --background_where task=background-noise

Words are spoken by eSpeak NG, or are recordings of yours: folders activates, negatives and
backgrounds, or records of a manifest. They are divided into splits before anything is mixed. A clip
depends on seed, split and its number alone. clips.json, with all options, is written last; a run
that was stopped goes on where it was.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prepare.command_line import run_command
from data_prepare.files import atomic_path, canonical_json, write_json
from data_prepare.prepared import clear_work, locked
from data_prepare.trigger_word.clips import ClipMaker, ClipOptions
from data_prepare.trigger_word.made import (
    OPTIONS_NAME,
    SPOKEN_FOLDER,
    figures_of,
    is_made,
    make_room,
)
from data_prepare.trigger_word.spoken_words import NEGATIVES, speak_words
from data_prepare.trigger_word.words import (
    SPLITS,
    ManifestRoles,
    Word,
    divide,
    fingerprint_words,
    words_of_folder,
    words_of_manifest,
)
from data_prepare.trigger_word.writing import mix_clips

MANIFEST_NAME = "manifest.jsonl"
_WHERE = "trigger_word_prepare"


def make_clips(  # noqa: PLR0913 - the options of the corpus, all by keyword
    out_folder: str | Path,
    *,
    words_folder: str | None = None,
    manifest: str | None = None,
    trigger_where: dict[str, str] | None = None,
    negative_where: dict[str, str] | None = None,
    background_where: dict[str, str] | None = None,
    test_where: dict[str, str] | None = None,
    valid_share: float = 0.15,
    test_share: float = 0.15,
    trigger: str = "computer",
    negatives: tuple[str, ...] = NEGATIVES,
    num_voices: dict[str, int] | None = None,
    num_clips: dict[str, int] | None = None,
    rate_hz: int = 44100,
    clip_s: float = 10.0,
    max_triggers: int = 4,
    max_negatives: int = 2,
    background_db: float = -20.0,
    snr_db: tuple[float, ...] = (),
    gain_db: tuple[float, ...] = (0.0, 0.0),
    target_dbfs: float | None = -20.0,
    trim_db: float | None = 30.0,
    words_among_noise: bool = False,
    word_dbfs: float | None = None,
    train_speed: tuple[float, ...] = (),
    room_s: tuple[float, ...] = (),
    placement_tries: int = 20,
    seed: int = 0,
    num_jobs: int = 1,
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Mix the clips of all splits, or find them made.

    Arguments
    ---------
    out_folder : str | Path
        Where clips and manifest go.
    words_folder : str | None
        Folder of recordings: activates, negatives, backgrounds, or <split>/activates and so on.
    manifest : str | None
        Manifest of recordings. Without it and `words_folder` words are spoken.
    trigger_where : dict[str, str] | None
        Records of the manifest that are triggers, as `task=wakeword keyword=athena`. See
        `data_prepare.trigger_word.words.ManifestRoles` on this and the next three.
    negative_where : dict[str, str] | None
        Records that are other words; none given: all that are neither trigger nor noise.
    background_where : dict[str, str] | None
        Records that are noise.
    test_where : dict[str, str] | None
        Words for the split test; none given: those whose split is test.
    valid_share : float
        Share of the recordings for the split valid, where they do not say their split.
    test_share : float
        The same for the split test.
    trigger : str
        The spoken trigger.
    negatives : tuple[str, ...]
        The other spoken words.
    num_voices : dict[str, int] | None
        Voices of each split; None: train=48 valid=8 test=12.
    num_clips : dict[str, int] | None
        Clips of each split; None: train=1000 valid=100 test=200.
    rate_hz : int
        Sampling rate.
    clip_s : float
        Length of a clip.
    max_triggers : int
        A clip gets 0 to so many triggers, each number alike.
    max_negatives : int
        The same for other words.
    background_db : float
        Change of the background's level.
    snr_db : tuple[float, ...]
        Low and high level of the words over the background, instead of `background_db`.
    gain_db : tuple[float, ...]
        Low and high change of level of each word.
    target_dbfs : float | None
        Level of the whole clip, dB of full scale.
    trim_db : float | None
        Quiet of so many dB below its loudest part is cut off before and after a word.
    words_among_noise : bool
        Find the words in recordings that have noise before and after them; their noise stays.
    word_dbfs : float | None
        Level of each word, dB of full scale, before `gain_db`; None: as recorded.
    train_speed : tuple[float, ...]
        Low and high factor of speed of each word in the split train; none: as recorded.
    room_s : tuple[float, ...]
        Low and high decay time of a room in which a clip's words sound, s; none: no room.
    placement_tries : int
        Draws of a place for a word before it is left out and counted.
    seed : int
        Decides voices, splits and clips.
    num_jobs : int
        Threads that mix.
    overwrite : bool
        Delete clips made here before with other options.
    progress : bool
        Show progress bars.

    Returns
    -------
    Path
        The manifest: id, path, text (empty), split, duration, `trigger_ends_ms`,
        `negative_spans_ms`, background, `snr_db` and more of each clip.

    Raises
    ------
    FileNotFoundError
        If words are missing.
    ValueError
        If options are wrong, a split lacks a role, or the folder holds clips of other options or
        of recordings that have changed since.
    RuntimeError
        If the speech library cannot be used, or another process works in the folder.
    """
    options = ClipOptions(
        rate_hz=rate_hz,
        clip_s=clip_s,
        max_triggers=max_triggers,
        max_negatives=max_negatives,
        background_db=background_db,
        snr_db=_pair(snr_db),
        gain_db=_pair(gain_db) or (0.0, 0.0),
        target_dbfs=target_dbfs,
        trim_db=trim_db,
        words_among_noise=words_among_noise,
        word_dbfs=word_dbfs,
        train_speed=_pair(train_speed),
        room_s=_pair(room_s),
        placement_tries=placement_tries,
    )
    shares = {"valid": valid_share, "test": test_share}
    counts = num_clips or {"train": 1000, "valid": 100, "test": 200}
    spoken: dict[str, Any] = {
        "trigger": trigger,
        "negatives": list(negatives),
        "voices": num_voices or {"train": 48, "valid": 8, "test": 12},
    }
    where = {
        "trigger": trigger_where or {},
        "negative": negative_where or {},
        "background": background_where or {},
        "test": test_where or {},
    }
    _check(counts, shares, sources=(words_folder, manifest), where=where)
    is_spoken = not (manifest or words_folder)
    identity = {
        "words_folder": words_folder,
        "manifest": manifest,
        "where": where if manifest else None,
        "spoken": spoken if is_spoken else None,
        "shares": shares,
        "num_clips": dict(counts),
        "clips": options.record(),
        "seed": seed,
    }

    def recorded() -> list[Word]:
        if manifest is not None:
            return words_of_manifest(Path(manifest), ManifestRoles(**where))
        return words_of_folder(Path(words_folder or ""))

    folder, source = Path(out_folder), Path(manifest or words_folder or "")
    is_there = not is_spoken and source.exists()
    identity["fingerprint"] = fingerprint_words(recorded(), source) if is_there else None
    if is_made(folder, identity, overwrite=overwrite):
        return folder / MANIFEST_NAME
    with locked(folder) as work:
        if is_made(folder, identity, overwrite=overwrite):  # by another process, meanwhile
            return folder / MANIFEST_NAME
        words = [] if is_spoken else recorded()
        make_room(folder, work, identity)
        if is_spoken:
            place = folder / SPOKEN_FOLDER
            speak_words(place, work, **spoken, rate_hz=rate_hz, seed=seed, progress=progress)
            words = words_of_folder(place)
        words = divide(words, shares={s: shares[s] for s in shares if s in counts}, seed=seed)
        makers = {
            split: ClipMaker(
                [w for w in words if w.split == split], options, split=split, seed=seed
            )
            for split in counts
        }
        records = mix_clips(folder, work, makers, counts, num_jobs=num_jobs, progress=progress)
        with atomic_path(folder / MANIFEST_NAME) as path:
            path.write_bytes(b"".join(canonical_json(record) + b"\n" for record in records))
        write_json(folder / OPTIONS_NAME, identity | {"made": figures_of(records, words)})
        clear_work(work)
    return folder / MANIFEST_NAME


def _pair(values: Sequence[float]) -> tuple[float, float] | None:
    if len(values) not in (0, 2):
        raise ValueError(f"{_WHERE}: {list(values)} is no range; expected low and high.")
    return (float(values[0]), float(values[1])) if len(values) else None


def _check(
    counts: Mapping[str, int],
    shares: Mapping[str, float],
    *,
    sources: Sequence[str | None],
    where: Mapping[str, Mapping[str, str]],
) -> None:
    faults = [f"num_clips names {split!r}" for split in counts if split not in SPLITS]
    faults += [f"num_clips is {count} for {split}" for split, count in counts.items() if count < 1]
    faults += ["num_clips has no train"] if "train" not in counts else []
    if min(shares.values()) <= 0 or sum(shares.values()) >= 1:
        faults.append(f"shares are {dict(shares)}, expected > 0 and less than 1 together")
    if all(sources):
        faults.append("words_folder and manifest are both given")
    if sources[1] is not None:
        faults += [
            f"{role}_where is empty" for role in ("trigger", "background") if not where[role]
        ]
    if faults:
        raise ValueError(f"{_WHERE}: {'; '.join(faults)}; correct these options.")


if __name__ == "__main__":
    from data_prepare import trigger_word_prepare as module  # under its full name, as elsewhere

    sys.exit(run_command(module.make_clips, sys.argv[1:]))
