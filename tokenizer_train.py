"""Train a SentencePiece tokenizer on the text of a corpus, on one process.

    python tokenizer_train.py hparams/tokenizer.yaml
    python tokenizer_train.py hparams/tokenizer.yaml --token_type unigram --vocab_size 1000

The corpus is prepared first if it is not. In ``tokenizer_folder``: ``tokenizer.model``, and
``tokenizer.json`` with the options and the checksum of the texts. The same command again finds
it; other texts or options in the same folder are refused unless ``--overwrite True``.
"""

import sys
from collections.abc import Sequence

from data_prepare.stored_corpus import open_corpus
from recipes.common.faults import plain_faults
from recipes.common.hparams import load_run


def main(argv: Sequence[str]) -> int:
    """Prepare the corpus, train the tokenizer, show what it does; return the exit code."""
    with plain_faults():
        hparams = load_run(argv).hparams
        corpus = hparams["corpus"]
        for step in ("make", "prepare"):
            if corpus[step] is not None:
                corpus[step]()
        prepared = open_corpus(corpus["shards_folder"], remote=corpus.get("remote"))
        hparams["train_tokenizer"](folders=[prepared.split(corpus["train_split"])])
        tokenizer = hparams["tokenizer"]()
    pieces = tokenizer.pieces()
    print(f"{tokenizer.folder}: {len(tokenizer)} tokens: {' '.join(pieces[:20])} ...")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
