"""The TDS encoder: parameters, lengths, LayerNorm over an utterance's own frames."""

import pytest
import torch
from torch.nn import functional as F

from recipes.common.yaml_tree import new_yaml
from recipes.LibriSpeech.wav2letter.attention import AttentionDecoder
from recipes.LibriSpeech.wav2letter.tds import TDSBlock, TDSEncoder, UtteranceNorm
from tests.conftest import ROOT

YAML = ROOT / "recipes/LibriSpeech/ASR/seq2seq_tds/hparams/model/tds.yaml"
SMALL = {"width": 8, "channels": [2, 3, 4], "num_blocks": [1, 1, 1], "out_size": 10}


def numel(module: torch.nn.Module) -> int:
    return sum(param.numel() for param in module.parameters())


def encoder(**options) -> TDSEncoder:
    torch.manual_seed(0)
    return TDSEncoder(**SMALL, dropout=0.0, **options).eval()


def test_full_model_has_the_parameters_of_the_original():
    sizes = new_yaml().load(YAML.read_text(encoding="utf-8"))
    with torch.device("meta"):
        model = TDSEncoder(
            width=sizes["num_filters"],
            channels=sizes["tds_channels"],
            num_blocks=sizes["tds_blocks"],
            out_size=2 * sizes["decoder_size"],
            dropout=sizes["dropout"],
        )
        decoder = AttentionDecoder(num_tokens=sizes["num_tokens"], size=sizes["decoder_size"])
    assert [numel(stage.conv) for stage in model.stages] == [220, 2954, 5310]
    blocks = [numel(stage.blocks[0]) for stage in model.stages]
    assert blocks == [1_283_714, 2_515_174, 4_156_906]
    assert numel(model.out) == 1_475_584
    assert numel(model) == 36_538_460
    assert numel(decoder) == 11_824_398
    assert numel(model) + numel(decoder) == 48_362_858


@pytest.mark.parametrize(("frames", "outputs"), [(1, 1), (8, 1), (9, 2), (100, 13), (1500, 188)])
def test_frames_are_an_eighth_rounded_up(frames, outputs):
    encoded, lengths = encoder()(torch.randn(1, frames, 8), torch.tensor([frames]))
    assert encoded.shape == (1, outputs, 10)
    assert lengths.tolist() == [outputs]


def test_norm_equals_layer_norm_over_three_axes():
    x = torch.randn(2, 3, 5, 4)
    norm = UtteranceNorm()
    with torch.no_grad():
        norm.gain.fill_(2.0)
        norm.bias.fill_(0.5)
    everywhere = torch.ones(2, 1, 5, 1, dtype=torch.bool)
    expected = 2 * F.layer_norm(x, x.shape[1:]) + 0.5
    assert torch.allclose(norm(x, everywhere), expected, atol=1e-6)
    assert numel(norm) == 2


@torch.no_grad()
def difference(model: TDSEncoder) -> float:
    """Relative change of an utterance's encoding in a batch twice as long as it."""
    feats = torch.randn(2, 80, 8, generator=torch.Generator().manual_seed(1))
    feats[0, 40:] = 0
    alone, lengths = model(feats[:1, :40], torch.tensor([40]))
    together, _ = model(feats, torch.tensor([40, 80]))
    found = together[:1, : int(lengths)]
    return float((found - alone).norm() / alone.norm())


def test_padding_changes_nothing_by_default_and_much_with_the_switch():
    assert difference(encoder()) < 1e-4
    assert difference(encoder(over_padding=True)) > 0.1


def test_block_flattens_with_the_channel_fastest():
    torch.manual_seed(0)
    block = TDSBlock(2, 3, dropout=0.0, over_padding=False)
    x = torch.randn(1, 2, 4, 3)
    everywhere = torch.ones(1, 1, 4, 1, dtype=torch.bool)
    first = block.conv_norm(x + F.relu(block.conv(x)), everywhere)
    expected = first.clone()
    for t in range(4):
        flat = torch.stack([first[0, c, t, w] for w in range(3) for c in range(2)])
        out = block.second(F.relu(block.first(flat)))
        expected[0, :, t] += out.view(3, 2).T
    expected = block.linear_norm(expected, everywhere)
    assert torch.allclose(block(x, everywhere), expected, atol=1e-5)


def test_norm_is_float32_under_autocast():
    x = torch.randn(1, 2, 40, 8)
    everywhere = torch.ones(1, 1, 40, 1, dtype=torch.bool)
    block = TDSBlock(2, 8, dropout=0.0, over_padding=False)
    seen = []
    block.first.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        out = block(x, everywhere)
    assert (out.dtype, seen) == (torch.float32, [torch.bfloat16])


def test_unequal_lists_are_named():
    with pytest.raises(ValueError, match="has 3 channels and 2 num_blocks"):
        TDSEncoder(**{**SMALL, "num_blocks": [1, 1]}, dropout=0.0)
