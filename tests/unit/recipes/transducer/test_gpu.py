"""What only a GPU can show: compiled kernels, memory, precision, no waiting, speed of the search.

python -m pytest -m gpu tests/unit/recipes/transducer/test_gpu.py
"""

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain import Stage

from benchmarks.rnnt_loss import make_inputs
from benchmarks.rnnt_task import make_batch, make_brain, train_on
from recipes.LibriSpeech.ASR.transducer.inputs import JointInputs
from recipes.LibriSpeech.ASR.transducer.lamb import LAMB
from recipes.LibriSpeech.ASR.transducer.loss import make_loss
from tests.conftest import ROOT
from tests.unit.recipes.transducer.test_convergence import (
    Task,
    make_model,
    on_device,
    token_error_rate,
    train,
)
from tests.unit.recipes.transducer.test_loss import run
from tests.unit.recipes.transducer.tiny import joint_inputs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
GIB = 1 << 30
PLAIN = ("dropout", "host_rows")
MODEL = ROOT / "recipes/LibriSpeech/ASR/transducer/hparams/model/transducer.yaml"


@pytest.fixture(scope="module")
def model():
    with MODEL.open(encoding="utf-8") as file:
        loaded = load_hyperpyyaml(file, {"vocab_size": 1023})
    for module in loaded["modules"].values():
        module.to("cuda")
    return loaded


@pytest.mark.parametrize("name", ["packed", "triton"])
@pytest.mark.parametrize("shape", [(192, 205, 56, 1024), (192, 321, 125, 1024)])
def test_loss_keeps_its_memory(name, shape):
    inputs = make_inputs(shape, lengths="varied", device="cuda", dtype=torch.bfloat16)
    loss = make_loss(name, chunk_rows=32768, joint_size=512, num_classes=1024)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    loss(inputs).mean().backward()
    assert torch.cuda.max_memory_allocated() - before <= GIB


def test_triton_loss_equals_packed_loss_of_the_cpu():
    inputs = joint_inputs([(30, 12), (20, 9), (1, 3), (5, 0)], size=64, v=100)
    cpu = run(make_loss("packed", chunk_rows=64, joint_size=64, num_classes=100), inputs)
    moved = JointInputs(
        **{name: value.to("cuda") for name, value in vars(inputs).items() if name not in PLAIN}
    )
    torch.backends.cuda.matmul.allow_tf32 = False
    gpu = run(make_loss("triton", chunk_rows=64, joint_size=64, num_classes=100), moved)
    assert torch.allclose(cpu[0], gpu[0].cpu(), rtol=1e-4)
    for ours, theirs in zip(cpu[1], gpu[1], strict=True):
        assert torch.allclose(ours, theirs.cpu(), atol=1e-3)


@pytest.mark.parametrize("loss", ["packed", "triton"])
def test_step_does_not_wait_for_the_device(tmp_path, loss):
    brain = make_brain("train.yaml", "fast", tmp_path, loss=loss)
    batch = make_batch(32, shape="simulated", vocab_size=1023, seed=0, pin=True)
    for _ in range(3):
        train_on(brain, batch, micro_batch=16)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            train_on(brain, batch, micro_batch=16)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_close_to_fp32(tmp_path, precision):
    found = {}
    batch = make_batch(8, shape="simulated", vocab_size=1023, seed=0, pin=False)
    for name in ("fp32", precision):
        folder = tmp_path / name
        folder.mkdir()
        brain = make_brain("train.yaml", "fast", folder, precision=name, freq_masks=0, time_masks=0)
        brain.modules.eval()  # no dropout
        brain.modules.encoder.train()
        for stack in (brain.modules.encoder.pre_rnn, brain.modules.encoder.post_rnn):
            stack.lstm.dropout = stack.dropout.p = 0.0
        brain.modules.predictor.dec_rnn.lstm.train()
        brain.modules.predictor.dec_rnn.lstm.dropout = 0.0
        torch.manual_seed(0)
        with brain.training_ctx:
            outputs = brain.compute_forward(batch, Stage.TRAIN)
        outputs["losses"].mean().backward()
        layers = (
            brain.modules.encoder.pre_rnn.lstm.weight_ih_l0,
            brain.modules.encoder.joint_enc.weight,
            brain.modules.joint.joint_net.weight,
        )
        grads = [weight.grad.float().flatten() for weight in layers]
        found[name] = (outputs["losses"].mean().item(), grads)
    exact, half = found["fp32"], found[precision]
    assert half[0] == pytest.approx(exact[0], rel=5e-3)
    for ours, theirs in zip(half[1], exact[1], strict=True):
        assert torch.cosine_similarity(ours, theirs, dim=0) > 0.999


def test_fp16_skips_no_update(tmp_path):
    # A skipped update would halve the scale.
    brain = make_brain("train.yaml", "fast", tmp_path, precision="fp16")
    batch = make_batch(16, shape="simulated", vocab_size=1023, seed=0, pin=True)
    for _ in range(200):
        train_on(brain, batch, micro_batch=16)
    assert brain.optimizer_step == 200
    assert brain.scaler.get_scale() == 512.0


def test_transducer_learns_a_synthetic_language_in_bfloat16():
    torch.manual_seed(0)
    model = make_model(pre_layers=1, post_layers=1, pred_layers=1, scale=1.0).to("cuda")
    task = Task(0)
    batches = (task.batch(32) for _ in range(300))
    average = train(model, batches, lr=0.02, device="cuda", dtype=torch.bfloat16)
    with average.in_place():
        assert token_error_rate(model, on_device(Task(1).batch(128), "cuda")) <= 10.0


def test_search_of_dev_clean_in_one_batch(model):
    enc = torch.randn(2703, 117, 512, device="cuda")
    steps = torch.full((2703,), 117, device="cuda")
    found = model["search"](enc, steps)
    assert len(found) == 2703


def test_update_of_all_parameters_reads_nothing(model):
    params = [p for module in model["modules"].values() for p in module.parameters()]
    optimizer = LAMB(params, lr=0.001)
    for param in params:
        param.grad = torch.randn_like(param)
    optimizer.step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
