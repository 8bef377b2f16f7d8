"""The network taken apart: the pieces give what the whole gives; devices and precisions are checked by doing."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.networks.nets.vista3d import vista3d132

from VISTA3DLib.devices import Runtime, choose_runtime, describe_device, is_out_of_memory
from VISTA3DLib.errors import ClassError, DeviceError
from VISTA3DLib.estimate import window_gflop
from VISTA3DLib.model import Model, WindowPrompt
from VISTA3DLib.network import parameter_count, seeded_network
from VISTA3DLib.settings import NetworkSettings

CPU = Runtime(device=torch.device("cpu"))


def window(seed: int = 0, side: int = 16) -> torch.Tensor:
    return torch.rand(1, 1, side, side, side, generator=torch.Generator().manual_seed(seed))


def prompt() -> WindowPrompt:
    return WindowPrompt(coordinates=np.array([[8.0, 8.0, 8.0], [3.5, 12.0, 7.0]]), labels=(1, 0))


def test_features_times_embeddings_are_the_networks_logits(a_model: Model) -> None:
    ids = (1, 5, 132, 200)
    with torch.no_grad():
        theirs = a_model.network(window(), class_vector=torch.tensor(ids)[:, None])[:, 0]
    features = a_model.automatic_features(window())[0]
    ours = torch.einsum("kc,cxyz->kxyz", a_model.class_embeddings(ids), features)
    assert float((ours - theirs).abs().max()) < 1e-5 * float(theirs.abs().max())


@pytest.mark.parametrize("class_id", [None, 5, 133])
def test_folded_point_logits_are_the_networks(a_model: Model, class_id: int | None) -> None:
    points = torch.tensor([[[8.0, 8.0, 8.0], [3.5, 12.0, 7.0]]])
    prompt_class = None if class_id is None else torch.tensor([[class_id]])
    with torch.no_grad():
        theirs = a_model.network(
            window(), point_coords=points, point_labels=torch.tensor([[1, 0]]), prompt_class=prompt_class
        )[0, 0]
    asked = replace(prompt(), zero_shot=class_id == 133)
    ours = a_model.point_logits(a_model.point_features(window()), asked)
    assert float((ours - theirs).abs().max()) < 1e-5 * float(theirs.abs().max())


def test_both_branches_in_one_pass_are_the_same_as_in_two(a_model: Model) -> None:
    point, automatic = a_model.both_features(window())
    assert torch.allclose(point, a_model.point_features(window()), atol=1e-6)
    assert torch.allclose(automatic, a_model.automatic_features(window()), atol=1e-6)


def test_lower_precision_is_close_and_logits_stay_float32(a_model: Model, tiny_settings: NetworkSettings) -> None:
    half = Model(seeded_network(tiny_settings, 0), tiny_settings, Runtime(device=CPU.device, precision="bf16"))
    exact = a_model.point_logits(a_model.point_features(window()), prompt())
    rough = half.point_logits(half.point_features(window()), prompt())
    assert rough.dtype == torch.float32
    assert float((rough - exact).abs().mean()) < 0.05 * float(exact.abs().max())


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_numbers(a_model: Model, tiny_settings: NetworkSettings) -> None:
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    fused = Model(seeded_network(tiny_settings, 0), tiny_settings, Runtime(device=CPU.device, compile=True))
    assert torch.allclose(fused.automatic_features(window()), a_model.automatic_features(window()), atol=1e-4)
    assert torch.allclose(fused.point_features(window()), a_model.point_features(window()), atol=1e-4)


@pytest.mark.parametrize("class_id", [0, -1, 512])
def test_class_ids_outside_the_table_are_refused(a_model: Model, class_id: int) -> None:
    with pytest.raises(ClassError, match=str(class_id)):
        a_model.class_embeddings([class_id])


def test_the_published_network_is_monais() -> None:
    with torch.device("meta"):
        ours, theirs = seeded_network(NetworkSettings(), 0), vista3d132()
    assert parameter_count(ours) == parameter_count(theirs) == 217_964_982
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}


def test_the_operation_count_is_the_published_networks() -> None:
    """Spec 1.3: 1,823.7 + 1,110.4 + 1,043.7 GFLOP."""
    assert window_gflop(NetworkSettings()) == pytest.approx(1823.7 + 1110.4 + 1043.7, rel=0.01)


def test_the_seed_decides_the_parameters_and_nothing_else_changes(tiny_settings: NetworkSettings) -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first, second, other = (seeded_network(tiny_settings, s) for s in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    weights = [n.image_encoder.encoder.conv_init.weight for n in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("device", "precision", "text"),
    [("tpu9", "fp32", "tpu9"), ("cpu", "fp8", "fp8"), ("cuda:99", "auto", "cuda:99")],
)
def test_devices_and_precisions_that_are_not_there_are_refused(device: str, precision: str, text: str) -> None:
    with pytest.raises(DeviceError, match=text) as caught:
        choose_runtime(device, precision)
    assert caught.value.fix


def test_the_processor_is_described_with_its_memory() -> None:
    runtime = choose_runtime("cpu")
    assert runtime.precision == "fp32"
    assert "GiB" in describe_device(runtime.device)


@pytest.mark.parametrize(("threads", "text"), [(1, "CPU, 1 thread, "), (2, "CPU, 2 threads, ")])
def test_one_thread_is_called_a_thread(threads: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert describe_device(torch.device("cpu")).startswith(text)


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 B"),
            True,
        ),
        (RuntimeError("could not create a primitive"), True),
        (MemoryError(), True),
        (RuntimeError("expected Half but found Float"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_that_mean_no_memory_are_told_from_others(error: BaseException, memory: bool) -> None:
    assert is_out_of_memory(error) == memory
