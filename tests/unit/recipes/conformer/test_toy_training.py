"""The model learns a toy: letters are tones, their translation is the same words backwards."""

import pytest
import torch
from speechbrain import Stage

from recipes.common.schedule import inverse_square_root
from tests.unit.recipes.conformer.models import load_model, make_batch, make_brain

PITCHES_HZ = [300, 440, 630, 880, 1200, 1700, 2300, 3000]
FIRST = 4  # token of the first letter, after the special ones
NUM_TRAIN, NUM_TEST, BATCH = 600, 60, 16
SIZES = {
    "source_vocab_size": 12, "target_vocab_size": 12, "subsampler_size": 128, "d_model": 64,
    "num_heads": 4, "d_ffn": 256, "kernel": 15, "num_blocks": 4, "ctc_block": 3,
    "decoder_layers": 2, "dropout": 0.1, "max_target_tokens": 12,
}  # fmt: skip


def spoken(letters, generator):
    """Tones of 120 to 200 ms with gaps, in noise."""
    pieces = []
    for letter in letters:
        num, gap = (
            int(16000 * (a + b * torch.rand(1, generator=generator)))
            for a, b in ((0.12, 0.08), (0.04, 0.05))
        )
        time = torch.arange(num) / 16000
        pieces += [0.3 * torch.sin(2 * torch.pi * PITCHES_HZ[letter] * time), torch.zeros(gap)]
    wave = torch.cat(pieces)
    return wave + 0.01 * torch.randn(len(wave), generator=generator)


def batches(num, seed):
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(0, num, BATCH):
        sizes = torch.randint(3, 8, (BATCH,), generator=generator).tolist()
        words = [torch.randint(0, 8, (size,), generator=generator).tolist() for size in sizes]
        pairs = [([FIRST + w for w in row], [FIRST + w for w in reversed(row)]) for row in words]
        batch = make_batch(pairs, seconds=[1.0] * BATCH)
        waves = [spoken(row, generator) for row in words]
        longest = max(map(len, waves))
        data = torch.stack([torch.nn.functional.pad(w, (0, longest - len(w))) for w in waves])
        batch.wavs = type(batch.wavs)(data, torch.tensor([len(w) / longest for w in waves]))
        found.append(batch)
    return found


def exact_shares(brain, tests):
    """Shares of utterances whose CTC tokens, and whose translation, are right; mean R / L."""
    brain.modules.eval()
    brain.on_stage_start(Stage.VALID, 1)
    right, num = torch.zeros(2), 0
    for batch in tests:
        with torch.no_grad():
            outputs = brain.compute_forward(batch, Stage.VALID)
            brain.compute_objectives(outputs, batch, Stage.VALID)
        encoded = outputs["encoded"]
        for row, tokens in enumerate(outputs["hypotheses"]):
            steps = int(encoded.ctc_lengths[row])
            symbols = encoded.ctc_logits[row, :steps].argmax(-1)
            symbols = torch.unique_consecutive(symbols)
            source = batch.source_tokens.data[row]
            source = source[source > 0].tolist()
            right[0] += [s for s in symbols.tolist() if s != 12] == source
            right[1] += tokens == source[::-1]
            num += 1
    brain.modules.train()
    return (right / num).tolist(), float(brain.sums[3] / brain.sums[2])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_toy_is_learned_with_compression(tmp_path, seed):
    torch.manual_seed(seed)
    model = load_model(**SIZES)
    schedule = {"update_schedule": lambda u: inverse_square_root(u, peak=2e-3, num_warmup=100)}
    brain = make_brain(tmp_path, model=model, run_opts={"max_grad_norm": 10.0}, **schedule)
    brain.opt_class = lambda params: torch.optim.Adam(params, lr=0.0, betas=(0.9, 0.98))
    brain.init_optimizers()
    train, tests = batches(NUM_TRAIN, seed), batches(NUM_TEST, 100 + seed)
    brain.on_stage_start(Stage.TRAIN, 1)
    brain.start_epoch(num_batches=None)
    for update in range(1, 301):
        brain.step = update
        brain.fit_batch(train[update % len(train)])
        if update == 150:
            (ctc, translation), ratio = exact_shares(brain, tests)
            assert ctc >= 0.9
            assert translation >= 0.25
            assert 0.3 <= ratio <= 0.5
    (_, translation), _ = exact_shares(brain, tests)
    assert translation >= 0.7
