"""NIfTI files, read with nibabel: it keeps shears and prefers the sform, as the format asks."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from VISTA3DLib.errors import VolumeError
from VISTA3DLib.files.image_file import ImageFile, check_room, no_image, rescaled, three_axes, unreadable
from VISTA3DLib.geometry import format_vector

_MM_PER_UNIT = {"meter": 1000.0, "micron": 0.001}


def read_nifti(path: Path, *, scaled: bool = True) -> ImageFile:
    """Read a ``.nii`` or ``.nii.gz`` file.

    The place in the world is the sform if there is one, else the qform, else nibabel's (and Analyze's) default: the
    centre of the image at the origin, first axis to the left. Header units of metres or micrometres are converted to
    mm. ``scl_slope`` and ``scl_inter`` are applied without a detour over float64 (``scaled=False``: values as nibabel
    gives them, for label maps). Raises ``ReadError`` for damaged files, ``VolumeError`` for colour images, time series
    and a spacing of 0.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        # Memory-mapped voxels would change, or crash, when somebody overwrites the file during a session.
        image = nibabel.load(path, mmap=False)
        proxy = image.dataobj
        is_nifti = isinstance(image, nibabel.Nifti1Pair)
        if is_nifti and image.header["sform_code"] == 0:
            _check_spacing(path, type(image.header))
        check_room(path, proxy.shape, proxy.dtype.itemsize)
        if scaled and is_nifti:
            stored = three_axes(np.asanyarray(proxy.get_unscaled()))
            unscaled = (float(proxy.slope), float(proxy.inter)) == (1.0, 0.0)
            array = stored if unscaled or stored.dtype.kind not in "iuf" else rescaled(stored, proxy.slope, proxy.inter)
        else:
            array = three_axes(np.asanyarray(proxy))
        unit = image.header.get_xyzt_units()[0] if is_nifti else "mm"
    except ImageFileError as error:  # neither NIfTI nor, behind the same ending, gzip
        raise no_image(path) from error
    except (HeaderDataError, OSError, EOFError, zlib.error, ValueError, KeyError) as error:
        raise unreadable(path, error, "a NIfTI image") from error
    to_mm = _MM_PER_UNIT.get(unit, 1.0)
    return ImageFile(array=array, affine=np.diag([to_mm, to_mm, to_mm, 1.0]) @ image.affine)


def _check_spacing(path: Path, header_type: type) -> None:
    """Without an sform the spacing is all there is; nibabel would silently read a spacing of 0 as 1 mm."""
    from nibabel.openers import ImageOpener

    with ImageOpener(path) as file:
        header = header_type.from_fileobj(file, check=False)  # type: ignore[attr-defined]
    count = min(3, int(header["dim"][0]))
    spacing = [float(v) for v in header["pixdim"][1 : 1 + count]]
    if not all(np.isfinite(spacing)) or 0.0 in spacing:
        raise VolumeError(
            f"The voxel spacing in the header is {format_vector(spacing)} mm: an axis has no length.",
            "Set the true spacing in the image's header (in Slicer: Volumes, Volume Information).",
        )
