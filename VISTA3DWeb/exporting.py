"""Results on their way out: the library writes segments, Slicer's own writers what only they can."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from VISTA3DScene.workbench import Workbench

from VISTA3DLib.errors import OutputError
from VISTA3DLib.files.write import write_segments
from VISTA3DWeb.scene_files import save_scene, write_seg_nrrd
from VISTA3DWeb.segments_copy import SegmentsCopy


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

    The library works on a copy in a thread, so views stay alive. Slicer's writers are asked for scenes, and for
    ``.seg.nrrd`` only if the grid of the CT does not hold everything (segments without voxels, on a finer grid).
    """
    volume, segmentation = workbench.volume, workbench.segmentation
    if volume is None:
        raise OutputError("No CT is open.", "Open one first.")
    if kind not in {f.kind for f in FORMATS}:
        raise OutputError(f"There is no format '{kind[:20]}'.", "Choose one of the list.")
    path = folder / f"{_file_name(volume.GetName())}.{kind}"
    if kind == "mrb":
        await save_scene(scene, path)
        return path
    if segmentation is None or not workbench.segments:
        raise OutputError("There are no segments yet.", "Click something, or choose structures.")
    copy = SegmentsCopy.of(workbench)
    segments, whole = await asyncio.to_thread(copy.on_grid)
    if kind == "seg.nrrd" and not whole:
        await write_seg_nrrd(segmentation, path)
        return path
    model = workbench.model.id if workbench.model is not None else ""
    written = await asyncio.to_thread(
        write_segments, path, segments, copy.grid, source_files=tuple(source_files), model=model
    )
    return written.path


def _file_name(name: str) -> str:
    """A name that every system takes."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "ct"
