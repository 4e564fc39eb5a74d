r"""Prepare what the decoders and language models of the wav2letter recipes need.

    python -m recipes.LibriSpeech.wav2letter.preparation.prepare \
        work/librispeech/librispeech_shards work/librispeech/decoding \
        --lm_text librispeech-lm-norm.txt.gz --arpa 4-gram.arpa.gz

From a corpus that `data_prepare.librispeech` has prepared, written to the out folder:

- `tokens.txt`: letters; `lexicon_train.txt`: words of the training and validation splits;
- `text/<split>.txt`: transcripts in lower case; `letters/<split>.txt`: the same in letters;
- with an ARPA model of words: `lm/words.arpa` in lower case, `lexicon.txt` of its unigrams and of
  extra words, and `oov/<test split>.{inv,oov}`: ids of utterances without and with words outside
  that lexicon;
- with text: `lm/words.txt` and `lm/letters.txt`, shuffled, and `lm/frequent.txt`: its words that
  come ten times or more;
- with a SentencePiece model: `piece_tokens.txt`, `lexicon_pieces.txt` with the ten best
  segmentations of each word, `pieces/<split>.txt`, and `lm/pieces.txt` of the text.

Validation words are in the training lexicon so that their targets can be spelled; test words are
not. Files that are there already and were made with equal options are kept.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_prepare.command_line import run_command
from data_prepare.index import ShardIndex
from data_prepare.prepared import PreparedCorpus
from recipes.LibriSpeech.wav2letter.decoding.lexicon_file import read_lexicon, write_lexicon
from recipes.LibriSpeech.wav2letter.pieces import processor_of, tokens_of
from recipes.LibriSpeech.wav2letter.preparation.download import FOUR_GRAM, LM_TEXT, fetch
from recipes.LibriSpeech.wav2letter.preparation.lexicons import (
    letter_lexicon,
    letter_line,
    lower_arpa,
    piece_lexicon,
    piece_lines,
    split_by_vocabulary,
)
from recipes.LibriSpeech.wav2letter.preparation.stages import Stages
from recipes.LibriSpeech.wav2letter.preparation.texts import (
    frequent_words,
    read_texts,
    shuffled,
    split_texts,
    write_lines,
)
from recipes.LibriSpeech.wav2letter.tokens import TOKENS_NAME, TokenSet, letter_tokens

logger = logging.getLogger(__name__)

NUM_BEST = 10
MIN_COUNT = 10
"""Occurrences in the text of a word of the word model."""


def prepare_decoding(  # noqa: PLR0913 - the options of the command, all by keyword
    shards_folder: str | Path,
    out_folder: str | Path,
    *,
    train_splits: tuple[str, ...] = ("train",),
    valid_splits: tuple[str, ...] = ("dev-clean", "dev-other"),
    test_splits: tuple[str, ...] = ("test-clean", "test-other"),
    lm_text: tuple[str, ...] = (),
    arpa: str | None = None,
    extra_words: str | None = None,
    pieces_model: str | None = None,
    download_folder: str | None = None,
) -> Path:
    """Make token lists, lexicons and text for decoders and language models.

    Arguments
    ---------
    shards_folder : str | Path
        What `data_prepare.librispeech` has written.
    out_folder : str | Path
        Where the files go.
    train_splits : tuple[str, ...]
        Splits of the acoustic model's training; the recipes merge the three subsets into "train".
    valid_splits : tuple[str, ...]
        Splits of its validation.
    test_splits : tuple[str, ...]
        Splits that are tested.
    lm_text : tuple[str, ...]
        Text files for language models, one sentence a line, plain or .gz.
    arpa : str | None
        A model of words, plain or .gz.
    extra_words : str | None
        Text file of words that the decoder's lexicon gets besides those of the model; the model
        scores them as unknown.
    pieces_model : str | None
        SentencePiece model of the acoustic model's word pieces.
    download_folder : str | None
        Fetch LM text and word 4-gram of OpenSLR 11 (3 GB) to this folder, or find them there, in
        place of lm_text and arpa.

    Returns
    -------
    Path
        The out_folder.

    Raises
    ------
    ValueError
        If the folder holds what was made with other options, a split lacks, or there are extra
        words but no model of words.
    """
    if download_folder is not None:
        lm_text = lm_text or (str(fetch(LM_TEXT, download_folder)),)
        arpa = arpa or str(fetch(FOUR_GRAM, download_folder))
    if extra_words is not None and arpa is None:
        raise ValueError(
            f"prepare: extra_words is {extra_words}, but there is no model of words; expected one, "
            "as its words make the lexicon; give --arpa or --download_folder."
        )
    corpus = PreparedCorpus.load(Path(shards_folder))
    splits = {
        name: ShardIndex.load(corpus.split(name))
        for name in (*train_splits, *valid_splits, *test_splits)
    }
    work = _Work(
        out=Path(out_folder),
        splits=splits,
        spelled=(*train_splits, *valid_splits),
        tested=test_splits,
    )
    options = {"splits": {name: index.checksum for name, index in splits.items()}}
    stages = Stages(work.out, options | {"train": train_splits, "valid": valid_splits})
    stages.run("letters", work.letters)
    if arpa is not None:
        extra = () if extra_words is None else (extra_words,)
        stages.run("words", lambda: work.words(Path(arpa), extra), inputs=[arpa, *extra])
    if lm_text:
        stages.run("text", lambda: work.text(lm_text), inputs=lm_text)
    if pieces_model is not None:
        inputs = [pieces_model, *lm_text]
        stages.run("pieces", lambda: work.pieces(Path(pieces_model), lm_text), inputs=inputs)
    return work.out


@dataclass
class _Work:
    """The stages; each writes files and returns what it counted."""

    out: Path
    splits: dict[str, ShardIndex]
    spelled: tuple[str, ...]
    tested: tuple[str, ...]
    tokens: TokenSet = field(default_factory=letter_tokens)

    def letters(self) -> dict[str, Any]:
        """Write tokens, transcripts, and the training lexicon."""
        self.tokens.save(self.out / TOKENS_NAME)
        for name in self.splits:
            write_lines(self.out / "text" / f"{name}.txt", self._texts(name))
            lines = (letter_line(text, self.tokens) for text in self._texts(name))
            write_lines(self.out / "letters" / f"{name}.txt", lines)
        lexicon, odd = letter_lexicon(self._words(), self.tokens)
        write_lexicon(self.out / "lexicon_train.txt", lexicon)
        return {"words": len(lexicon), "words with other letters": odd[:20]}

    def words(self, arpa: Path, extra_words: tuple[str, ...]) -> dict[str, Any]:
        """Write a model of words in lower case, its lexicon, and the lists of test utterances."""
        words = lower_arpa(arpa, self.out / "lm/words.arpa")
        words += [word for line in read_texts(extra_words) for word in line.split()]
        lexicon, odd = letter_lexicon(words, self.tokens)
        write_lexicon(self.out / "lexicon.txt", lexicon)
        counts: dict[str, Any] = {"words": len(lexicon), "words with other letters": odd[:20]}
        for name in self.tested:
            parts = split_by_vocabulary(split_texts(self.splits[name]), lexicon)
            for ending, ids in zip(("inv", "oov"), parts, strict=True):
                counts[f"{name}.{ending}"] = write_lines(self.out / "oov" / f"{name}.{ending}", ids)
        return counts

    def text(self, lm_text: tuple[str, ...]) -> dict[str, Any]:
        """Write the text in words and in letters, shuffled, and its frequent words."""
        words = self.out / "lm" / "words.txt"
        number = write_lines(words, shuffled(read_texts(lm_text)))
        lines = (letter_line(text, self.tokens) for text in read_texts([words]))
        write_lines(self.out / "lm" / "letters.txt", filter(None, lines))
        frequent = frequent_words(read_texts([words]), min_count=MIN_COUNT)
        write_lines(self.out / "lm" / "frequent.txt", frequent)
        return {"sentences": number, "frequent words": len(frequent)}

    def pieces(self, model: Path, lm_text: tuple[str, ...]) -> dict[str, Any]:
        """Write tokens, the lexicon with several segmentations, and texts in pieces."""
        processor = processor_of(model)
        tokens_of(processor).save(self.out / "piece_tokens.txt")
        lexicon = piece_lexicon(self._words(), processor, num_best=NUM_BEST)
        write_lexicon(self.out / "lexicon_pieces.txt", lexicon)
        for name in self.splits:
            lines = piece_lines(self._texts(name), processor)
            write_lines(self.out / "pieces" / f"{name}.txt", lines)
        if lm_text:
            lines = piece_lines(shuffled(read_texts(lm_text)), processor)
            write_lines(self.out / "lm" / "pieces.txt", lines)
        return {"words": len(read_lexicon(self.out / "lexicon_pieces.txt"))}

    def _texts(self, split: str) -> Iterator[str]:
        return (text for _, text in split_texts(self.splits[split]))

    def _words(self) -> set[str]:
        return {
            word for name in self.spelled for text in self._texts(name) for word in text.split()
        }


if __name__ == "__main__":
    from recipes.LibriSpeech.wav2letter.preparation import prepare

    sys.exit(run_command(prepare.prepare_decoding, sys.argv[1:]))
