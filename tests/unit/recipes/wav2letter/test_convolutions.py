"""The Conv GLU network: parameters, lengths, padding."""

import pytest
import torch

from recipes.common.yaml_tree import new_yaml
from recipes.LibriSpeech.wav2letter.asg import ASG
from recipes.LibriSpeech.wav2letter.convolutions import ConvGLU, NormedConv
from tests.conftest import ROOT

YAML = ROOT / "recipes/LibriSpeech/ASR/conv_glu/hparams/model/conv_glu.yaml"
LAYERS = [
    *(208_800, 1_232_880, 1_598_168, 2_060_968, 2_642_016, 3_375_636, 4_307_306, 5_480_112),
    *(6_943_800, 8_774_064, 11_067_448, 13_941_940, 17_545_734, 22_058_168, 27_701_386),
    *(34_741_560, 43_504_096, 1_652_560),
]
SMALL = {
    **{"num_features": 6, "num_tokens": 5, "channels": [8, 12, 8], "kernels": [4, 3, 6]},
    **{"hidden": 10, "dropout": 0.2, "dropout_growth": 1.07},
}


def numel(module: torch.nn.Module) -> int:
    return sum(param.numel() for param in module.parameters())


def full(num_filters: int) -> ConvGLU:
    sizes = new_yaml().load(YAML.read_text(encoding="utf-8"))
    names = ("num_tokens", "channels", "kernels", "hidden", "dropout", "dropout_growth")
    with torch.device("meta"):
        return ConvGLU(num_features=num_filters, **{name: sizes[name] for name in names})


def test_full_model_has_the_parameters_of_the_original():
    model = full(40)
    assert [numel(layer) for layer in model.layers] == LAYERS
    assert numel(model.head) == 27_300
    assert numel(model) == 208_863_942
    assert numel(full(80)) == 209_071_942
    assert numel(ASG(30)) == 900


def test_full_model_has_the_context_and_dropout_of_the_original():
    model = full(40)
    assert model.padding == (170, 170)
    assert model.dropouts[0] == 0.2
    assert model.dropouts[-3:] == pytest.approx([0.551806308143, 0.590432749713, 0.590432749713])
    assert sum(layer.direction.shape[2] - 1 for layer in model.layers) + 1 == 341


@pytest.mark.parametrize("frames", [1, 100, 341])
def test_each_frame_has_an_output(frames):
    model = ConvGLU(**SMALL)
    assert model(torch.randn(2, frames, 6)).shape == (2, frames, 5)


def test_padding_changes_nothing():
    torch.manual_seed(0)
    model = ConvGLU(**SMALL).eval()
    feats = torch.randn(1, 20, 6)
    padded = torch.nn.functional.pad(feats, (0, 0, 0, 15))
    assert torch.allclose(model(padded)[:, :20], model(feats), atol=1e-6)


def test_weight_is_normed_and_begins_at_its_drawn_value():
    torch.manual_seed(0)
    conv = NormedConv(3, 4, 5)
    bound = (3 / 15) ** 0.5
    assert 0.9 * bound < conv.direction.abs().max() <= bound
    assert conv.bias.abs().max() <= (1 / 15) ** 0.5
    x = torch.randn(2, 3, 9)
    plain = torch.nn.functional.conv1d(x, conv.direction, conv.bias)
    assert torch.allclose(conv(x), plain, atol=1e-6)
    with torch.no_grad():
        conv.direction.mul_(3)
    assert torch.allclose(conv(x), plain, atol=1e-6)


def test_convolution_runs_in_half_precision_with_float32_parameters():
    conv = NormedConv(3, 4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        out = conv(torch.randn(2, 3, 9))
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert {param.grad.dtype for param in conv.parameters()} == {torch.float32}


def test_sizes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="3 channels and 2 kernels") as caught:
        ConvGLU(**{**SMALL, "kernels": [3, 3], "channels": [8, 7, 8], "dropout_growth": 3.0})
    assert "sizes [7] before a gate" in str(caught.value)
    assert "dropout of the last layer 1.800" in str(caught.value)
