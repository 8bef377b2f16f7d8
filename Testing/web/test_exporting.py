"""Files are written beside the loop, whole or not at all, with everything that a segment carries."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from browsing import run_alone
from odd_volumes import odd_affine
from scene_host import SceneHost, make_segmentation, make_transform, make_volume
from test_files_maker import small_disk
from VISTA3DScene.frames import volume_grid
from VISTA3DScene.lattice import LatticeMask
from VISTA3DScene.segment_desk import SegmentInfo
from VISTA3DScene.segment_masks import change_mask, read_mask
from VISTA3DScene.tags import PROMPTS_TAG, get_tag

from VISTA3DLib.errors import OutputError
from VISTA3DLib.files.segmentation_read import read_segmentation
from VISTA3DLib.geometry import Box
from VISTA3DWeb import exporting, scene_files
from VISTA3DWeb.exporting import export
from VISTA3DWeb.scene_files import load_scene, read_seg_nrrd
from VISTA3DWeb.segments_copy import SegmentsCopy

AFFINE = odd_affine("oblique")
FINE = AFFINE @ np.diag([0.5, 0.5, 0.5, 1.0])  # every second voxel lies between those of the CT
RANDOM = np.random.default_rng(7)


@pytest.fixture(scope="module")
def host() -> Iterator[SceneHost]:
    running = SceneHost()
    yield running
    running.close()


@pytest.fixture
def scene(host: SceneHost) -> Iterator[Any]:
    """A scene with an oblique CT that cannot be compressed, and a segmentation without a geometry of its own."""
    host.scene.Clear(0)
    volume = make_volume(host.scene, RANDOM.integers(-900, 900, (21, 18, 15)).astype(np.int16), AFFINE, "CT: ä/1")
    volume.CreateDefaultDisplayNodes()
    make_segmentation(host.scene)
    yield host.scene
    host.scene.Clear(0)


def block(start: Sequence[int], shape: Sequence[int], affine: Any = AFFINE) -> LatticeMask:
    """Random voxels in a box that reach its corners."""
    mask = RANDOM.random(shape) < 0.5
    mask[0, 0, 0] = mask[-1, -1, -1] = True
    i, j, k = (int(v) for v in start)
    a, b, c = shape
    return LatticeMask(affine=affine, box=Box(start=(i, j, k), stop=(i + a, j + b, k + c)), mask=mask)


def bench(scene: Any, **masks: LatticeMask | None) -> Any:
    """As much of a workbench as an export looks at, with these segments."""
    volume = scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    segmentation = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    infos = []
    for n, (name, mask) in enumerate(masks.items()):
        segmentation.GetSegmentation().AddEmptySegment(name, name, [0.25, 0.5, 1.0])
        segmentation.GetSegmentation().GetSegment(name).SetTag(PROMPTS_TAG, f"points of {name}")
        if mask is not None:
            change_mask(segmentation, name, mask, LatticeMask.empty(mask.affine))
        infos.append(
            SegmentInfo(
                id=name, name=name, color=(0.25, 0.5, 1.0), class_id=n or None, points=0, visible=True, opacity=1.0
            )
        )
    return SimpleNamespace(volume=volume, segmentation=segmentation, segments=tuple(infos), model=None)


def written(workbench: Any, scene: Any, kind: str, folder: Path) -> Path:
    """Export to the end."""
    return Path(run_alone(export(workbench, scene, kind, folder, ())))


@pytest.mark.parametrize(
    ("kind", "module", "slow"),
    [
        ("seg.nrrd", exporting, "write_segments"),
        ("nii.gz", exporting, "write_segments"),
        ("dcm", exporting, "write_segments"),
        ("seg.nrrd", scene_files, "_compress"),
        ("mrb", scene_files, "_zip"),
    ],
)
def test_the_loop_goes_on_while_a_file_is_written(
    scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, module: Any, slow: str
) -> None:
    loop_went_on = threading.Event()

    def write(path: Path, *_: Any, **__: Any) -> Any:
        assert loop_went_on.wait(60)  # on the loop it would wait in vain
        return SimpleNamespace(path=path)

    monkeypatch.setattr(module, slow, write)
    workbench = bench(
        scene, one=block((1, 2, 3), (4, 5, 6)), other=None if slow == "_compress" else block((9, 9, 9), (2, 3, 4))
    )

    async def run() -> Path:
        writing = asyncio.ensure_future(export(workbench, scene, kind, tmp_path, ()))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(loop_went_on.set)
        return await writing

    assert run_alone(run()).name == f"CT_ä_1.{kind}"


def test_segments_on_the_grid_of_the_ct_are_written_by_the_library(scene: Any, tmp_path: Path) -> None:
    masks = {
        "one": block((1, 2, 3), (4, 5, 6)),
        "two": block((3, 3, 3), (7, 7, 7)),
        "three": block((12, 0, 8), (9, 9, 7)),
    }
    workbench = bench(scene, **masks)
    copy = SegmentsCopy.of(workbench)
    segments, whole = copy.on_grid()
    assert whole
    assert [segment.id for segment in segments] == [1001, 1, 2]  # no class; classes
    found = read_segmentation(written(workbench, scene, "seg.nrrd", tmp_path), copy.grid)
    for segment, mask in zip(found.segments, masks.values(), strict=True):
        assert np.array_equal(found.full_mask(segment), mask.inside(copy.grid.box))


def test_the_copy_stays_what_it_was_when_the_person_goes_on(scene: Any) -> None:
    mask = block((1, 2, 3), (4, 5, 6))
    workbench = bench(scene, one=mask)
    copy = SegmentsCopy.of(workbench)
    change_mask(workbench.segmentation, "one", block((0, 0, 0), (9, 9, 9)), LatticeMask.empty(AFFINE))
    (segment,), _ = copy.on_grid()
    assert segment.box == mask.box
    assert np.array_equal(segment.mask, mask.mask)


@pytest.mark.parametrize(
    ("masks", "why"),
    [
        ({"one": block((2, 2, 2), (9, 8, 7), FINE)}, "between the voxels of the CT"),
        ({"one": block((-4, 2, 2), (9, 8, 7))}, "beyond the CT"),
        ({"one": block((2, 2, 2), (3, 4, 5)), "none": None}, "without voxels"),
        ({"none": None}, "nothing but a segment without voxels"),
    ],
)
def test_what_the_grid_of_the_ct_does_not_hold_is_written_as_it_is(
    scene: Any, tmp_path: Path, masks: dict[str, LatticeMask | None], why: str
) -> None:
    workbench = bench(scene, **masks)
    assert not SegmentsCopy.of(workbench).on_grid()[1], why
    path = written(workbench, scene, "seg.nrrd", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert b"encoding: gzip" in path.read_bytes()
    node = read_seg_nrrd(scene, path)
    for name, mask in masks.items():
        assert get_tag(node.GetSegmentation().GetSegment(name), PROMPTS_TAG) == f"points of {name}"
        found = read_mask(node, name)
        if mask is None or found is None:
            assert found is mask is None
        else:
            assert np.allclose(found.affine @ [*found.box.start, 1], mask.affine @ [*mask.box.start, 1])
            assert np.array_equal(found.mask, mask.mask)


def test_segments_in_a_frame_of_their_own_keep_it_and_a_label_map_is_brought_to_the_ct(
    scene: Any, tmp_path: Path
) -> None:
    workbench = bench(scene, one=block((3, 3, 3), (4, 5, 6)))
    shift = np.eye(4)
    shift[:3, 3] = AFFINE[:3, 0] * 2  # two voxels along i
    workbench.segmentation.SetAndObserveTransformNodeID(make_transform(scene, shift).GetID())
    segments, whole = SegmentsCopy.of(workbench).on_grid()
    assert not whole
    assert segments[0].box.start == (5, 3, 3)


def test_a_scene_comes_back_with_its_ct_its_segments_and_their_points(scene: Any, tmp_path: Path) -> None:
    mask = block((2, 3, 4), (5, 4, 3))
    workbench = bench(scene, one=mask)
    before = values_along(workbench.volume)
    for folder in (tmp_path / "first", tmp_path / "again"):  # a scene that was opened is saved again
        folder.mkdir()
        path = written(workbench, scene, "mrb", folder)
        assert [p.name for p in folder.iterdir()] == [path.name]
        load_scene(scene, path, tmp_path)
        workbench.volume = scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
        workbench.segmentation = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
        assert workbench.volume.GetName() == "CT: ä/1"
        assert values_along(workbench.volume) == before
        found = read_mask(workbench.segmentation, "one")
        assert np.array_equal(found.mask, mask.mask)
        assert get_tag(workbench.segmentation.GetSegmentation().GetSegment("one"), PROMPTS_TAG) == "points of one"
        assert workbench.volume.GetStorageNode().GetUseCompression()


def values_along(volume: Any) -> list[float]:
    """The values of a row of voxels, found by their places: a reader may turn axes round."""
    index = [volume_grid(volume).to_voxel((AFFINE @ [i, 2, 3, 1])[:3]) for i in range(21)]
    return [volume.GetImageData().GetScalarComponentAsDouble(*np.rint(at).astype(int), 0) for at in index]


@pytest.mark.parametrize("kind", ["nii.gz", "seg.nrrd", "seg.nrrd by Slicer", "mrb"])
def test_without_room_there_is_a_message_and_nothing_is_lost_or_left(scene: Any, tmp_path: Path, kind: str) -> None:
    mask = block((0, 0, 0), (60, 60, 60))
    scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode").SetAndObserveImageData(
        make_volume(scene, np.zeros((60, 60, 60), np.int16), AFFINE, "large").GetImageData()
    )
    workbench = bench(scene, one=mask, **({"none": None} if "Slicer" in kind else {}))
    with small_disk(tmp_path / "disk", "16k") as disk:
        with pytest.raises(OutputError, match="be written"):
            written(workbench, scene, kind.split(" ")[0], disk)
        assert not list(disk.iterdir())
    assert np.array_equal(read_mask(workbench.segmentation, "one").mask, mask.mask)
    storage = workbench.volume.GetStorageNode()
    assert storage is None or storage.GetUseCompression()


def test_a_scene_whose_segments_were_cut_off_by_a_full_disk_is_not_offered(
    scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workbench = bench(scene, one=block((2, 3, 4), (5, 4, 3)))
    pack = scene_files._zip

    def cut(bundle: Path, path: Path) -> None:  # Slicer's writer of segmentations says that all is well
        (file,) = bundle.rglob("*.seg.nrrd")
        file.write_bytes(file.read_bytes()[:-9])
        pack(bundle, path)

    monkeypatch.setattr(scene_files, "_zip", cut)
    with pytest.raises(OutputError, match="could not be written"):
        written(workbench, scene, "mrb", tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_unknown_format_and_nothing_to_write_are_refused(scene: Any, tmp_path: Path) -> None:
    workbench = bench(scene)
    with pytest.raises(OutputError, match="no format"):
        written(workbench, scene, "exe", tmp_path)
    with pytest.raises(OutputError, match="no segments"):
        written(workbench, scene, "nii.gz", tmp_path)
    workbench.volume = None
    with pytest.raises(OutputError, match="No CT"):
        written(workbench, scene, "mrb", tmp_path)
