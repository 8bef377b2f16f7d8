"""The automatic branch gives what the reference gives: MONAI's transforms, sliding window, post transform, inversion.

Tolerances. Blending features instead of logits changes the order of float32 sums: stitched logits differ by at most
1e-5 of their range. Labels are equal at every voxel, except (a) CT voxels exactly halfway between two model voxels,
where the reference's own choice is decided by float64 noise, and (b) voxels whose two best logits are closer than
``CLOSE`` of the range (background counts as a logit of 0): each of the two may be off by what is said above.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from benchmarks.reference import meta_tensor, preprocessing, reference_labels, reference_logits
from VISTA3DLib.automatic import blended_features
from VISTA3DLib.model import Model
from VISTA3DLib.preprocess import PreparedVolume, prepare_volume
from VISTA3DLib.progress import Tracker
from VISTA3DLib.resample import resample_nearest
from VISTA3DLib.session import Session
from VISTA3DLib.settings import ModeName, find_mode
from VISTA3DLib.volume import Volume

CLASSES = (1, 3, 5, 6, 12, 14, 33, 40, 115, 120)
CLOSE = 2e-5
MODES: list[ModeName] = ["bundle", "quality"]


def undecided(volume: Volume, prepared: PreparedVolume) -> npt.NDArray[np.bool_]:
    """CT voxels that lie exactly between two model voxels."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in volume.grid.shape], indexing="ij"), axis=-1)
    place = prepared.grid.to_voxel(volume.grid.to_world(index))
    return (np.abs(place - np.floor(place) - 0.5) < 1e-6).any(axis=-1)


def our_logits(model: Model, image: torch.Tensor, mode: ModeName) -> torch.Tensor:
    tracker = Tracker("windows", 1)
    embeddings = model.class_embeddings(CLASSES)
    out = torch.zeros(len(CLASSES), *image.shape)
    for slab in blended_features(model, image, find_mode(mode), tracker, ring_dtype=torch.float32):
        planes = out.permute(0, *(a + 1 for a in slab.axes))
        planes[:, slab.start : slab.stop] = torch.einsum("kc,cxyz->kxyz", embeddings, slab.features / slab.weights)
    return out


@pytest.mark.parametrize("mode", MODES)
def test_preprocessing_equals_the_references(a_model: Model, an_odd_volume: Volume, mode: ModeName) -> None:
    theirs = preprocessing(a_model, mode)({"image": meta_tensor(an_odd_volume)})["image"]
    prepared = prepare_volume(an_odd_volume, a_model.settings, find_mode(mode))
    ours = prepared.image[prepared.crop.slices]
    assert ours.shape == theirs.shape[1:]
    assert float((ours - theirs[0].as_tensor()).abs().max()) < 1e-6
    corner = prepared.grid.cropped(prepared.crop).affine
    assert np.allclose(corner, theirs.affine.numpy(), atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_stitched_logits_equal_the_references(a_model: Model, an_odd_volume: Volume, mode: ModeName) -> None:
    prepared = prepare_volume(an_odd_volume, a_model.settings, find_mode(mode))
    image = prepared.image[prepared.crop.slices].contiguous()
    theirs = reference_logits(a_model, image[None], CLASSES, mode)
    ours = our_logits(a_model, image, mode)
    assert float((ours - theirs).abs().max()) < 1e-5 * float(theirs.abs().max())


@pytest.mark.parametrize("mode", MODES)
def test_labels_equal_the_references_voxel_for_voxel(a_model: Model, an_odd_volume: Volume, mode: ModeName) -> None:
    theirs = reference_labels(a_model, an_odd_volume, CLASSES, mode)
    session = Session(a_model, mode=mode)
    session.set_volume(an_odd_volume)
    ours = session.segment_classes(CLASSES).labelmap
    assert ours is not None
    prepared = prepare_volume(an_odd_volume, a_model.settings, find_mode(mode))
    image = prepared.image[prepared.crop.slices].contiguous()
    logits = our_logits(a_model, image, mode)
    best = torch.cat([torch.zeros_like(logits[:1]), logits]).topk(2, dim=0).values
    close = ((best[0] - best[1]) < CLOSE * best.max()).numpy()
    allowed = resample_nearest(close, prepared.grid, an_odd_volume.grid, inside=prepared.crop)
    allowed |= undecided(an_odd_volume, prepared)
    assert len(np.unique(theirs)) > 4
    assert np.count_nonzero(allowed) < 0.002 * ours.size
    assert np.array_equal(ours[~allowed], theirs[~allowed])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(9, 7, 5), (3, 40, 4)])
def test_volumes_smaller_than_the_window_are_padded_as_in_the_reference(
    a_model: Model, mode: ModeName, shape: tuple[int, int, int]
) -> None:
    rng = np.random.default_rng(3)
    volume = Volume(array=rng.integers(-900, 900, shape, dtype=np.int16), affine=np.diag([2.03, -2.21, 4.37, 1.0]))
    theirs = reference_labels(a_model, volume, CLASSES, mode)
    session = Session(a_model, mode=mode)
    session.set_volume(volume)
    ours = session.segment_classes(CLASSES).labelmap
    prepared = prepare_volume(volume, a_model.settings, find_mode(mode))
    assert np.array_equal(ours[~undecided(volume, prepared)], theirs[~undecided(volume, prepared)])


def test_a_single_class_equals_the_reference(a_model: Model, a_volume: Volume) -> None:
    theirs = reference_labels(a_model, a_volume, [3], "bundle")
    session = Session(a_model)
    session.set_volume(a_volume)
    ours = session.segment_classes([3]).labelmap
    prepared = prepare_volume(a_volume, a_model.settings, find_mode("bundle"))
    differing = (ours != theirs) & ~undecided(a_volume, prepared)
    assert 0 < np.count_nonzero(theirs) < theirs.size
    assert np.count_nonzero(differing) < 1e-4 * theirs.size


def test_the_foreground_crop_of_a_volume_without_foreground_is_everything(a_model: Model) -> None:
    """The reference fails here: the crop is empty (spec 2.1)."""
    air = Volume(array=np.full((20, 20, 20), -1000, dtype=np.int16), affine=np.eye(4) * [3, 3, 3, 1])
    with pytest.raises(RuntimeError, match=r"\[1, 1, 0, 0, 0\]"):
        reference_labels(a_model, air, CLASSES, "bundle")
    session = Session(a_model)
    findings = session.set_volume(air)
    result = session.segment_classes(CLASSES)
    assert result.labelmap is not None
    assert result.labelmap.shape == air.array.shape
    assert {"constant"} == {f.code for f in findings}
