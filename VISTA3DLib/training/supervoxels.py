"""Supervoxels for training the click branch on structures that nobody labelled (spec 5.7, paper supplementary).

Two ways, named as what they are: ``sam`` is the paper's (SLIC on features of segment-anything, from three views),
``plain`` needs no network (SLIC on windowed intensities, merged by intensity and gradient).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from skimage.segmentation import slic

from VISTA3DLib.devices import choose_runtime
from VISTA3DLib.errors import OutputError, SettingsError, VolumeError
from VISTA3DLib.files.atomic import check_writable, output_error, written_atomically
from VISTA3DLib.geometry import Grid, Index3, format_shape
from VISTA3DLib.progress import Cancel, ProgressCallback, Tracker
from VISTA3DLib.results import BoolArray
from VISTA3DLib.training.plain_features import plain_supervoxels
from VISTA3DLib.training.supervoxel_grid import (
    AIR_BELOW,
    MOST_LABELS,
    FloatArray,
    air_mask,
    block_any,
    block_mean,
    on_volume,
    working_blocks,
    working_shape,
)
from VISTA3DLib.volume import Volume

Method = Literal["plain", "sam"]

_COMPACTNESS = {"sam": 0.01, "plain": 0.2}  # the paper's; by Dice on phantoms and head-and-neck CTs (docs)
_SIGMA = {"sam": 3.0, "plain": 0.0}
# What the working grid may have. SAM: 32 float channels, three times over while SLIC runs, in less than 4 GB.
_MOST_VOXELS = {"sam": 8_000_000, "plain": 3_000_000}
_SUFFIXES = (".nii.gz", ".nii")


@dataclass(frozen=True, kw_only=True)
class SupervoxelSettings:
    """How supervoxels are made. Raises ``SettingsError`` for values that cannot work.

    ``segments``: about how many, 1 to 16000 (400 in the reference's code, 100 in its paper); ``plain`` makes that many
    and one more for each further part that touches nothing else, ``sam`` as many as SLIC leaves of that many seeds.
    ``compactness``: weight of the place against the features, above 0; None: 0.01 for ``sam``, 0.2 for ``plain``.
    ``sigma``: smoothing before SLIC in voxels of the volume; None: 3 for ``sam``, 0 for ``plain``.
    ``sam_checkpoint``: weights of segment-anything of any size, for ``sam`` only.
    ``slices_at_once``: slices per batch of SAM on a GPU. ``working_mm``: work on voxels of about this size; None: on
    the volume's own, unless that has more than 8 (``plain``: 3) million.
    """

    method: Method
    segments: int = 400
    compactness: float | None = None
    sigma: float | None = None
    sam_checkpoint: Path | None = None
    slices_at_once: int = 8
    working_mm: float | None = None

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise SettingsError(f"There is no way '{self.method}' to make supervoxels.", "Use plain or sam.")
        if self.method == "sam" and self.sam_checkpoint is None:
            raise SettingsError(
                "The method 'sam' has no checkpoint.",
                "Give a file with weights of segment-anything, or use the method 'plain', which needs none.",
            )
        if self.method == "plain" and self.sam_checkpoint is not None:
            raise SettingsError(
                f"The method 'plain' does not use {self.sam_checkpoint}.", "Use the method 'sam', or leave it out."
            )
        # SLIC may leave twice as many as it was asked for, and the file counts in int16.
        if not 1 <= self.segments <= MOST_LABELS // 2:
            raise SettingsError(f"{self.segments} supervoxels are asked for.", f"Give 1 to {MOST_LABELS // 2}.")
        if not 0.0 < self.slic_compactness < float("inf"):
            raise SettingsError(f"The compactness is {self.compactness}.", "Give a number above 0.")
        if not 0.0 <= self.slic_sigma < float("inf"):
            raise SettingsError(f"sigma is {self.sigma} voxels.", "Give 0 or more.")
        if self.slices_at_once < 1:
            raise SettingsError(f"{self.slices_at_once} slices at once are none.", "Give 1 or more.")
        if self.working_mm is not None and not 0.0 < self.working_mm < float("inf"):
            raise SettingsError(f"The working voxels are {self.working_mm} mm.", "Give a size above 0, or none.")

    @property
    def slic_compactness(self) -> float:
        """The compactness that is used."""
        return _COMPACTNESS[self.method] if self.compactness is None else self.compactness

    @property
    def slic_sigma(self) -> float:
        """The sigma that is used, in voxels of the volume."""
        return _SIGMA[self.method] if self.sigma is None else self.sigma


def make_supervoxels(
    volume: Volume,
    settings: SupervoxelSettings,
    *,
    work_folder: Path | None = None,
    device: str = "cpu",
    progress: ProgressCallback | None = None,
    cancel: Cancel | None = None,
) -> npt.NDArray[np.int16]:
    """Supervoxels of a CT on its own grid: 0 is air, 1 .. n without a gap cover every other voxel.

    A volume of air only is 0 everywhere; one with a single value that is not air is one supervoxel. ``work_folder``
    keeps the features of ``sam`` until the end (a few GB; a temporary folder by default): a run that was killed or
    cancelled and is started again with the same folder continues where it stopped. ``device`` is for SAM.

    Raises ``VolumeError`` for volumes with fewer voxels than supervoxels, ``CheckpointError`` and ``SettingsError`` for
    unusable SAM weights, ``OutputError`` when the work folder is full, ``CancelledError``.
    """
    hu = volume.finite
    if hu.size < settings.segments:
        raise VolumeError(
            f"The volume has {hu.size} voxels ({format_shape(hu.shape)}), fewer than {settings.segments} supervoxels.",
            f"Ask for fewer supervoxels (at most {hu.size}).",
        )
    low = hu.min()
    if low == hu.max():
        return np.full(hu.shape, 0 if low < AIR_BELOW else 1, dtype=np.int16)
    air = air_mask(hu)
    if air.all():
        return np.zeros(hu.shape, dtype=np.int16)
    blocks = _blocks(volume.grid, settings)
    if settings.method == "plain":
        labels = _plain(hu, ~air, volume.grid, blocks, settings, progress, cancel)
    else:
        labels = _sam(hu, blocks, settings, work_folder, device, progress, cancel)
    return on_volume(labels, blocks, air)


def write_supervoxels(
    ct: Path,
    output: Path,
    settings: SupervoxelSettings,
    *,
    series: str | None = None,
    work_folder: Path | None = None,
    device: str = "cpu",
    progress: ProgressCallback | None = None,
    cancel: Cancel | None = None,
) -> int:
    """Read a CT, write its supervoxels as int16 NIfTI (``.nii.gz``, ``.nii``) with the CT's affine, and count them.

    The file appears complete or not at all. ``series`` chooses from a DICOM folder, as in ``read_volume``.
    ``work_folder`` is ``.NAME.work`` beside the output by default, so that the same call continues a run that was
    killed. Raises ``OutputError`` when the output cannot be written (found out before the work starts), ``ReadError``
    for an unreadable CT, and what ``make_supervoxels`` raises.
    """
    from VISTA3DLib.files.read import read_volume

    _check_output(output)
    volume = read_volume(ct, series=series)
    folder = work_folder or output.with_name(f".{output.name}.work")
    labels = make_supervoxels(volume, settings, work_folder=folder, device=device, progress=progress, cancel=cancel)
    _save(output, labels, volume.grid, settings)
    return int(labels.max())


def _blocks(grid: Grid, settings: SupervoxelSettings) -> Index3:
    blocks = working_blocks(grid, _MOST_VOXELS[settings.method], settings.working_mm)
    shape = working_shape(grid.shape, blocks)
    if int(np.prod(shape)) < settings.segments:
        raise VolumeError(
            f"Working voxels of {settings.working_mm} mm make {format_shape(shape)} of the volume, fewer than the "
            f"{settings.segments} supervoxels.",
            "Ask for smaller working voxels or fewer supervoxels.",
        )
    return blocks


def _plain(
    hu: npt.NDArray[Any],
    body: BoolArray,
    grid: Grid,
    blocks: Index3,
    settings: SupervoxelSettings,
    progress: ProgressCallback | None,
    cancel: Cancel | None,
) -> npt.NDArray[np.int64]:
    return plain_supervoxels(
        block_mean(hu, blocks),
        block_any(body, blocks),
        [side * block for side, block in zip(grid.spacing, blocks, strict=True)],
        segments=settings.segments,
        compactness=settings.slic_compactness,
        sigma=[settings.slic_sigma / block for block in blocks],
        tracker=Tracker("supervoxels", 4, progress, cancel),
    )


def _sam(
    hu: npt.NDArray[Any],
    blocks: Index3,
    settings: SupervoxelSettings,
    work_folder: Path | None,
    device: str,
    progress: ProgressCallback | None,
    cancel: Cancel | None,
) -> npt.NDArray[Any]:
    from VISTA3DLib.training.sam_features import load_slice_encoder
    from VISTA3DLib.training.sam_views import view_features

    if work_folder is None:
        with _temporary_folder() as temporary:
            return _sam(hu, blocks, settings, Path(temporary), device, progress, cancel)
    assert settings.sam_checkpoint is not None
    encoder = load_slice_encoder(settings.sam_checkpoint, choose_runtime(device).device)
    store = view_features(
        hu,
        blocks,
        encoder,
        work_folder,
        settings.sam_checkpoint,
        slices_at_once=settings.slices_at_once,
        progress=progress,
        cancel=cancel,
    )
    del encoder  # its gigabytes are needed by the features and SLIC
    features = store.total()
    tracker = Tracker("supervoxels", 1, progress, cancel)
    labels = slic_supervoxels(
        features,
        blocks,
        segments=settings.segments,
        compactness=settings.slic_compactness,
        sigma=settings.slic_sigma,
    )
    tracker.step()
    store.remove()
    return labels


def slic_supervoxels(
    features: FloatArray, blocks: Index3, *, segments: int, compactness: float, sigma: float
) -> npt.NDArray[Any]:
    """The reference's SLIC on features [X, Y, Z, channel] whose voxels are ``blocks`` of the volume's voxels.

    Distances and ``sigma`` are in voxels of the volume, as in the reference, which knows no millimetres (spec 5.7).
    """
    sides = np.asarray(blocks, dtype=np.float64)
    labels: npt.NDArray[Any] = slic(
        features,
        n_segments=segments,
        compactness=compactness,
        sigma=tuple(sigma / sides),
        spacing=sides / np.prod(sides) ** (1.0 / 3.0),
        convert2lab=False,
        channel_axis=-1,
    )
    return labels


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="vista3d-supervoxels-")
    except OSError as error:
        raise output_error(Path(tempfile.gettempdir()) / "vista3d-supervoxels", error) from error


def _check_output(output: Path) -> None:
    if not output.name.lower().endswith(_SUFFIXES):
        raise OutputError(f"{output} has no ending for supervoxels.", f"Use {' or '.join(_SUFFIXES)}.")
    check_writable(output)


def _save(output: Path, labels: npt.NDArray[np.int16], grid: Grid, settings: SupervoxelSettings) -> None:
    import nibabel

    image = nibabel.Nifti1Image(labels, grid.affine)
    image.set_sform(grid.affine, code=1)
    orthogonal = grid.is_orthogonal()  # a qform cannot hold shear
    image.set_qform(grid.affine if orthogonal else None, code=1 if orthogonal else 0)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = f"supervoxels: {settings.method}".encode("ascii")
    with written_atomically(output) as temporary:
        nibabel.save(image, temporary)
