"""SAM checkpoints: sizes are read from the tensors, wrong files refused, the package asked for."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_sam import NEEDS_SAM, Make

from VISTA3DLib.errors import CheckpointError, SettingsError
from VISTA3DLib.training import sam_features
from VISTA3DLib.training.sam_features import load_slice_encoder

pytestmark = NEEDS_SAM


@pytest.mark.parametrize(("width", "depth", "heads", "everywhere"), [(48, 3, 3, (0, 2)), (64, 1, 4, (0,))])
def test_the_size_of_the_encoder_is_read_from_its_tensors(
    tmp_path: Path, checkpoint: Path, width: int, depth: int, heads: int, everywhere: tuple[int, ...]
) -> None:
    modeling = sam_features._modeling()
    encoder = modeling.ImageEncoderViT(
        img_size=96, embed_dim=width, depth=depth, num_heads=heads, use_rel_pos=True, window_size=2,
        global_attn_indexes=everywhere, norm_layer=lambda n: torch.nn.LayerNorm(n, eps=1e-6),
    ).eval()  # fmt: skip
    stored = torch.load(checkpoint, weights_only=True)
    others = {k: v for k, v in stored.items() if not k.startswith("image_encoder.")}
    path = tmp_path / "sam.pth"
    torch.save({**others, **{f"image_encoder.{k}": v for k, v in encoder.state_dict().items()}}, path)
    loaded = load_slice_encoder(path, torch.device("cpu"))
    image = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = encoder(image)
        assert torch.allclose(loaded._encoder(image), expected, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("kind", "width", "depth", "heads"), [("b", 768, 12, 12), ("l", 1024, 24, 16), ("h", 1280, 32, 16)]
)
def test_published_sizes_are_recognised(kind: str, width: int, depth: int, heads: int) -> None:
    """ViT-B, L and H as segment-anything's registry makes them, by their shapes alone (no memory, no weights)."""
    modeling = sam_features._modeling()
    places = {"b": (2, 5, 8, 11), "l": (5, 11, 17, 23), "h": (7, 15, 23, 31)}[kind]
    with torch.device("meta"):
        published = modeling.ImageEncoderViT(
            embed_dim=width, depth=depth, num_heads=heads, use_rel_pos=True, window_size=14, global_attn_indexes=places
        )
        tensors = {f"image_encoder.{k}": v for k, v in published.state_dict().items()}
        found: Any = sam_features._image_encoder(modeling, tensors, Path("sam.pth"))
    assert {k: v.shape for k, v in found.state_dict().items()} == {
        k: v.shape for k, v in published.state_dict().items()
    }
    assert [b.window_size for b in found.blocks] == [b.window_size for b in published.blocks]
    assert found.blocks[0].attn.num_heads == heads
    assert found.img_size == 1024


def test_wrong_checkpoints_are_refused_by_name(make: Make, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="missing"):
        make(sam_checkpoint=tmp_path / "missing.pth")
    stored = torch.load(checkpoint, weights_only=True)
    broken: dict[str, dict[str, torch.Tensor]] = {
        "other network": {"encoder.weight": torch.zeros(3)},
        "lacks a block": {k: v for k, v in stored.items() if "blocks.0" not in k},
        "lacks a tensor": {k: v for k, v in stored.items() if k != "image_encoder.neck.1.bias"},
        "has one more": {**stored, "image_encoder.adapter.weight": torch.zeros(3)},
        "has another shape": {**stored, "mask_decoder.output_upscaling.0.bias": torch.zeros(3)},
    }
    for name, tensors in broken.items():
        path = tmp_path / f"{name}.pth"
        torch.save(tensors, path)
        with pytest.raises(CheckpointError, match=name) as caught:
            make(sam_checkpoint=path)
        assert "sam_vit_h" in caught.value.fix
    text = tmp_path / "text.pth"
    text.write_text("not weights")
    with pytest.raises(CheckpointError, match="text"):
        make(sam_checkpoint=text)


def test_checkpoints_with_code_are_refused(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "code.pth"
    torch.save({"image_encoder": torch.nn.Conv2d(1, 1, 1), "run": print}, path)
    with pytest.raises(CheckpointError, match="more than tensors"):
        make(sam_checkpoint=path)


def test_features_that_are_not_finite_stop_the_run(make: Make, checkpoint: Path, tmp_path: Path) -> None:
    tensors = torch.load(checkpoint, weights_only=True)
    tensors["image_encoder.neck.0.weight"] *= 1e38
    tensors["image_encoder.neck.2.weight"] *= 1e38
    tensors["mask_decoder.output_upscaling.3.weight"] += float("inf")
    path = tmp_path / "hot.pth"
    torch.save(tensors, path)
    with pytest.raises(CheckpointError, match="not finite"):
        make(sam_checkpoint=path)


def test_without_segment_anything_the_error_says_how_to_install_it(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, sam_features._ALIAS)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match="segment-anything, which is not installed") as caught:
        make()
    assert "pip install segment-anything" in caught.value.fix


def test_a_broken_installation_is_told_from_a_missing_one(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in sys.modules if name.startswith(sam_features._ALIAS)]:
        monkeypatch.delitem(sys.modules, name)
    package = tmp_path / "segment_anything" / "modeling"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from .sam import Sam\n")
    found = SimpleNamespace(submodule_search_locations=[str(package.parent)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: found)
    with pytest.raises(SettingsError, match="is broken"):
        make()
    assert sam_features._ALIAS not in sys.modules


def test_neither_torchvision_nor_the_predictor_is_imported() -> None:
    """In a process of its own, as other tests may import torchvision; what MONAI tries to import does not count."""
    code = (
        "import sys; from VISTA3DLib.training import sam_features; before = set(sys.modules);"
        "sam_features._modeling().ImageEncoderViT;"
        "print([m for m in set(sys.modules) - before if m.split('.')[0] in ('torchvision', 'segment_anything')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
