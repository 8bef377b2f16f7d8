"""Several DICOM SEG data sets of one CT as one.

highdicom takes overlapping segments only as one full array a segment: 117 segments of 512 x 512 x 300 voxels would be
9 GB. Each layer of segments that do not touch is given to it as a label map instead, and the results are joined here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pydicom import Dataset


def merged(parts: Sequence[Dataset]) -> Dataset:
    """Append the segments and frames of all parts to the first; segments are numbered on. One part comes back as is."""
    first = parts[0]
    if len(parts) == 1:
        return first
    for part in parts:
        _identify_every_frame(part)
    pixels = [_bits(part) for part in parts]
    segments, frames = list(first.SegmentSequence), list(first.PerFrameFunctionalGroupsSequence)
    for part in parts[1:]:
        offset = len(segments)
        for segment in part.SegmentSequence:
            segment.SegmentNumber = int(segment.SegmentNumber) + offset
            segments.append(segment)
        for frame in part.PerFrameFunctionalGroupsSequence:
            identification = frame.SegmentIdentificationSequence[0]
            identification.ReferencedSegmentNumber = int(identification.ReferencedSegmentNumber) + offset
            frames.append(frame)
    _number_positions(first, frames)
    first.SegmentSequence, first.PerFrameFunctionalGroupsSequence = segments, frames
    first.NumberOfFrames = len(frames)
    first.SegmentsOverlap = "YES"
    if "DimensionOrganizationType" in first:  # "3D" said that frames differ by their place only
        del first.DimensionOrganizationType
    packed = np.packbits(np.concatenate(pixels), bitorder="little").tobytes()
    first.PixelData = packed + b"\0" * (len(packed) % 2)
    return first


def _identify_every_frame(part: Dataset) -> None:
    """With one segment only, its number is said once for all frames; joined with others each frame must say it."""
    shared = part.SharedFunctionalGroupsSequence[0]
    if "SegmentIdentificationSequence" not in shared:
        return
    number = int(shared.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
    del shared.SegmentIdentificationSequence
    for frame in part.PerFrameFunctionalGroupsSequence:
        item = type(shared)()
        item.ReferencedSegmentNumber = number
        frame.SegmentIdentificationSequence = [item]


def _bits(part: Dataset) -> Any:
    count = int(part.NumberOfFrames) * int(part.Rows) * int(part.Columns)
    return np.unpackbits(np.frombuffer(part.PixelData, dtype=np.uint8), count=count, bitorder="little")


def _number_positions(first: Dataset, frames: Sequence[Dataset]) -> None:
    """Dimension indices (segment, place) that count through the frames of all parts."""
    orientation = first.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    row, column = np.array([float(value) for value in orientation]).reshape(2, 3)
    depth = np.array([_position(frame) for frame in frames]) @ np.cross(row, column)
    rank = np.searchsorted(np.unique(np.round(depth, 4)), np.round(depth, 4)) + 1
    for frame, place in zip(frames, rank.tolist(), strict=True):
        segment = int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        frame.FrameContentSequence[0].DimensionIndexValues = [segment, place]


def _position(frame: Dataset) -> list[float]:
    return [float(value) for value in frame.PlanePositionSequence[0].ImagePositionPatient]
