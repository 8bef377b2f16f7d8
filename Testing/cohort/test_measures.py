"""Measures, usual ranges, flags and causes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from odd_volumes import ODD_AFFINES, odd_affine
from scipy import ndimage

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.cohort import causes, flags
from VISTA3DLib.cohort.measures import measured, touches_border
from VISTA3DLib.cohort.population import Population, usual_range
from VISTA3DLib.cohort.settings import CohortSettings, FlagRules, RunOptions
from VISTA3DLib.cohort.tissues import possible_hu
from VISTA3DLib.errors import ClassError, MemoryLimitError, OutputError, ReadError, SettingsError, VolumeError
from VISTA3DLib.files.segments import SegmentToWrite, tight
from VISTA3DLib.geometry import Box
from VISTA3DLib.volume import Volume

CATALOGUE = ClassCatalogue.load("ct")
RULES = FlagRules()


def segment(mask: np.ndarray[Any, Any], class_id: int = 1) -> SegmentToWrite:
    box, inner = tight(Box.whole(mask.shape), mask)
    return SegmentToWrite(id=class_id, name=CATALOGUE[class_id].name, color=(1, 2, 3), box=box, mask=inner)


@pytest.mark.parametrize("name", list(ODD_AFFINES))
def test_measures_do_not_depend_on_how_the_axes_lie(name: str) -> None:
    random = np.random.default_rng(3)
    array = random.integers(-100, 200, (12, 9, 11)).astype(np.int16)
    mask = np.zeros(array.shape, dtype=bool)
    mask[2:5, 3:6, 4:8] = mask[8, 7, 9] = mask[9, 8, 10] = True  # the last two touch by a corner
    affine = odd_affine(name)
    (found,) = measured([segment(mask)], Volume(array=array, affine=affine), CATALOGUE)
    voxels = 3 * 3 * 4 + 2
    assert found.voxels == voxels
    assert found.ml == pytest.approx(voxels * abs(np.linalg.det(affine[:3, :3])) / 1000)
    assert found.mean_hu == pytest.approx(array[mask].mean())
    assert found.sd_hu == pytest.approx(array[mask].std())
    assert (found.components, found.largest) == (2, pytest.approx(36 / 38))
    assert found.border


def test_an_empty_structure_is_measured_as_nothing() -> None:
    volume = Volume(array=np.zeros((4, 4, 4), dtype=np.int16), affine=np.eye(4))
    (found,) = measured([segment(np.zeros((4, 4, 4), dtype=bool))], volume, CATALOGUE)
    assert (found.voxels, found.ml, found.mean_hu, found.border) == (0, 0.0, None, False)


@given(st.tuples(*[st.integers(1, 4)] * 3), st.integers(0, 2**31), st.floats(0.05, 0.95))
def test_parts_are_counted_in_masks_of_any_size(shape: tuple[int, int, int], seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random(shape) < share
    mask.setflags(write=False)  # as it comes through shared memory
    volume = Volume(array=np.zeros(shape, dtype=np.int16), affine=np.eye(4))
    (found,) = measured([segment(mask)], volume, CATALOGUE)
    assert found.components == ndimage.label(mask, np.ones((3, 3, 3)))[1]


@given(st.integers(0, 2), st.booleans())
def test_each_face_of_the_scan_is_a_border(axis: int, far: bool) -> None:
    grid = Volume(array=np.zeros((5, 6, 7), dtype=np.int16), affine=np.eye(4)).grid
    place = [2, 2, 2]
    mask = np.zeros(grid.shape, dtype=bool)
    mask[tuple(place)] = True
    assert not touches_border(mask, grid.box, grid)
    place[axis] = grid.shape[axis] - 1 if far else 0
    mask[tuple(place)] = True
    assert touches_border(mask, grid.box, grid)


def test_every_class_with_known_tissue_has_a_range_and_lesions_have_none() -> None:
    ranges = {item.id: possible_hu(item.id, CATALOGUE) for item in CATALOGUE}
    assert ranges[CATALOGUE.resolve("left lung upper lobe").id] == (-1024.0, -200.0)
    assert ranges[CATALOGUE.resolve("vertebrae L3").id] == (0.0, 2500.0)
    assert ranges[CATALOGUE.resolve("lung tumor").id] is None
    assert sum(hu is not None for hu in ranges.values()) > 100


def structure(**values: Any) -> dict[str, Any]:
    plain = {"class_id": 3, "name": "spleen", "voxels": 100, "ml": 200.0, "mean_hu": 50.0, "sd_hu": 9.0}
    return {**plain, "components": 1, "largest": 1.0, "border": False, "agreement": 0.95, **values}


def usual_spleen(count: int = 40, found: int | None = None) -> Any:
    population = Population()
    ml = np.exp(np.random.default_rng(0).normal(np.log(200), 0.25, count))
    if found is not None:
        ml[found:] = 0
    population.add(np.full(count, 3), ["spleen"] * count, ml, np.ones(count, dtype=bool))
    return population.usual(RULES)[3]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({}, None),
        ({"border": True}, flags.BORDER),
        ({"components": 11}, flags.PARTS),
        ({"agreement": 0.2}, flags.HU),
        ({"agreement": None}, None),
        ({"ml": 20.0}, flags.VOLUME),
        ({"ml": 2000.0}, flags.VOLUME),
        ({"ml": 20.0, "border": True}, flags.BORDER),  # a part of a spleen may be small
        ({"voxels": 0, "ml": 0.0}, flags.EMPTY),
    ],
)
def test_what_is_unusual_is_flagged(values: dict[str, Any], code: str | None) -> None:
    found = flags.structure_flags(structure(**values), usual_spleen(), RULES, ())
    assert [flag.code for flag in found] == ([] if code is None else [code])


def test_a_missing_structure_is_flagged_only_where_it_is_expected() -> None:
    missing = structure(voxels=0, ml=0.0)
    assert not flags.structure_flags(missing, usual_spleen(found=20), RULES, ())  # half of the cohort has none
    assert not flags.structure_flags(missing, usual_spleen(count=5), RULES, ())  # too few to say
    assert flags.structure_flags(missing, usual_spleen(count=5), RULES, (3,))  # it was asked for by name


def test_a_small_cohort_has_no_usual_volume() -> None:
    assert usual_spleen(count=9).low is None
    assert usual_spleen(count=10).low is not None


@given(st.floats(0.1, 1e4), st.floats(0.01, 0.5), st.integers(0, 2**31))
def test_the_usual_range_scales_with_the_volumes_and_ignores_outliers(middle: float, spread: float, seed: int) -> None:
    volumes = np.exp(np.random.default_rng(seed).normal(np.log(middle), spread, 101))
    low, high = usual_range(volumes, RULES)
    assert low < np.median(volumes) < high
    scaled = usual_range(volumes * 7, RULES)
    assert scaled == pytest.approx((low * 7, high * 7))
    spoilt = np.concatenate([volumes, np.full(5, middle * 1e6)])
    assert usual_range(spoilt, RULES)[1] < middle * np.exp(10)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ReadError("x.nii is empty (0 bytes)."), causes.EMPTY),
        (ReadError("x.dcm is damaged: encrypted."), causes.ENCRYPTED),
        (ReadError("Compressed file ended before the end-of-stream marker was reached"), causes.TRUNCATED),
        (ReadError("x has damaged DICOM files: a (truncated: 5 bytes)."), causes.TRUNCATED),
        (ReadError("x cannot be opened: permission denied."), causes.FORBIDDEN),
        (ReadError("x does not exist."), causes.MISSING),
        (ReadError("The slices are not evenly spaced: ..."), causes.UNEVEN),
        (ReadError("x has 3 series."), causes.AMBIGUOUS),
        (ReadError("x cannot be read as an image: something."), causes.UNREADABLE),
        (VolumeError("The image has 4 dimensions."), causes.NOT_A_VOLUME),
        (MemoryLimitError("Too large."), causes.MEMORY),
        (RuntimeError("CUDA out of memory."), causes.MEMORY),
        (OutputError("x cannot be written: permission denied."), causes.OUTPUT),
        (ClassError("odd"), causes.OTHER),
        (KeyError("odd"), causes.UNEXPECTED),
    ],
)
def test_every_error_has_a_cause(error: Exception, cause: str) -> None:
    assert causes.cause_of(error) == cause


@pytest.mark.parametrize(
    "values", [{"formats": ("png",)}, {"formats": ()}, {"classes": ()}, {"mode": "fast"}], ids=lambda v: next(iter(v))
)
def test_settings_that_cannot_work_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        CohortSettings(**values)


def test_options_and_rules_that_cannot_work_are_refused() -> None:
    for make in (
        lambda: RunOptions(workers=0),
        lambda: RunOptions(gpus_per_worker=-1),
        lambda: FlagRules(least_agreement=2),
        lambda: FlagRules(most_components=0),
    ):
        with pytest.raises(SettingsError):
            make()


def test_the_fingerprint_changes_with_all_that_results_depend_on() -> None:
    base = CohortSettings()
    others = [CohortSettings(classes=("liver",)), CohortSettings(smooth=True), CohortSettings(mode="quality")]
    prints = {base.fingerprint("a"), base.fingerprint("b"), *(other.fingerprint("a") for other in others)}
    assert len(prints) == 5
    assert CohortSettings(weights="elsewhere/copy.pt").fingerprint("a") == base.fingerprint("a")
