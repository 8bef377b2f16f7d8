"""Results on their way out: ``.seg.nrrd`` and scenes by Slicer's writers, label maps and DICOM SEG by the library's."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from VISTA3DScene.frames import frame_map, volume_grid
from VISTA3DScene.lattice import on_lattice, whole_voxel_offset
from VISTA3DScene.segment_masks import read_mask
from VISTA3DScene.tags import PROMPTS_TAG, STATUS_TAG, TERMINOLOGY_TAG, get_tag
from VISTA3DScene.workbench import Workbench

from VISTA3DLib.errors import OutputError
from VISTA3DLib.files.segments import MAX_ID, OTHER, SegmentToWrite
from VISTA3DLib.files.write import write_segments
from VISTA3DLib.structure import Terminology
from VISTA3DWeb.scene_files import save_scene, write_seg_nrrd


@dataclass(frozen=True, kw_only=True)
class Format:
    """Something that can be downloaded: ``kind`` is the ending of the file."""

    kind: str
    title: str
    text: str


FORMATS = (
    Format(kind="seg.nrrd", title="Segments (.seg.nrrd)", text="For Slicer: names, colours, codes, overlap, points"),
    Format(kind="nii.gz", title="Label map (.nii.gz)", text="One label a voxel, with a table of the names"),
    Format(kind="dcm", title="DICOM SEG (.dcm)", text="For an archive; needs a CT that was opened from DICOM"),
    Format(kind="mrb", title="Scene (.mrb)", text="CT, segments and points, to go on in Slicer or here"),
)


async def export(workbench: Workbench, scene: Any, kind: str, folder: Path, source_files: Sequence[Path]) -> Path:
    """Write the segments (or the scene) into ``folder`` and return the file. Raises ``VISTA3DError`` children.

    The library's writers work in a thread, so views stay alive. Slicer's own hold the interpreter while they work; they
    write the scene, and ``.seg.nrrd`` only if the library's cannot (segments without voxels, or on a finer grid).
    """
    volume, segmentation = workbench.volume, workbench.segmentation
    if volume is None:
        raise OutputError("No CT is open.", "Open one first.")
    if kind not in {f.kind for f in FORMATS}:
        raise OutputError(f"There is no format '{kind[:20]}'.", "Choose one of the list.")
    path = folder / f"{_file_name(volume.GetName())}.{kind}"
    if kind == "mrb":
        save_scene(scene, path)
        return path
    if segmentation is None or not workbench.segments:
        raise OutputError("There are no segments yet.", "Click something, or choose structures.")
    if kind == "seg.nrrd" and not _on_grid_of_ct(workbench):
        write_seg_nrrd(segmentation, path)
        return path
    grid, segments = volume_grid(volume), segments_to_write(workbench)
    model = workbench.model.id if workbench.model is not None else ""
    written = await asyncio.get_running_loop().run_in_executor(
        None, lambda: write_segments(path, segments, grid, source_files=tuple(source_files), model=model)
    )
    return written.path


def segments_to_write(workbench: Workbench) -> list[SegmentToWrite]:
    """All segments on the grid of the volume: label values are the class ids, others get free ones."""
    volume, segmentation = workbench.volume, workbench.segmentation
    grid = volume_grid(volume)
    frame = frame_map(segmentation, volume)
    taken: set[int] = set()
    ready: list[SegmentToWrite] = []
    for info in workbench.segments:
        found = read_mask(segmentation, info.id)
        if found is None:
            continue
        found = on_lattice(found, grid.affine, bounds=grid.box, frame=frame)
        wanted = info.class_id if info.class_id and info.class_id not in taken else None
        number = wanted or next(n for n in range(1001 if info.class_id is None else 1, MAX_ID) if n not in taken)
        taken.add(number)
        entry = segmentation.GetSegmentation().GetSegment(info.id)
        tags = {name: get_tag(entry, name) for name in (PROMPTS_TAG, STATUS_TAG)}
        ready.append(
            SegmentToWrite(
                id=number,
                name=info.name,
                color=_color(info.color),
                box=found.box,
                mask=found.mask,
                terminology=_terminology(entry),
                rank=OTHER,
                given_key=info.id,
                tags={name: text for name, text in tags.items() if text},
            )
        )
    return ready


def _on_grid_of_ct(workbench: Workbench) -> bool:
    """Whether every segment has voxels, all of them voxels of the CT: then nothing is lost on its grid."""
    volume, segmentation = workbench.volume, workbench.segmentation
    grid, frame = volume_grid(volume), frame_map(segmentation, volume)
    if frame is not None:
        return False
    for info in workbench.segments:
        found = read_mask(segmentation, info.id)
        offset = None if found is None else whole_voxel_offset(found.affine, grid.affine, found.box, None)
        if found is None or offset is None or not found.box.size:
            return False
        if not grid.box.contains_box(found.box.shifted(offset)):
            return False
    return True


def _color(color: Sequence[float]) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in color)
    return red, green, blue


def _terminology(segment: Any) -> Terminology | None:
    text = get_tag(segment, TERMINOLOGY_TAG)
    return Terminology.from_slicer(text) if text else None


def _file_name(name: str) -> str:
    """A name that every system takes."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "ct"
