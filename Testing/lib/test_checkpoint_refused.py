"""What people put in the place of weights: refused by name, and never run."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from VISTA3DLib.checkpoint import load_network, read_checkpoint
from VISTA3DLib.errors import CheckpointError
from VISTA3DLib.model import Model
from VISTA3DLib.network import seeded_network
from VISTA3DLib.settings import NetworkSettings

Tensors = Mapping[str, torch.Tensor]


@pytest.fixture(scope="module")
def tensors(tiny_settings: NetworkSettings) -> Tensors:
    return seeded_network(tiny_settings, 3).state_dict()


@dataclass
class Payload:
    """Runs when unpickled."""

    trace: str

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.trace,)


class TestWhatPeoplePutInTheirPlace:
    def refused(self, path: Path, message: str) -> None:
        with pytest.raises(CheckpointError, match=message) as caught:
            load_network(path)
        assert str(path) in caught.value.message
        assert caught.value.fix

    def test_nothing(self, tmp_path: Path) -> None:
        self.refused(tmp_path / "gone.pt", "no weights at")
        self.refused(tmp_path, "no weights at")

    @pytest.mark.parametrize("ending", [".pt", ".safetensors", ""])
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is empty"),
            (b"\n<!DOCTYPE html><html>Log in</html>", "is a web page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:88\nsize 87\n", "git lfs pull"),
            (b"not weights at all", "truncated"),
            (b"\x08\0\0\0\0\0\0\0{}      ", "no VISTA3D checkpoint: .* none"),
        ],
        ids=["empty", "html", "lfs pointer", "text", "no tensors"],
    )
    def test_other_files(self, tmp_path: Path, content: bytes, message: str, ending: str) -> None:
        path = tmp_path / f"weights{ending}"
        path.write_bytes(content)
        self.refused(path, message)

    def test_the_advice_to_load_it_without_a_check_is_not_passed_on(self, tmp_path: Path) -> None:
        path = tmp_path / "ct.nii.gz"
        path.write_bytes(gzip.compress(b"no weights"))
        with pytest.raises(CheckpointError) as caught:
            load_network(path)
        assert "weights_only" not in str(caught.value)
        assert "Unsupported operand" in caught.value.message

    def test_a_pickle_with_code_is_refused_and_not_run(self, tmp_path: Path) -> None:
        trace = tmp_path / "trace"
        for number, write in enumerate((torch.save, lambda o, p: p.write_bytes(pickle.dumps(o, protocol=2)))):
            path = tmp_path / f"evil{number}.pt"
            write({"model": Payload(str(trace))}, path)
            self.refused(path, "more than tensors")
            assert not trace.exists()

    def test_a_whole_saved_model_is_refused(self, a_model: Model, tmp_path: Path) -> None:
        path = tmp_path / "model.pt"
        torch.save(a_model.network, path)
        self.refused(path, "more than tensors")

    def test_another_network(self, tmp_path: Path) -> None:
        path = tmp_path / "unet.pt"
        torch.save({"encoder.0.weight": torch.rand(3), "head.bias": torch.rand(2)}, path)
        self.refused(path, r"no VISTA3D checkpoint: .* encoder\.0\.weight, head\.bias")

    @pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), "text", 7])
    def test_pickles_of_other_things(self, tmp_path: Path, content: object) -> None:
        path = tmp_path / "other.pt"
        torch.save(content, path)
        self.refused(path, "no weights")

    def test_a_checkpoint_in_an_unknown_wrapper_says_what_is_in_it(self, tensors: Tensors, tmp_path: Path) -> None:
        path = tmp_path / "ema.pt"
        torch.save({"ema": dict(tensors), "epoch": 3}, path)
        self.refused(path, "no tensors; its entries are ema, epoch")

    def test_a_pickle_that_contains_itself_ends(self, tmp_path: Path) -> None:
        path, loop = tmp_path / "loop.pt", dict[str, Any]()
        loop["model"] = loop
        torch.save(loop, path)
        self.refused(path, "no tensors")

    @pytest.mark.parametrize("shape", [(), (7, 1, 3, 3, 3), (0,)])
    def test_a_first_layer_of_an_impossible_size(
        self, tensors: Tensors, tmp_path: Path, shape: tuple[int, ...]
    ) -> None:
        path = tmp_path / "odd.pt"
        torch.save({**tensors, "image_encoder.encoder.conv_init.weight": torch.zeros(shape)}, path)
        self.refused(path, "no VISTA3D checkpoint|no size that")

    @pytest.mark.parametrize("ending", [".pt", ".safetensors"])
    def test_truncated_files(self, tensors: Tensors, tmp_path: Path, ending: str) -> None:
        path = tmp_path / f"weights{ending}"
        torch.save(dict(tensors), path) if ending == ".pt" else save_file(dict(tensors), path)
        whole = path.read_bytes()
        for length in (4, 12, 300, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            self.refused(path, "truncated")

    @pytest.mark.parametrize(
        "text",
        ["{", "[]", '{"settings": 3}', '{"settings": {"format": 99}}', '{"settings": {"format": 1}}'],
    )
    def test_damaged_settings(self, tensors: Tensors, tmp_path: Path, text: str) -> None:
        path = tmp_path / "weights.safetensors"
        save_file(dict(tensors), path, metadata={"vista3d": text})
        self.refused(path, "settings inside .* cannot be read")

    @pytest.mark.parametrize(
        ("key", "value"), [("catalogue", {}), ("window", [17, 16, 16]), ("intensity", {"rule": 1})]
    )
    def test_settings_that_cannot_be(
        self, tensors: Tensors, tiny_settings: NetworkSettings, tmp_path: Path, key: str, value: object
    ) -> None:
        path = tmp_path / "weights.safetensors"
        text = json.dumps({"settings": {**tiny_settings.to_dict(), key: value}})
        save_file(dict(tensors), path, metadata={"vista3d": text})
        self.refused(path, "settings inside .* cannot be read")

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_any_damage_is_a_checkpoint_error_or_harmless(self, tmp_path: Path, data: st.DataObject) -> None:
        content = {f"layer.{i}": torch.arange(6.0) for i in range(3)}
        path = tmp_path / "damaged"
        form = data.draw(st.sampled_from(["zip", "old", "safetensors"]))
        if form == "safetensors":
            save_file(content, path)
        else:
            torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
        damaged = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 8))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(damaged[: data.draw(st.integers(1, len(damaged)))])
        with warnings.catch_warnings(), contextlib.suppress(CheckpointError):
            warnings.simplefilter("ignore")  # torch's, about the old format
            read_checkpoint(path)


def test_a_pickle_with_code_is_refused_and_the_message_names_what_it_wants(tmp_path: Path) -> None:
    path = tmp_path / "code.pt"
    torch.save({"x": print}, path)
    with pytest.raises(CheckpointError, match="GLOBAL print") as caught:
        read_checkpoint(path)
    assert "\x1b" not in caught.value.message
