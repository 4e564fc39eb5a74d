"""decode.py and the beam searches of the wav2letter recipes, on tiny models that were trained."""

import json
import sys
from pathlib import Path

import pytest

from recipes.LibriSpeech.wav2letter.preparation.ngram_training import train_ngram
from recipes.LibriSpeech.wav2letter.preparation.prepare import prepare_decoding
from tests.integration.commands import run, run_json, train_command

pytestmark = [pytest.mark.multiproc, pytest.mark.slow]
RECIPES, SEARCHES = "recipes/LibriSpeech/ASR", "recipes/LibriSpeech/wav2letter/hparams"
COMMON = {"corpus.hours": 0.02, "corpus.num_jobs": 1, "max_updates": 4}
LETTERS = {"model.channels": "[8, 8]", "model.kernels": "[5, 5]", "model.hidden": 8}
PIECES = {"vocab_size": 60, "model.tds_channels": "[2, 2, 2]", "model.decoder_size": 16}
SPLITS = {"train_splits": ("train",), "valid_splits": ("dev-clean",)}


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """Folder of corpus, shards, tokens, and the runs of a model of each kind."""
    folder = tmp_path_factory.mktemp("work")
    for name, options in {"conv_glu": LETTERS, "seq2seq_tds": PIECES}.items():
        options = {**COMMON, **options, "work_folder": folder}
        run(train_command(f"{RECIPES}/{name}/hparams/small.yaml", folder / name, **options)).check()
    return folder


@pytest.fixture(scope="module")
def files(work) -> dict[str, Path]:
    """Language models and lexicon of the training texts."""
    out = work / "decoding"
    model = str(work / "pieces_60" / "pieces.model")
    prepare_decoding(work / "librispeech_shards", out, **SPLITS, pieces_model=model)
    for kind, names in {"letters": "tokens.txt", "pieces": "piece_tokens.txt"}.items():
        lines = (out / kind / "train.txt").read_text().splitlines()
        tokens = (out / names).read_text().split()
        train_ngram(lines, out / f"{kind}.arpa", order=3, tokens=tokens)
    return {"letters": out / "letters.arpa", "pieces": out / "pieces.arpa", "folder": out}


def options_of(options: dict[str, object]) -> list[str]:
    return [str(word) for key, value in options.items() for word in (f"--{key}", value)]


def decode(work: Path, out: Path, search: str, name: str, **options: object) -> dict[str, object]:
    """Run decode.py on a trained model and return its record."""
    tiny = {**COMMON, **(LETTERS if name == "conv_glu" else PIECES), "work_folder": work}
    inner = [*options_of(tiny), "--output_folder", str(work / name)]
    options = {
        "run_file": f"{RECIPES}/{name}/hparams/small.yaml",
        "run_options": json.dumps(inner),
        "output_folder": out,
        **options,
    }
    run([sys.executable, "decode.py", f"{SEARCHES}/{search}.yaml", *options_of(options)]).check()
    return json.loads((out / "decode.json").read_text())


def again(work: Path, name: str, **options: object) -> dict[str, object]:
    """Test a trained model by the recipe itself, with a search of its choices."""
    tiny = {**COMMON, **(LETTERS if name == "conv_glu" else PIECES), "work_folder": work}
    path = f"{RECIPES}/{name}/hparams/small.yaml"
    run([*train_command(path, work / name, **tiny, **options), "--test_only"]).check()
    return run_json(work / name)


def texts(folder: Path) -> dict[str, str]:
    """Return what was recognised in each test set, aligned with what was said."""
    return {path.stem: path.read_text() for path in (folder / "alignments").glob("test-*.txt")}


def test_decode_finds_the_best_path_of_the_recipe(work, files, tmp_path):
    again(work, "conv_glu", test_with="viterbi")
    greedy = texts(work / "conv_glu")
    kept = {"decoding_folder": files["folder"], "emissions_folder": tmp_path / "emissions"}
    decode(work, tmp_path / "a", "decode_viterbi", "conv_glu", **kept)
    assert texts(tmp_path / "a") == greedy
    assert len(greedy) == 2


def test_decode_refuses_emissions_of_another_run(work, files, tmp_path):
    kept = {"decoding_folder": files["folder"], "emissions_folder": tmp_path / "emissions"}
    decode(work, tmp_path / "a", "decode_viterbi", "conv_glu", **kept)
    assert not list(tmp_path.glob(".*.part"))
    path = tmp_path / "emissions" / "source.json"
    source = json.loads(path.read_text())
    assert source["checkpoints"]
    decode(work, tmp_path / "again", "decode_viterbi", "conv_glu", **kept)
    path.write_text(json.dumps({**source, "checkpoints": ["CKPT+older"]}))
    options = {
        "run_file": source["run_file"],
        "run_options": json.dumps(source["run_options"]),
        "output_folder": tmp_path / "b",
        **kept,
    }
    done = run(
        [sys.executable, "decode.py", f"{SEARCHES}/decode_viterbi.yaml", *options_of(options)]
    )
    assert done.code == 2
    assert "CKPT+older" in done.err


def test_decode_and_the_recipe_search_letters_alike(work, files, tmp_path):
    kept = {"decoding_folder": files["folder"], "emissions_folder": tmp_path / "emissions"}
    beam = {"beam_size": 20, "lm_weight": 1.5}
    options = {f"options.{key}": value for key, value in beam.items()}
    found = decode(
        work, tmp_path / "a", "decode_letters", "conv_glu", lm=files["letters"], **kept, **options
    )
    options = {f"letters_beam.{key}": value for key, value in beam.items()}
    recipe = again(work, "conv_glu", test_with="letters", letters_lm=files["letters"], **options)
    assert set(found["results"]) == set(recipe["results"]) == {"test-clean", "test-other"}
    assert texts(tmp_path / "a") == texts(work / "conv_glu")
    assert found["results"]["test-clean"]["num_frames"] > 100


def test_decode_and_the_recipe_search_pieces_alike(work, files, tmp_path):
    found = decode(
        work,
        tmp_path / "a",
        "decode_pieces",
        "seq2seq_tds",
        tokens_file=files["folder"] / "piece_tokens.txt",
        lm=files["pieces"],
        **{"options.beam_size": 3, "options.max_steps": 10},
    )
    options = {"beam.beam_size": 3, "beam.max_steps": 10, "lm": files["pieces"]}
    recipe = again(work, "seq2seq_tds", test_with="beam", **options)
    assert set(found["results"]) == set(recipe["results"])
    assert found["results"]["test-other"]["decode_s"] > 0
    assert texts(tmp_path / "a") == texts(work / "seq2seq_tds")


def test_recipe_searches_words(work, files):
    pytest.importorskip("flashlight.lib.text.decoder")
    lexicon = files["folder"] / "lexicon_train.txt"
    options = {"test_with": "words", "lexicon": lexicon, "words_beam.beam_size": 10}
    record = again(work, "conv_glu", **options)
    assert record["results"]["test-clean"]["wer"] > 0
    by_words = texts(work / "conv_glu")
    again(work, "conv_glu", test_with="viterbi")
    assert by_words != texts(work / "conv_glu")


def test_decode_tells_that_an_attention_decoder_has_no_emissions(work, tmp_path):
    tiny = options_of({**COMMON, **PIECES, "work_folder": work})
    options = {
        "run_file": f"{RECIPES}/seq2seq_tds/hparams/small.yaml",
        "run_options": json.dumps([*tiny, "--output_folder", str(work / "seq2seq_tds")]),
        "emissions_folder": tmp_path / "emissions",
        "output_folder": tmp_path / "out",
    }
    done = run(
        [sys.executable, "decode.py", f"{SEARCHES}/decode_viterbi.yaml", *options_of(options)]
    )
    assert done.code == 2
    assert "take decode_pieces.yaml" in done.err
