"""Supervoxels from SAM features (spec 5.7).

What is real here: segment-anything's own classes (ImageEncoderViT, MaskDecoder) loaded the way that production loads
them, checkpoints on disk in SAM's format with SAM's tensor names, the three views, SLIC, the files. What is not: the
network is tiny (2 blocks of 32 channels, 64 x 64 pixels) and its weights are random, so nothing here says how well
SAM's supervoxels follow organs.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from monai.transforms import Resize, ScaleIntensityRange
from monai.transforms.utils import get_largest_connected_component_mask
from odd_volumes import blobs
from skimage.segmentation import slic

from VISTA3DLib.errors import CancelledError, CheckpointError, OutputError, SettingsError
from VISTA3DLib.geometry import Index3
from VISTA3DLib.progress import Cancel, Progress
from VISTA3DLib.training import sam_features, sam_views, supervoxels
from VISTA3DLib.training.sam_features import SliceEncoder, load_slice_encoder
from VISTA3DLib.training.supervoxel_grid import air_mask, block_mean
from VISTA3DLib.training.supervoxels import SupervoxelSettings, make_supervoxels, write_supervoxels
from VISTA3DLib.volume import Volume

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("segment_anything") is None, reason="segment-anything is not installed"
)
SHAPE = (18, 15, 12)
SLICES = sum(SHAPE)
Make = Callable[..., npt.NDArray[np.int16]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SAM with random weights, saved as SAM's checkpoints are (with the prompt encoder's tensors in it)."""
    modeling = sam_features._modeling()
    encoder = modeling.ImageEncoderViT(
        img_size=64, embed_dim=32, depth=2, num_heads=2, use_rel_pos=True, window_size=3, global_attn_indexes=(1,)
    )
    transformer = modeling.TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
    decoder = modeling.MaskDecoder(transformer_dim=256, transformer=transformer)
    random = torch.Generator().manual_seed(0)
    tensors = {"prompt_encoder.no_mask_embed.weight": torch.zeros(1, 256)}
    for prefix, module in (("image_encoder", encoder), ("mask_decoder", decoder)):
        for name, value in module.state_dict().items():
            spread = 0.5 / max(1, value[0].numel() if value.ndim > 1 else 1) ** 0.5
            tensors[f"{prefix}.{name}"] = torch.randn(value.shape, generator=random) * spread + (value == 1)
    path = tmp_path_factory.mktemp("sam") / "sam_tiny.pth"
    torch.save(tensors, path)
    return path


@pytest.fixture(scope="module")
def volume() -> Volume:
    """Blobs of three different sides, in which no axis can stand for another."""
    return Volume(array=blobs(SHAPE), affine=np.diag([-1.5, -1.5, 2.0, 1.0]))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads cost more than they gain on images of 64 x 64."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make(checkpoint: Path, volume: Volume) -> Make:
    """Makes supervoxels of the volume with the tiny SAM."""

    def run(work_folder: Path | None = None, *, of: Volume = volume, **values: Any) -> npt.NDArray[np.int16]:
        runs = {k: values.pop(k) for k in ("progress", "cancel", "device") if k in values}
        chosen = {"segments": 30, "compactness": 0.01, "sam_checkpoint": checkpoint, **values}
        return make_supervoxels(of, SupervoxelSettings(method="sam", **chosen), work_folder=work_folder, **runs)

    return run


def reference_features(volume: Volume, checkpoint: Path) -> torch.Tensor:
    """Spec 5.7 written down plainly, all in memory at the volume's resolution, with MONAI's transforms: 32 x X x Y x Z.

    Only the network is shared with the code under test.
    """
    own = load_slice_encoder(checkpoint, torch.device("cpu"))
    data = ScaleIntensityRange(-1000, 1000, 0, 255, clip=True)(torch.from_numpy(volume.array.astype(np.float32)))
    mean = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
    deviation = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)
    total: Any = 0
    for order, back in (((2, 0, 1), (0, 1, 2, 3)), ((1, 0, 2), (0, 1, 3, 2)), ((0, 1, 2), (0, 3, 1, 2))):
        slices, parts = data.permute(order), []
        for start in range(0, slices.shape[0], 8):
            image = slices[start : start + 8]
            d, h, w = image.shape
            side = max(h, w)
            image = torch.nn.functional.pad(image, (0, side - w, 0, side - h))
            image = Resize([d, 64, 64], mode="bilinear")(image[None])[0]
            image = (torch.stack([image] * 3, 1) - mean) / deviation
            with torch.inference_mode():
                features = own._upscaling(own._encoder(image))
            assert features.shape == (d, 32, 16, 16)
            parts.append(Resize([side, side, d], mode="bilinear")(features.permute(1, 2, 3, 0))[:, :h, :w])
        total = total + torch.cat(parts, -1).permute(back)
    return total.as_tensor() if hasattr(total, "as_tensor") else total


def reference_supervoxels(features: torch.Tensor, volume: Volume, segments: int) -> npt.NDArray[np.int64]:
    """SLIC and the air rule of the spec; the numbers made contiguous, in their order."""
    labels = slic(features.numpy(), channel_axis=0, compactness=0.01, n_segments=segments, sigma=3)
    air = get_largest_connected_component_mask(torch.from_numpy(volume.array < -800), connectivity=None)[None, None]
    grown = torch.nn.functional.max_pool3d(air.float(), 3, 1, 1)
    closed = -torch.nn.functional.max_pool3d(-grown, 3, 1, 1)
    labels[closed[0, 0].bool().numpy()] = 0
    present = np.unique(labels[labels > 0])
    return np.asarray(np.searchsorted(present, labels) + 1) * (labels > 0)


# ------------------------------------------------------------------------------------------------ the algorithm


def test_equals_the_plain_algorithm_of_the_spec_when_the_working_grid_is_the_volumes(
    make: Make, volume: Volume, checkpoint: Path
) -> None:
    features = reference_features(volume, checkpoint)
    expected = reference_supervoxels(features, volume, 30)
    assert len(np.unique(expected)) > 10
    assert np.array_equal(make(), expected)


def test_batches_change_nothing(make: Make) -> None:
    assert np.array_equal(make(slices_at_once=1), make(slices_at_once=8))


def test_features_on_a_coarser_grid_are_the_means_of_the_fine_ones(
    volume: Volume, checkpoint: Path, tmp_path: Path
) -> None:
    """Blocks that do not divide the volume, and fewer slices at once than a block has."""
    fine = reference_features(volume, checkpoint).numpy()
    encoder = load_slice_encoder(checkpoint, torch.device("cpu"))
    blocks: Index3 = (3, 2, 4)
    store = sam_views.view_features(volume.array, blocks, encoder, tmp_path / "w", checkpoint, slices_at_once=3)
    coarse = store.total()
    assert coarse.shape == (6, 8, 3, 32)
    for channel in (0, 7, 31):
        assert np.allclose(coarse[..., channel], block_mean(fine[channel], blocks), atol=1e-4)
    store.remove()
    assert not (tmp_path / "w").exists()


def test_a_coarser_grid_still_covers_all_that_is_not_air(make: Make, volume: Volume) -> None:
    labels = make(working_mm=3.0, segments=10)
    assert np.array_equal(labels == 0, air_mask(volume.array))
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
    assert 3 < labels.max() <= 20


def test_large_volumes_are_coarsened_on_their_own(make: Make, volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(supervoxels._MOST_VOXELS, "sam", 700)
    shapes = []
    inner = supervoxels.slic_supervoxels

    def seen(features: npt.NDArray[np.float32], *args: Any, **values: Any) -> Any:
        shapes.append(features.shape)
        return inner(features, *args, **values)

    monkeypatch.setattr(supervoxels, "slic_supervoxels", seen)
    assert make(segments=10).shape == volume.array.shape
    assert np.prod(shapes[0][:3]) <= 700


# ------------------------------------------------------------------------------------------------ resuming


def test_a_killed_run_continues_and_gives_the_same(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = make()
    encoded: list[int] = []
    inner = SliceEncoder.__call__

    def counting(self: SliceEncoder, hu: torch.Tensor) -> torch.Tensor:
        encoded.append(len(hu))
        if len(encoded) == 22:  # in the second view
            raise KeyboardInterrupt
        return inner(self, hu)

    monkeypatch.setattr(SliceEncoder, "__call__", counting)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, slices_at_once=4)
    done = json.loads((tmp_path / "progress.json").read_text())["done"]
    assert done == [12, 8, 0]
    with (tmp_path / "view-1.float32").open("ab") as file:
        file.write(b"half a slice that was being written")
    reports: list[Progress] = []
    assert np.array_equal(make(tmp_path, progress=reports.append), expected)
    assert sum(encoded) == 22 + SLICES - 20
    assert f"20 of {SLICES} slices" in "".join(r.note for r in reports)
    assert not tmp_path.exists() or not list(tmp_path.iterdir())


def test_a_process_killed_outright_is_continued_by_another(
    volume: Volume, checkpoint: Path, tmp_path: Path, make: Make
) -> None:
    """SIGKILL at the 20th slice, which no process can catch."""
    np.savez(tmp_path / "volume.npz", array=volume.array, affine=volume.affine)
    code = f"""
import os, signal
from pathlib import Path
import numpy as np, torch
from VISTA3DLib.training.supervoxels import SupervoxelSettings, make_supervoxels
from VISTA3DLib.volume import Volume
torch.set_num_threads(1)
volume = Volume(**np.load({str(tmp_path / "volume.npz")!r}))
settings = SupervoxelSettings(method="sam", segments=30, sam_checkpoint=Path({str(checkpoint)!r}))
def kill(report):
    if report.done >= 20:
        os.kill(os.getpid(), signal.SIGKILL)
make_supervoxels(volume, settings, work_folder=Path({str(tmp_path / "work")!r}), progress=kill)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    notes: list[str] = []
    assert np.array_equal(make(tmp_path / "work", progress=lambda r: notes.append(r.note)), make())
    assert f"20 of {SLICES} slices" in "".join(notes)
    assert not (tmp_path / "work").exists()


def test_a_cancelled_run_keeps_what_it_has_and_reports_progress(make: Make, tmp_path: Path) -> None:
    cancel = Cancel()
    reports: list[Progress] = []

    def stop(report: Progress) -> None:
        reports.append(report)
        if report.done >= 8:
            cancel.cancel()

    with pytest.raises(CancelledError):
        make(tmp_path, progress=stop, cancel=cancel)
    assert reports[-1].stage == "SAM features"
    assert reports[-1].total == SLICES
    assert json.loads((tmp_path / "progress.json").read_text())["done"][0] >= 8


@pytest.mark.parametrize("spoiled", ["volume", "marker", "truncated", "checkpoint"])
def test_leftovers_that_do_not_fit_are_not_used(
    make: Make, volume: Volume, checkpoint: Path, tmp_path: Path, spoiled: str
) -> None:
    cancel = Cancel()
    with pytest.raises(CancelledError):
        make(tmp_path, progress=lambda r: cancel.cancel() if r.done >= 20 else None, cancel=cancel)
    of = volume
    if spoiled == "volume":
        of = Volume(array=blobs(SHAPE, seed=1), affine=volume.affine)
    elif spoiled == "marker":
        (tmp_path / "progress.json").write_text('{"key": ')
    elif spoiled == "truncated":
        os.truncate(tmp_path / "view-0.float32", 100)
    else:
        os.utime(checkpoint)
    assert np.array_equal(make(tmp_path, of=of), make(of=of))


def test_other_files_in_the_work_folder_stay(make: Make, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    make(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_written_file_names_its_method_and_the_work_folder_is_gone(
    tmp_path: Path, volume: Volume, checkpoint: Path
) -> None:
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(volume.array, volume.affine), tmp_path / "ct.nii.gz")
    settings = SupervoxelSettings(method="sam", segments=20, sam_checkpoint=checkpoint)
    write_supervoxels(tmp_path / "ct.nii.gz", tmp_path / "sv.nii.gz", settings)
    assert b"sam" in nibabel.load(tmp_path / "sv.nii.gz").header["descrip"].tobytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ct.nii.gz", "sv.nii.gz"]


# ------------------------------------------------------------------------------------------------ a full disk


def test_too_little_room_is_said_before_anything_is_encoded(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = 3 * np.prod(SHAPE) * 32 * 4
    monkeypatch.setattr(SliceEncoder, "__call__", None)
    monkeypatch.setattr(sam_views.shutil, "disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    with pytest.raises(OutputError, match=r"GB are free"):
        make(tmp_path)


def test_a_disk_that_fills_up_is_an_output_error(make: Make, tmp_path: Path) -> None:
    """The kernel's own refusal, by a limit on the size of files."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OutputError, match="view-0"):
            make(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert np.array_equal(make(tmp_path), make())


def test_a_work_folder_that_cannot_be_made_is_an_output_error(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        make(tmp_path / "file" / "work")


# ------------------------------------------------------------------------------------------------ checkpoints


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


# ------------------------------------------------------------------------------------------------ the package


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
