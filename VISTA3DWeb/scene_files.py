"""Scenes and segmentations in Slicer's own formats: with everything that a segment carries."""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import slicer
from VISTA3DScene.lattice import LatticeMask
from VISTA3DScene.segment_masks import change_mask

from VISTA3DLib.errors import OutputError, ReadError
from VISTA3DLib.files.segments import SegmentationFile, spare_color

_REMOTE = re.compile(rb'\buri="(?!file:)[^"]+"')  # nothing is fetched from elsewhere, whatever a scene asks for
_MOST_UNPACKED = 40  # times the size of the archive: beyond it is no scene but a bomb


def load_scene(scene: Any, path: Path, folder: Path) -> None:
    """Replace the scene by the one in a ``.mrb`` or ``.mrml`` file; ``folder`` is for what must be unpacked.

    Addresses of other machines in the scene are dropped. Raises ``ReadError`` before anything is changed if the file
    cannot be unpacked, and afterwards if parts of the scene could not be read.
    """
    with tempfile.TemporaryDirectory(dir=folder) as place:
        description = _unpacked(path, Path(place)) if path.suffix.lower() == ".mrb" else _beside(path)
        try:
            scene.Clear(0)
            scene.SetURL(str(description))
            scene.SetRootDirectory(str(description.parent))
            if not scene.Import(None):
                raise ReadError(f"{path.name} could not be read completely.", "Save the scene again in Slicer.")
        finally:
            if path.suffix.lower() != ".mrb":
                description.unlink(missing_ok=True)


def save_scene(scene: Any, path: Path) -> None:
    """Write the scene as ``.mrb``. Raises ``OutputError``."""
    scene.SetURL(str(path))
    scene.SetRootDirectory(str(path.parent))
    if not scene.WriteToMRB(str(path)) or not path.is_file():
        path.unlink(missing_ok=True)
        raise OutputError("The scene could not be written.", f"Free some space on the disk of {path.parent}.")


def read_seg_nrrd(scene: Any, path: Path) -> Any:
    """Add a segmentation node with everything that is in a ``.seg.nrrd`` file. Raises ``ReadError``."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", path.name.split(".")[0])
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    if not storage.ReadData(node) or not node.GetSegmentation().GetNumberOfSegments():
        scene.RemoveNode(node)
        raise ReadError(f"{path.name} holds no segments that can be read.", "Save it again in Slicer.")
    return node


def write_seg_nrrd(segmentation: Any, path: Path) -> None:
    """Write a segmentation node as ``.seg.nrrd``, points included. Raises ``OutputError``."""
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    storage.SetCompressionParameter("gzip_fastest")  # the page waits for it; the file is a tenth larger
    if not storage.WriteData(segmentation) or not path.is_file():
        path.unlink(missing_ok=True)
        raise OutputError("The segmentation could not be written.", f"Free some space on the disk of {path.parent}.")


def add_segments(segmentation: Any, file: SegmentationFile) -> None:
    """Add the segments of a file that was read by the library."""
    inner = segmentation.GetSegmentation()
    for number, segment in enumerate(file.segments, start=1):
        key = inner.GenerateUniqueSegmentID(segment.id)
        color = [part / 255 for part in segment.color or spare_color(number)]
        inner.AddEmptySegment(key, segment.name, color)
        if segment.terminology:
            inner.GetSegment(key).SetTag("TerminologyEntry", segment.terminology)
        if segment.box.size:
            voxels = LatticeMask(affine=file.grid.affine, box=segment.box, mask=segment.mask)
            change_mask(segmentation, key, voxels, LatticeMask.empty(file.grid.affine))


def copy_segments(source: Any, target: Any) -> None:
    """Add all segments of one segmentation node to another; ids and names that are taken are changed."""
    inner = source.GetSegmentation()
    for key in list(inner.GetSegmentIDs()):
        target.GetSegmentation().CopySegmentFromSegmentation(inner, key)


def _unpacked(path: Path, place: Path) -> Path:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
            if size > max(_MOST_UNPACKED * path.stat().st_size, 2**30):
                raise ReadError(f"{path.name} would unpack to {size / 2**30:.0f} GB.", "Open it in Slicer.")
            if size > shutil.disk_usage(place).free:
                raise ReadError(f"{path.name} needs {size / 2**30:.1f} GB to unpack.", "Free some space on the disk.")
            archive.extractall(place)
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise ReadError(f"{path.name} cannot be unpacked: {error}.", "Save the scene again in Slicer.") from error
    description = min(place.rglob("*.mrml"))
    _make_local(description, description)
    return description


def _beside(path: Path) -> Path:
    """A cleaned copy of a ``.mrml`` file in its own folder, since the files that it names are found from there."""
    copy = path.with_name(f".{path.stem}_vista3d.mrml")
    _make_local(path, copy)
    return copy


def _make_local(source: Path, target: Path) -> None:
    try:
        target.write_bytes(_REMOTE.sub(b"", source.read_bytes()))
    except OSError as error:
        raise ReadError(f"{source.name} cannot be read: {error.strerror}.", "Check the file.") from error
