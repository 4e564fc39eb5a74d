"""Prepare MuST-C: English talks, cut into sentences, with their transcripts and translations.

Two trees are read: the official ``en-<language>/data/<split>/{wav,txt}``, and the flat one of
``<split>.yaml``, ``<split>.en``, ``<split>.<language>`` beside one folder ``wav``. The text of an
utterance is its translation; the transcript, in the form that CTC is trained on, is its note
``source``. Training splits (``train...``) lose what is too short, too long or not translated, and
on request what is translated at an odd length; other splits are kept whole: a segment is cut where
its recording ends, and one that cannot be taken is an error.
Source: M. Di Gangi et al., "MuST-C: a Multilingual Speech Translation Corpus", NAACL 2019.

    python -m data_prepare.mustc /corpora/MuST-C/en-de work/mustc_de --num_jobs 8 \
        --min_char_ratio 0.8 --max_char_ratio 1.6
"""

import logging
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_prepare.command_line import run_command
from data_prepare.corpus_plan import Division
from data_prepare.engine import prepare_corpus
from data_prepare.mustc_source import (
    SOURCE_LANGUAGE,
    WHERE,
    MustCSource,
    PairRules,
    SplitFiles,
    read_talks,
)
from data_prepare.options import CommonOptions, make_options, takes_options
from data_prepare.prepared import PreparedCorpus, find_prepared
from data_prepare.scan import filtered
from data_prepare.translation_text import SourceForm, ratio_histogram, source_text

logger = logging.getLogger(__name__)

_SPLIT_NAMES = {"dev": "valid", "tst-COMMON": "test"}
_UNBOUNDED_CHARS = 1e9
_MAX_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class MustCOptions(CommonOptions):
    """Options of `prepare_mustc`.

    Arguments
    ---------
    language : str | None
        Of the translations, such as de; the only one that is there if not given.
    splits : tuple[str, ...]
        Splits to take, by their names on disk; with none given, all that are there.
    rename_splits : dict[str, str]
        Other names for splits.
    source_form : SourceForm
        Form of the transcripts: raw, fbk (as in FBK's published systems) or fixed (that, with its
        faults mended); see `data_prepare.translation_text`.
    origin : str
        Noted with each utterance as `origin` unless empty: who translated, such as human or mt.
    min_frames : int
        Shortest training utterance, in frames of 10 ms.
    max_frames : int
        Longest training utterance, in frames of 10 ms.
    min_char_ratio : float | None
        Training utterances with fewer characters of translation for one of transcript are left
        out; published: 0.8.
    max_char_ratio : float | None
        The same for more; published: 1.6.
    allow_incomplete : bool
        Go on without the segments of other splits than training that cannot be taken.
    """

    language: str | None = None
    splits: tuple[str, ...] = ()
    rename_splits: dict[str, str] = field(default_factory=lambda: dict(_SPLIT_NAMES))
    source_form: SourceForm = "fixed"
    origin: str = ""
    min_frames: int = 5
    max_frames: int = 3000
    min_char_ratio: float | None = None
    max_char_ratio: float | None = None
    allow_incomplete: bool = False
    # What follows would filter validation and test data, too.
    min_duration_s: float = 0.025
    max_duration_s: float = 600.0
    min_chars_per_s: float = 0.0
    max_chars_per_s: float = _UNBOUNDED_CHARS
    allow_empty_text: bool = True

    def faults(self) -> list[str]:
        """Return what is wrong with the values, one line a fault."""
        low, high = self.min_char_ratio, self.max_char_ratio
        rules = (
            (0 < self.min_frames < self.max_frames, "min_frames must be > 0 and < max_frames"),
            (low is None or low >= 0, "min_char_ratio must be 0 or more"),
            ((low or 0.0) < (high or float("inf")), "max_char_ratio must be > min_char_ratio"),
        )
        return super().faults() + [message for is_kept, message in rules if not is_kept]

    def rules(self, language: str) -> PairRules:
        """Return what becomes of the texts."""
        return PairRules(
            language=language,
            source_form=self.source_form,
            origin=self.origin,
            min_frames=self.min_frames,
            max_frames=self.max_frames,
            min_char_ratio=self.min_char_ratio,
            max_char_ratio=self.max_char_ratio,
        )


@takes_options(MustCOptions)
def prepare_mustc(
    data_folder: str | Path, out_folder: str | Path, **options: Any
) -> PreparedCorpus:
    """Turn one language pair of MuST-C into shards.

    Splits are train, valid (dev) and test (tst-COMMON), others by their names; a group is a talk.
    It is a ValueError if lists differ in length, segments are broken, options are wrong, too much
    is rejected, a split to be scored is incomplete, or another preparation is in the way.

    Arguments
    ---------
    data_folder : str | Path
        The folder ``en-<language>``, or the one above it with `language` given; or a flat tree.
    out_folder : str | Path
        Where the prepared corpus goes.
    **options : Any
        See `MustCOptions` and `data_prepare.options.CommonOptions`.

    Returns
    -------
    PreparedCorpus
        The splits.

    Raises
    ------
    FileNotFoundError
        If there is no split, or one that was asked for is absent.
    """
    checked = make_options(MustCOptions, options, where=WHERE)
    source = open_mustc(data_folder, checked)
    if checked.min_char_ratio is not None or checked.max_char_ratio is not None:
        logger.info("characters of translation / transcript in training:\n%s", _histogram(source))
    if checked.overwrite or find_prepared(Path(out_folder)) is None:
        check_complete(source, checked)
    return prepare_corpus(
        source, Path(out_folder), name="mustc", options=checked, division=Division()
    )


def open_mustc(data_folder: str | Path, options: MustCOptions) -> MustCSource:
    """Return the corpus on disk with its segments read.

    Arguments
    ---------
    data_folder : str | Path
        As for `prepare_mustc`.
    options : MustCOptions
        Checked ones.

    Returns
    -------
    MustCSource
        Nothing of its audio is read yet.

    Raises
    ------
    FileNotFoundError
        If there is no split, or one that was asked for is absent.
    """
    root = Path(data_folder).resolve()
    pair = root / f"{SOURCE_LANGUAGE}-{options.language}"
    root = pair if pair.is_dir() else root
    found = {files.name: files for files in _find_splits(root, options.language)}
    absent = [name for name in options.splits if name not in found]
    if absent or not found:
        raise FileNotFoundError(
            f"{WHERE}: {root} lacks {', '.join(absent) or 'splits'}; expected "
            f"data/<split>/txt/<split>.yaml or <split>.yaml, each with its .{SOURCE_LANGUAGE} and "
            f".{options.language or '<language>'} (found {sorted(found) or 'none'}); give the "
            "folder of one language pair."
        )
    files = tuple(found[name] for name in options.splits or sorted(found))
    language = files[0].target.suffix.removeprefix(".")
    splits = {f.name: options.rename_splits.get(f.name, f.name) for f in files}
    talks = read_talks(files, root=root)
    return MustCSource(root, splits, options.rules(language), files, talks)


def check_complete(source: MustCSource, options: MustCOptions) -> None:
    """Stop if a split other than training would lose segments: its score would be another set's.

    Arguments
    ---------
    source : MustCSource
        The corpus; headers of those splits' recordings are read.
    options : MustCOptions
        Bounds, and whether losses are allowed.

    Raises
    ------
    ValueError
        If segments cannot be taken; counts them by reason.
    """
    talks = [talk for talk in source.tasks() if not talk.is_training]
    scans = [filtered(source.read(talk), options.filters) for talk in talks]
    lost = [rejection for scan in scans for rejection in scan.rejected]
    if not lost or options.allow_incomplete:
        return
    counts = Counter(rejection.reason for rejection in lost).most_common()
    first = "; ".join(f"{rejection.id}: {rejection.detail}" for rejection in lost[:_MAX_LISTED])
    raise ValueError(
        f"{WHERE}: {len(lost)} of {sum(len(talk.segments) for talk in talks)} segments of "
        f"{', '.join(sorted({talk.split for talk in talks}))} cannot be taken: "
        f"{', '.join(f'{reason} {count}' for reason, count in counts)} ({first}); expected these "
        "splits whole, as they are scored; mend the corpus, name other splits, or set "
        "allow_incomplete."
    )


def _find_splits(root: Path, language: str | None) -> Iterator[SplitFiles]:
    """Yield the splits of an official or a flat tree, sorted by name."""
    official = sorted((root / "data").glob("*/txt/*.yaml"))
    for path in official or sorted(root.glob("*.yaml")):
        is_official = bool(official)
        if is_official and path.stem != path.parent.parent.name:
            continue
        source = path.with_suffix(f".{SOURCE_LANGUAGE}")
        target = _target_of(path, language)
        wavs = path.parent.parent / "wav" if is_official else root / "wav"
        if source.is_file() and target is not None:
            yield SplitFiles(path.stem, path, source, target, wavs)


def _target_of(path: Path, language: str | None) -> Path | None:
    """Return the translations beside a YAML; an error if there are several to choose from."""
    if language is not None:
        target = path.with_suffix(f".{language}")
        return target if target.is_file() else None
    # Names such as tst-COMMON.v2.de are other files.
    others = {".yaml", f".{SOURCE_LANGUAGE}"}
    beside = [f for f in sorted(path.parent.glob(f"{path.stem}.*")) if f.suffix not in others]
    found = [file for file in beside if file.stem == path.stem]
    if len(found) > 1:
        raise ValueError(
            f"{WHERE}: {path.parent} has {', '.join(f.name for f in found)}; expected one "
            "language; name it with language."
        )
    return found[0] if found else None


def _histogram(source: MustCSource) -> str:
    form = source.rules.source_form
    return ratio_histogram(
        (source_text(segment.source, form), segment.target)
        for talk in source.talks
        if talk.split.startswith("train")
        for segment in talk.segments
    )


if __name__ == "__main__":
    from data_prepare import mustc  # workers know this module by its full name

    sys.exit(run_command(mustc.prepare_mustc, sys.argv[1:]))
