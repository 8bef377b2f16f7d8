"""Label maps (``.nii.gz``, ``.nii``): one class a voxel, and the names of the labels beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib.errors import OutputError, ReadError
from VISTA3DLib.files.atomic import all_written_atomically
from VISTA3DLib.files.image_file import stem_of, unreadable
from VISTA3DLib.files.segments import (
    Color,
    Segment,
    SegmentToWrite,
    Written,
    WrittenSegment,
    check_segments,
    label_boxes,
)
from VISTA3DLib.geometry import Grid

_SCANNER = 1  # NIfTI's code for "scanner coordinates", which is what RAS millimetres are
# A line of ITK-SNAP's label file: index, red, green, blue, opacity, two flags, "name".
_ITKSNAP_LINE = re.compile(r'\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+[\d.]+\s+\d\s+\d\s+"(.*)"\s*')


def write_label_map(path: Path, segments: Iterable[SegmentToWrite], grid: Grid, description: str = "") -> Written:
    """Write one label map (uint8, or uint16 for ids above 255) and ``<name>.labels.json`` (id to name) beside it.

    Where segments overlap, one must win: lesions cover vessels, vessels cover the other classes, those cover groups,
    and within each the smaller covers the larger. So a tumour in an organ survives; what is covered is counted and
    noted (a ``.seg.nrrd`` keeps everything). The affine is stored as sform, and as qform unless it is sheared, which a
    qform cannot say. ``description`` (80 characters at most) goes into the header. Raises ``OutputError``.
    """
    ready = list(check_segments(segments, grid))
    sizes = {segment.id: int(np.count_nonzero(segment.mask)) for segment in ready}
    shown = [segment for segment in ready if sizes[segment.id]]
    labels, covered = _painted(shown, sizes, grid)
    _save(path, labels, grid, {segment.id: segment.name for segment in shown}, description)
    written = tuple(
        WrittenSegment(id=s.id, name=s.name, voxels=sizes[s.id] - covered[s.id], covered=covered[s.id]) for s in shown
    )
    return Written(
        path=path,
        files=(path, names_path(path)),
        segments=written,
        empty=tuple(segment.id for segment in ready if not sizes[segment.id]),
        notes=_notes(written),
    )


def names_path(path: Path) -> Path:
    """Where the names of a label map are written: ``seg.nii.gz`` -> ``seg.labels.json``."""
    return path.with_name(stem_of(path) + ".labels.json")


def segments_in(path: Path, array: npt.NDArray[Any]) -> tuple[Segment, ...]:
    """The segments of a label map that was read from ``path``, named by the files beside it if there are any.

    Raises ``ReadError`` for values that are not whole numbers and for images that are no label map.
    """
    if array.dtype.kind == "f":
        finite = np.isfinite(array).all()
        whole = array.astype(np.int64) if finite else array
        if not finite or not np.array_equal(whole, array):
            raise ReadError(
                f"{path} has values that are not whole numbers: a probability map or an image.", "Give a label map."
            )
        array = whole
    elif array.dtype.kind not in "iub":
        raise ReadError(f"{path} has voxels of the type {array.dtype}, not labels.", "Give a label map.")
    array = array.astype(np.uint8) if array.dtype.kind == "b" else array
    names, colors = read_names(path)
    boxes = label_boxes(array)
    return tuple(
        Segment(
            name=names.get(label, f"label {label}"),
            id=f"label_{label}",
            label=label,
            box=box,
            mask=np.asarray(array[box.slices] == label),
            color=colors.get(label),
        )
        for label, box in sorted(boxes.items())
    )


def read_names(path: Path) -> tuple[dict[int, str], dict[int, Color]]:
    """Names and colours of the labels of a label map, from the files beside it.

    Asked in this order: ``<name>.labels.json``, ``<name>.json``, ``labels.json`` (id to name, id to ``{"name": ...}``,
    or name to id; also inside ``"labels"``), then ITK-SNAP's ``<name>.txt``, ``<name>.label``, ``<name>.labels.txt``.
    Raises ``ReadError`` if ``<name>.labels.json``, our own, is damaged; others that do not fit are passed over.
    """
    stem = stem_of(path)
    own = names_path(path)
    for candidate in (own, path.with_name(f"{stem}.json"), path.with_name("labels.json")):
        if candidate.is_file():
            try:
                found = _from_json(json.loads(candidate.read_text(encoding="utf-8")))
            except (OSError, ValueError) as error:
                if candidate == own:
                    raise unreadable(candidate, error, "a list of label names") from error
                continue
            if found[0]:
                return found
    for candidate in (path.with_name(stem + ending) for ending in (".txt", ".label", ".labels.txt")):
        if candidate.is_file() and (found := _from_itksnap(candidate))[0]:
            return found
    return {}, {}


def _painted(
    segments: list[SegmentToWrite], sizes: Mapping[int, int], grid: Grid
) -> tuple[npt.NDArray[Any], dict[int, int]]:
    """The label map and how many voxels of each segment are covered by others."""
    dtype = np.uint8 if max((segment.id for segment in segments), default=0) <= 255 else np.uint16
    labels = np.zeros(grid.shape, dtype=dtype, order="F")
    covered = dict.fromkeys(sizes, 0)
    for segment in sorted(segments, key=lambda s: (s.rank, -sizes[s.id], s.id)):
        part = labels[segment.box.slices]
        below = part[segment.mask]
        if below.any():
            for label, count in enumerate(np.bincount(below)):
                if label and count:
                    covered[label] += int(count)
        np.copyto(part, segment.id, where=segment.mask)
    return labels, covered


def _notes(written: Iterable[WrittenSegment]) -> tuple[str, ...]:
    gone = [segment.name for segment in written if segment.covered and not segment.voxels]
    partly = [f"{segment.name} ({segment.covered:,} voxels)" for segment in written if segment.covered]
    notes = []
    if partly:
        shown = ", ".join(partly[:10]) + (f" and {len(partly) - 10} more" if len(partly) > 10 else "")
        notes.append(f"A label map has one class a voxel; covered by others: {shown}. A .seg.nrrd keeps all of it.")
    if gone:
        notes.append(f"Covered completely: {', '.join(gone)}.")
    return tuple(notes)


def _save(path: Path, labels: npt.NDArray[Any], grid: Grid, names: Mapping[int, str], description: str) -> None:
    import nibabel
    from nibabel.spatialimages import HeaderDataError

    image = nibabel.Nifti1Image(labels, grid.affine)
    image.set_sform(grid.affine, code=_SCANNER)
    image.set_qform(grid.affine if grid.is_orthogonal() else None, code=_SCANNER if grid.is_orthogonal() else 0)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description.encode("ascii", "replace")[:79]
    table = json.dumps({str(number): name for number, name in names.items()}, indent=1, ensure_ascii=False)
    with all_written_atomically(path, names_path(path)) as (temporary, names_file):
        names_file.write_text(table + "\n", encoding="utf-8")
        try:
            nibabel.save(image, temporary)
        except HeaderDataError as error:
            raise OutputError(f"{path} cannot be written as NIfTI: {error}.", "Write a .seg.nrrd instead.") from error


def _from_json(data: object) -> tuple[dict[int, str], dict[int, Color]]:
    names: dict[int, str] = {}
    colors: dict[int, Color] = {}
    if isinstance(data, dict) and isinstance(data.get("labels"), dict):
        data = data["labels"]
    for key, value in data.items() if isinstance(data, dict) else ():
        if isinstance(value, int) and not isinstance(value, bool) and not str(key).isdigit():
            names[value] = str(key)  # nnU-Net's dataset.json: name to id
        elif str(key).isdigit() and isinstance(value, str):
            names[int(key)] = value
        elif str(key).isdigit() and isinstance(value, dict) and isinstance(value.get("name"), str):
            names[int(key)] = value["name"]
            color = value.get("color")
            if isinstance(color, list) and len(color) == 3 and all(isinstance(v, int) for v in color):
                colors[int(key)] = (color[0], color[1], color[2])
    names.pop(0, None)
    return names, colors


def _from_itksnap(path: Path) -> tuple[dict[int, str], dict[int, Color]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise unreadable(path, error, "a list of label names") from error
    names: dict[int, str] = {}
    colors: dict[int, Color] = {}
    for match in filter(None, map(_ITKSNAP_LINE.fullmatch, lines)):
        number, red, green, blue = (int(text) for text in match.groups()[:4])
        if number:
            names[number], colors[number] = match[5], (red, green, blue)
    return names, colors
