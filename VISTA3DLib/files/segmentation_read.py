"""One door for every kind of segmentation file, with masks on the grid that the caller works on."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from VISTA3DLib.errors import ReadError, VolumeError
from VISTA3DLib.files.image_file import check_file, suffix_of
from VISTA3DLib.files.read import is_dicom
from VISTA3DLib.files.segments import Segment, SegmentationFile, tight
from VISTA3DLib.geometry import Box, Grid, apply_affine, voxel_map


def read_segmentation(path: Path, grid: Grid | None = None) -> SegmentationFile:
    """Read ``.seg.nrrd``, a label map (NIfTI, NRRD, MetaImage and ITK's others) or a DICOM SEG (a file or its folder).

    With a ``grid`` that differs from the file's, the masks come on that grid (each voxel takes the value of the nearest
    voxel of the file; outside the file there is nothing). A label map has no empty segments; the other formats may.
    Raises ``ReadError`` for files that are damaged or hold no segmentation, ``VolumeError`` for an unusable geometry.
    """
    path = Path(path)
    try:
        file = _read(path)
    except VolumeError as error:
        raise VolumeError(f"{path}: {error.message}", error.fix) from error
    if grid is None or grid.same_as(file.grid):
        return file if grid is None else replace(file, grid=grid)
    return replace(file, grid=grid, segments=tuple(_on_grid(segment, file.grid, grid) for segment in file.segments))


def _read(path: Path) -> SegmentationFile:
    if is_dicom(path):
        from VISTA3DLib.files.dicom_seg_read import read_dicom_seg

        return read_dicom_seg(path)
    check_file(path)
    suffix = suffix_of(path)
    if suffix in {".nrrd", ".nhdr", ".seg.nrrd", ".seg.nhdr"}:
        from VISTA3DLib.files.nrrd_file import read_nrrd_file
        from VISTA3DLib.files.seg_nrrd_read import has_segments, segments_of_nrrd

        nrrd = read_nrrd_file(path)
        if has_segments(nrrd.header):
            axis = nrrd.list_axis
            shape = [size for n, size in enumerate(nrrd.array.shape) if n != axis]
            if len(shape) != 3:
                raise ReadError(f"{path} has {len(shape)} axes in space, not 3.", "Save it again in Slicer.")
            grid = Grid(shape=(shape[0], shape[1], shape[2]), affine=nrrd.affine())
            return SegmentationFile(path=path, grid=grid, segments=segments_of_nrrd(nrrd))
    return _label_map(path, suffix)


def _label_map(path: Path, suffix: str) -> SegmentationFile:
    from VISTA3DLib.files.label_map import segments_in
    from VISTA3DLib.files.nifti import read_nifti
    from VISTA3DLib.files.read import read_image_file

    # Not rescaled to int16 or float32: labels may be larger, and must stay whole.
    image = read_nifti(path, scaled=False) if suffix in {".nii", ".nii.gz"} else read_image_file(path)
    if image.array.ndim != 3:
        raise VolumeError(f"The image has {image.array.ndim} dimensions, not 3.", "Give a 3D label map.")
    grid = Grid(shape=image.array.shape, affine=image.affine)
    return SegmentationFile(path=path, grid=grid, segments=segments_in(path, image.array))


def _on_grid(segment: Segment, source: Grid, target: Grid) -> Segment:
    from VISTA3DLib.resample import sample_nearest

    nothing = Box(start=(0, 0, 0), stop=(0, 0, 0))
    reach = _reach(segment.box, source, target) & target.box if segment.box.size else nothing
    if not reach.size:
        return replace(segment, box=nothing, mask=np.zeros(nothing.shape, dtype=bool))
    # Only the part of the target that the segment can reach: 117 segments on full grids would take minutes.
    mask = sample_nearest(segment.mask.view(np.uint8), source.cropped(segment.box), target.cropped(reach))
    box, inside = tight(reach, mask.view(np.bool_))
    return replace(segment, box=box, mask=inside.copy())


def _reach(box: Box, source: Grid, target: Grid) -> Box:
    """The box on ``target`` around a box on ``source``, one voxel larger."""
    corners = np.array(list(product(*zip(box.start, box.stop, strict=True)))) - 0.5
    there = apply_affine(voxel_map(source, target), corners)
    start, stop = np.floor(there.min(axis=0)).astype(int) - 1, np.ceil(there.max(axis=0)).astype(int) + 2
    return Box(start=(start[0], start[1], start[2]), stop=(stop[0], stop[1], stop[2]))
