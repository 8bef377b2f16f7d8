"""Scenes and segmentations in Slicer's own formats: with everything that a segment carries."""

from __future__ import annotations

import asyncio
import gzip
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer
from VISTA3DScene.lattice import LatticeMask
from VISTA3DScene.segment_masks import change_mask

from VISTA3DLib.errors import OutputError, ReadError
from VISTA3DLib.files.atomic import output_error, written_atomically
from VISTA3DLib.files.image_file import suffix_of
from VISTA3DLib.files.nrrd_file import read_nrrd_file
from VISTA3DLib.files.segments import SegmentationFile, spare_color

_REMOTE = re.compile(rb'\buri="(?!file:)[^"]+"')  # nothing is fetched from elsewhere, whatever a scene asks for
_MOST_UNPACKED = 40  # times the size of the archive: beyond it is no scene but a bomb
_DEFLATED, _LEVEL = zipfile.ZIP_DEFLATED, 1  # the page waits for it; the file is a tenth larger than at the usual level
_PIECE = 2**20


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


async def save_scene(scene: Any, path: Path) -> None:
    """Write the scene, as it is now, as ``.mrb``, into a folder with nothing else in it. Raises ``OutputError``.

    Slicer's writers hold Python's interpreter: they do no more than put the parts down; compressing is a thread's.
    """
    bundle = path.parent / "parts" / path.stem
    try:
        bundle.mkdir(parents=True)
        nodes = [node for node in nodes_of(scene, "vtkMRMLStorableNode") if node.GetSaveWithScene()]
        for node in nodes:
            node.AddDefaultStorageNode()
        with _uncompressed([node.GetStorageNode() for node in nodes if node.GetStorageNode() is not None]):
            if not scene.SaveSceneToSlicerDataBundleDirectory(str(bundle), None):
                raise _no_room("scene", path)
        await asyncio.to_thread(_zip, bundle, path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        shutil.rmtree(bundle.parent, ignore_errors=True)


def read_seg_nrrd(scene: Any, path: Path) -> Any:
    """Add a segmentation node with everything that is in a ``.seg.nrrd`` file. Raises ``ReadError``."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", path.name.split(".")[0])
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    if not storage.ReadData(node) or not node.GetSegmentation().GetNumberOfSegments():
        scene.RemoveNode(node)
        raise ReadError(f"{path.name} holds no segments that can be read.", "Save it again in Slicer.")
    return node


async def write_seg_nrrd(segmentation: Any, path: Path) -> None:
    """Write a segmentation node, as it is now, as ``.seg.nrrd``, points included. Raises ``OutputError``."""
    raw = path.with_name(f"raw.{path.name}")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(raw))
    try:
        with _uncompressed([storage]):
            if not storage.WriteData(segmentation):
                raise _no_room("segmentation", path)
        await asyncio.to_thread(_compress, raw, path)
    finally:
        raw.unlink(missing_ok=True)


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


def nodes_of(scene: Any, kind: str) -> list[Any]:
    """All nodes of a class, those of its children included."""
    return [scene.GetNthNodeByClass(n, kind) for n in range(scene.GetNumberOfNodesByClass(kind))]


@contextmanager
def _uncompressed(storages: Sequence[Any]) -> Iterator[None]:
    """Slicer's writers are quick for a while."""
    before = [storage.GetUseCompression() for storage in storages]
    for storage in storages:
        storage.SetUseCompression(False)
    try:
        yield
    finally:
        for storage, compression in zip(storages, before, strict=True):
            storage.SetUseCompression(compression)


def _zip(bundle: Path, path: Path) -> None:
    """Pack the folder of a scene, whose description is not to say that the parts were put down uncompressed."""
    with written_atomically(path) as temporary, zipfile.ZipFile(temporary, "w", _DEFLATED, compresslevel=_LEVEL) as out:
        for file in sorted(found for found in bundle.rglob("*") if found.is_file()):
            if suffix_of(file) == ".seg.nrrd":
                _check_complete(file, path)
            elif suffix_of(file) == ".mrml":
                file.write_bytes(file.read_bytes().replace(b'useCompression="0"', b'useCompression="1"'))
            out.write(file, Path(bundle.name, file.relative_to(bundle)))


def _compress(raw: Path, path: Path) -> None:
    """Write an uncompressed NRRD file again, compressed."""
    _check_complete(raw, path)
    with written_atomically(path) as temporary, raw.open("rb") as source, temporary.open("wb") as target:
        for line in iter(source.readline, b"\n"):  # up to the blank line, which ends the header
            target.write(b"encoding: gzip\n" if line.startswith(b"encoding:") else line)
        target.write(b"\n")
        with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=_LEVEL, filename="", mtime=0) as packed:
            shutil.copyfileobj(source, packed, _PIECE)


def _check_complete(file: Path, path: Path) -> None:
    """Slicer's writer of segmentations does not tell when the disk is full."""
    try:
        read_nrrd_file(file)
    except ReadError as error:
        raise _no_room("segmentation", path) from error


def _no_room(what: str, path: Path) -> OutputError:
    return OutputError(f"The {what} could not be written.", f"Free some space on the disk of {path.parent}.")


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
