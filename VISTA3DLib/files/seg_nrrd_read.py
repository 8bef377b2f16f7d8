"""Reading ``.seg.nrrd`` as Slicer (and this project) writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib.errors import ReadError
from VISTA3DLib.files.nrrd_file import NrrdFile
from VISTA3DLib.files.segments import Color, Segment, label_boxes
from VISTA3DLib.geometry import Box

_KEY = re.compile(r"Segment(\d+)_(\w+)")
_NOTHING = Box(start=(0, 0, 0), stop=(0, 0, 0))


def has_segments(header: Mapping[str, Any]) -> bool:
    """Whether a NRRD header describes segments (else the file is a plain label map)."""
    return any(_KEY.fullmatch(key) for key in header) or "Segmentation_ReferenceImageExtentOffset" in header


def segments_of_nrrd(file: NrrdFile) -> tuple[Segment, ...]:
    """The segments in the order of the file, empty ones included.

    The voxels decide where a segment is, not the extents in the header (some programs write them wrong; a voxel with
    the segment's value in the segment's layer is the segment). Raises ``ReadError`` for fractional segmentations.
    """
    representation = str(file.header.get("Segmentation_MasterRepresentation", "Binary labelmap"))
    if representation.startswith("Fractional"):
        raise ReadError(
            f"{file.path} holds a {representation.lower()}.", "Convert it to a binary labelmap in Slicer first."
        )
    layers = _layers(file)
    boxes: dict[int, dict[int, Box]] = {}
    segments = []
    for index, fields in sorted(_fields(file.header).items()):
        # Before Slicer 4.11 there was one layer a segment, and its voxels had the value 1.
        layer = _number(file.path, fields, "Layer", index if len(layers) > 1 else 0)
        label = _number(file.path, fields, "LabelValue", 1)
        if not 0 <= layer < len(layers):
            raise ReadError(f"{file.path}: segment {index} is in layer {layer} of {len(layers)}.", "Save it again.")
        if layer not in boxes:
            boxes[layer] = label_boxes(layers[layer])
        box = boxes[layer].get(label, _NOTHING)
        identifier = fields.get("ID", f"Segment_{index + 1}")
        segments.append(
            Segment(
                name=fields.get("Name", identifier),
                id=identifier,
                label=label,
                box=box,
                mask=np.asarray(layers[layer][box.slices] == label),
                color=_color(fields.get("Color", fields.get("DefaultColor", ""))),
                terminology=_tag(fields.get("Tags", ""), "TerminologyEntry"),
            )
        )
    return tuple(segments)


def _layers(file: NrrdFile) -> list[npt.NDArray[Any]]:
    if file.array.dtype.kind not in "iu":
        raise ReadError(f"{file.path} has voxels of the type {file.array.dtype}, not labels.", "Give a segmentation.")
    if (axis := file.list_axis) is None:
        return [file.array]
    separate = np.moveaxis(file.array, axis, 0)
    # Layers are interleaved in the file; each is gone through several times from here on.
    return [np.asfortranarray(layer) for layer in separate]


def _fields(header: Mapping[str, Any]) -> dict[int, dict[str, str]]:
    fields: dict[int, dict[str, str]] = {}
    for key, value in header.items():
        if match := _KEY.fullmatch(key):
            fields.setdefault(int(match[1]), {})[match[2]] = _unescaped(str(value))
    return fields


def _number(path: Path, fields: Mapping[str, str], key: str, default: int) -> int:
    text = fields.get(key, "").strip()
    if not text:
        return default
    if not re.fullmatch(r"-?\d+", text):
        raise ReadError(f"{path} has the {key} {text!r}, which is no number.", "Save it again.")
    return int(text)


def _color(text: str) -> Color | None:
    try:
        parts = [float(part) for part in text.split()]
    except ValueError:
        return None  # a colour is not worth refusing a file
    if len(parts) != 3 or not all(0.0 <= part <= 1.0 for part in parts):
        return None
    red, green, blue = (round(part * 255) for part in parts)
    return red, green, blue


def _tag(text: str, name: str) -> str | None:
    tags = (tag.split(":", 1) for tag in text.split("|") if ":" in tag)
    return next((value for key, value in tags if key.strip() == name), None)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(n|\\)", lambda match: "\n" if match[1] == "n" else "\\", text)
