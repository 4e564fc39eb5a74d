"""Padding, lengths and sizes of the encoder, for both kinds of blocks."""

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.lobes.models.transformer.Conformer import ConformerEncoderLayer
from speechbrain.nnet.attention import RelPosEncXL

from recipes.MuSTC.ST.conformer.blocks import ConformerBlock
from recipes.MuSTC.ST.conformer.positions import distances, sinusoids
from recipes.MuSTC.ST.conformer.source_blocks import SourceBlock, shifted
from recipes.MuSTC.ST.conformer.subsampler import Subsampler
from recipes.MuSTC.ST.conformer.variants import BLOCKS, new_block
from tests.unit.recipes.conformer.models import MODEL, count_parameters, load_model

SIZES = {"d_model": 16, "num_heads": 2, "d_ffn": 24, "kernel": 7, "dropout": 0.0}
LONG = 160
RESIDUES = range(92, 96)
ATOL = 1e-5


def features(num_frames=LONG, seed=3):
    return torch.randn(1, num_frames, 80, generator=torch.Generator().manual_seed(seed))


def together(short):
    """The short utterance beside a long one, wild values beyond its end."""
    batch = torch.full((2, LONG, 80), 50.0)
    batch[0] = features()[0]
    batch[1, : short.shape[1]] = short[0]
    return batch, torch.tensor([LONG, short.shape[1]])


@pytest.mark.parametrize(("frames", "steps"), [(1, 1), (5, 2), (9, 3), (100, 25), (3000, 750)])
def test_subsampler_length_is_that_of_its_output(frames, steps):
    subsampler = Subsampler(num_mels=4, middle_size=8, d_model=6)
    out, lengths = subsampler(torch.randn(1, frames, 4), torch.tensor([frames]))
    assert out.shape == (1, steps, 6)
    assert lengths.tolist() == [steps]


@pytest.mark.parametrize("num_frames", RESIDUES)
def test_subsampler_does_not_see_padding(num_frames):
    torch.manual_seed(0)
    subsampler = Subsampler(num_mels=80, middle_size=8, d_model=6).eval()
    short = features(num_frames, 4)
    alone, steps = subsampler(short, torch.tensor([num_frames]))
    batched, lengths = subsampler(*together(short))
    assert lengths[1] == steps[0]
    assert torch.allclose(batched[1, : steps[0]], alone[0], atol=ATOL)


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("length", [1, 12, 13, 14, 15, 29])
def test_block_does_not_see_padding(kind, length):
    torch.manual_seed(0)
    block = new_block(kind=kind, **SIZES).eval()
    x = torch.randn(2, 30, 16)
    pads = torch.arange(30) >= torch.tensor([[30], [length]])
    x[1, length:] = 50.0
    batched = block(x, pads, block.positions(30, x))
    alone = block(x[1:, :length], pads[1:, :length], block.positions(length, x))
    assert torch.allclose(batched[1, :length], alone[0], atol=ATOL)


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("compress", ["avg", "weighted", "softmax", "fixed", "identity"])
@pytest.mark.parametrize("num_frames", RESIDUES)
def test_encoder_does_not_see_padding(kind, compress, num_frames):
    encoder = load_model(block=kind, compress=compress)["encoder"].eval()
    short = features(num_frames, 4)
    with torch.no_grad():
        alone = encoder(short, torch.tensor([num_frames]))
        batched = encoder(*together(short))
    steps, runs = int(alone.ctc_lengths), int(alone.lengths)
    assert batched.ctc_lengths[1] == steps == (num_frames + 3) // 4
    assert batched.lengths[1] == runs
    assert (runs < steps) == (compress != "identity")
    assert torch.allclose(batched.ctc_logits[1, :steps], alone.ctc_logits[0], atol=ATOL)
    assert torch.allclose(batched.states[1, :runs], alone.states[0], atol=ATOL)
    assert not batched.states[1, runs:].any()


def test_masked_block_equals_speechbrains_without_padding():
    torch.manual_seed(0)
    ours = ConformerBlock(**SIZES).eval()
    stock = ConformerEncoderLayer(d_model=16, d_ffn=24, nhead=2, kernel_size=7).eval()
    stock.load_state_dict(ours.layer.state_dict())
    x = torch.randn(2, 21, 16)
    positions = ours.positions(21, x)
    expected, _ = stock(x, pos_embs=positions)
    found = ours(x, torch.zeros(2, 21, dtype=torch.bool), positions)
    assert torch.allclose(found, expected, atol=1e-6)


def test_speechbrains_block_sees_padding():
    """When this fails, upstream has mended it, and our convolution can go."""
    torch.manual_seed(0)
    stock = ConformerEncoderLayer(d_model=16, d_ffn=24, nhead=2, kernel_size=7).eval()
    x = torch.randn(1, 30, 16)
    pads = torch.arange(30)[None] >= 13
    position = RelPosEncXL(16)
    with torch.no_grad():
        padded, _ = stock(x, src_key_padding_mask=pads, pos_embs=position(x))
        alone, _ = stock(x[:, :13], pos_embs=position(x[:, :13]))
    assert (padded[:, :13] - alone).abs().max() > 0.01


def test_positions_tell_before_from_after_unlike_speechbrains():
    ours, stock = sinusoids(distances(5, torch.device("cpu")), 8), RelPosEncXL(8).make_pe(5)[0]
    assert torch.allclose(ours[:5], stock[:5], atol=1e-6)
    assert torch.equal(stock[5:], stock[:4].flip(0))
    assert torch.allclose(ours[5:, 0::2], -stock[5:, 0::2], atol=1e-6)
    assert torch.allclose(ours[5:, 1::2], stock[5:, 1::2], atol=1e-6)


def test_shift_of_each_row_equals_the_loop():
    lengths = torch.tensor([7, 4, 1])
    scores = torch.randn(3, 2, 7, 7, generator=torch.Generator().manual_seed(0))
    found = shifted(scores, lengths)
    for number, length in enumerate(lengths.tolist()):
        part = scores[number, :, :length, :length]
        padded = torch.cat([torch.zeros(2, length, 1), part], -1).view(2, length + 1, length)
        assert torch.equal(
            found[number, :, :length, :length], padded[:, 1:].reshape(2, length, length)
        )


def test_source_attention_scores_positions_of_the_past():
    scores = torch.arange(4.0).expand(1, 1, 4, 4)  # the score of position p is p
    found = shifted(scores, torch.tensor([4]))[0, 0]
    for query in range(4):
        for key in range(query + 1):
            assert found[query, key] == 3 - (query - key)
        assert query == 3 or found[query, query + 1] == 0.0


def full_size(kind, source_size):
    """Parameters of encoder and decoder as the recipe's YAML has them."""
    with torch.device("meta"), MODEL.open(encoding="utf-8") as file:
        model = load_hyperpyyaml(file, {"block": kind, "source_vocab_size": source_size})
    return tuple(count_parameters(model[part]) for part in ("encoder", "decoder"))


def test_parameter_counts_of_the_source_variant_are_those_published():
    with torch.device("meta"):
        block = SourceBlock(d_model=512, num_heads=8, d_ffn=2048, kernel=31, dropout=0.1)
        subsampler = Subsampler(num_mels=80, middle_size=1024, d_model=512)
    assert count_parameters(subsampler) == 3_033_088
    assert count_parameters(block) == 6_323_200
    assert full_size("source", 5000) == (81_477_001, 33_417_216)  # 114,894,217
    assert full_size("source", 8000) == (83_016_001, 33_417_216)  # 116,433,217


def test_parameter_counts_of_the_default_variant():
    with torch.device("meta"):
        block = ConformerBlock(d_model=512, num_heads=8, d_ffn=2048, kernel=31, dropout=0.1)
    assert count_parameters(block) == 6_322_176
    assert full_size("conformer", 5000) == (81_464_713, 33_417_216)  # 114,881,929


def test_checkpoint_holds_no_table_of_positions():
    for kind in BLOCKS:
        model = load_model(block=kind)
        sizes = [value.numel() for value in model["encoder"].state_dict().values()]
        parameters = count_parameters(model["encoder"])
        assert sum(sizes) <= parameters + 200  # BatchNorm's statistics


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_encoder_in_half_precision_has_symbols_of_float32(dtype):
    encoder = load_model()["encoder"].eval()
    caught = []
    encoder.ctc_head.register_forward_hook(lambda head, inputs, out: caught.append(inputs[0]))
    with torch.no_grad(), torch.autocast("cpu", dtype):
        encoded = encoder(features(), torch.tensor([LONG]))
    assert encoded.states.isfinite().all()
    assert encoded.ctc_logits.dtype == torch.float32
    assert torch.equal(encoded.ctc_logits, encoder.ctc_head(caught[0].float()))  # not rounded
    symbols = encoded.ctc_logits.argmax(-1)[0]
    assert encoded.lengths[0] == 1 + (symbols[1:] != symbols[:-1]).sum()


def test_every_parameter_has_a_gradient():
    model = load_model()
    encoded = model["encoder"](features(), torch.tensor([LONG]))
    logits = model["decoder"](torch.tensor([[2, 5, 6]]), encoded.states, encoded.lengths)
    (logits.sum() + encoded.ctc_logits.sum()).backward()
    modules = model["modules"].values()
    lacking = [n for m in modules for n, p in m.named_parameters() if p.grad is None]
    assert not lacking


def test_wrong_block_is_named():
    with pytest.raises(ValueError, match="expected a kind of"):
        new_block(kind="source", **{**SIZES, "kernel": 8})
