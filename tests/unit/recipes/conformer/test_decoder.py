"""The decoder against SpeechBrain's layer, and its caches against the whole sequence."""

import pytest
import torch
from speechbrain.lobes.models.transformer.Transformer import TransformerDecoderLayer

from recipes.MuSTC.ST.conformer.decoder import Decoder, DecoderLayer
from tests.unit.recipes.conformer.models import count_parameters

SIZES = {"d_model": 16, "num_heads": 2, "d_ffn": 24, "dropout": 0.0}
LENGTHS = torch.tensor([9, 4])


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    return Decoder(num_tokens=11, num_layers=2, **SIZES).eval()


def states():
    return torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(1))


def copied(ours: DecoderLayer) -> TransformerDecoderLayer:
    """SpeechBrain's layer with the weights of ours."""
    stock = TransformerDecoderLayer(24, 2, 16, normalize_before=True).eval()
    pairs = {"self_attn": ours.self_attention, "multihead_attn": ours.cross_attention}
    with torch.no_grad():
        for name, attention in pairs.items():
            theirs = getattr(stock, name).att
            parts = (attention.query, attention.key, attention.value)
            theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
            theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
            theirs.out_proj.load_state_dict(attention.out.state_dict())
        norms = (ours.self_norm, ours.cross_norm, ours.ffn_norm)
        for name, norm in zip(("norm1", "norm2", "norm3"), norms, strict=True):
            theirs = getattr(stock, name).norm
            theirs.load_state_dict(norm.state_dict())
            theirs.eps = norm.eps
        linear = [m for m in stock.pos_ffn.modules() if isinstance(m, torch.nn.Linear)]
        for theirs, own in zip(linear, (ours.ffn[0], ours.ffn[3]), strict=True):
            theirs.load_state_dict(own.state_dict())
    return stock


def test_layer_equals_speechbrains():
    torch.manual_seed(0)
    ours = DecoderLayer(**SIZES).eval()
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x, memory = torch.randn(2, 5, 16), states()
    pads = torch.arange(9) >= LENGTHS[:, None]
    causal = torch.ones(5, 5).triu(1).bool()
    expected = copied(ours)(x, memory, tgt_mask=causal, memory_key_padding_mask=pads)[0]
    kept = ours.cross_attention.keys_values(memory)
    found, _ = ours(x, kept, ~pads[:, None, None])
    assert torch.allclose(found, expected, atol=1e-5)


def test_steps_with_caches_equal_the_whole_sequence(decoder):
    tokens = torch.tensor([[2, 4, 5, 6], [2, 7, 7, 8]])
    with torch.no_grad():
        whole = decoder(tokens, states(), LENGTHS)
        state = decoder.start(states(), LENGTHS)
        for place in range(4):
            logits, state = decoder.step(tokens[:, place], state)
            assert torch.allclose(logits, whole[:, place], atol=1e-5)


def test_selected_state_goes_on_as_its_rows(decoder):
    with torch.no_grad():
        _, state = decoder.step(torch.tensor([2, 2]), decoder.start(states(), LENGTHS))
        rows = torch.tensor([1, 0, 1])
        picked, _ = decoder.step(torch.tensor([5, 6, 6]), state.select(rows))
        first, _ = decoder.step(torch.tensor([6, 5]), state)
        second, _ = decoder.step(torch.tensor([6, 6]), state)
    assert torch.allclose(picked, torch.stack([first[1], first[0], second[1]]), atol=1e-6)


def test_decoder_sees_neither_padding_nor_future(decoder):
    wild = states()
    wild[1, 4:] = 50.0
    with torch.no_grad():
        plain = decoder(torch.tensor([[2, 4, 5], [2, 7, 8]]), states(), LENGTHS)
        changed = decoder(torch.tensor([[2, 4, 9], [2, 7, 9]]), wild, LENGTHS)
    assert torch.allclose(plain[:, :2], changed[:, :2], atol=1e-6)


def test_parameter_count_is_that_published():
    with torch.device("meta"):
        layer = DecoderLayer(d_model=512, num_heads=8, d_ffn=2048, dropout=0.1)
        decoder = Decoder(
            num_tokens=8000, num_layers=6, d_model=512, num_heads=8, d_ffn=2048, dropout=0.1
        )
    assert count_parameters(layer) == 4_204_032
    assert count_parameters(decoder) == 33_417_216


def test_embedding_of_padding_is_zero_and_has_no_gradient(decoder):
    decoder(torch.tensor([[2, 4], [2, 0]]), states(), LENGTHS).sum().backward()
    assert not decoder.embedding.weight[0].any()
    assert not decoder.embedding.weight.grad[0].any()
