"""The made-up torso: its geometry, its anatomy, its look, and that a seed is one person on every grid."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from VISTA3DLib.errors import SettingsError
from VISTA3DLib.phantom import LABEL_NAMES, Phantom, PhantomSettings, canvas, make_phantom

LIVER, SPLEEN, RIGHT_KIDNEY, LEFT_KIDNEY, AORTA, STOMACH, BLADDER, HEART = 1, 3, 5, 14, 6, 12, 15, 115
CORD, STERNUM, HEPATIC_VESSEL, HEPATIC_TUMOR, LUNG_TUMOR = 121, 122, 25, 26, 23
LOBES = (28, 29, 30, 31, 32)
VERTEBRAE = range(33, 50)  # from L5 up to T1
OVERLAPPING = {LUNG_TUMOR, HEPATIC_VESSEL, HEPATIC_TUMOR}
TINY = 8.0  # mm

# class: millilitres in the standard person
VOLUMES = {
    (LIVER,): (1200, 1800),
    (SPLEEN,): (150, 300),
    (4,): (50, 130),
    (RIGHT_KIDNEY,): (120, 200),
    (LEFT_KIDNEY,): (120, 200),
    (AORTA,): (120, 300),
    (7,): (60, 160),
    (10,): (15, 60),
    (STOMACH,): (200, 600),
    (BLADDER,): (100, 350),
    (19,): (400, 1200),
    (62,): (400, 1200),
    (HEART,): (500, 800),
    (95,): (200, 400),
    LOBES: (3000, 6000),
}
# the organs that are one piece
WHOLE = (1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 19, 57, 62, 115, 118, 121, 122, 125)
WHOLE += (*LOBES, *VERTEBRAE, *range(58, 62), *range(63, 87), *range(89, 108))


@cache
def phantom(spacing: float, seed: int = 0, variation: float = 0.0, noise_hu: float = 0.0, **more: object) -> Phantom:
    settings = PhantomSettings(
        spacing=(spacing, spacing, spacing),
        seed=seed,
        variation=variation,
        noise_hu=noise_hu,
        **more,  # type: ignore[arg-type]
    )
    return make_phantom(settings)


def world(made: Phantom, voxels: npt.ArrayLike) -> npt.NDArray[np.float64]:
    rows = np.asarray(voxels, dtype=np.float64)
    return rows @ made.affine[:3, :3].T + made.affine[:3, 3]


def centre(made: Phantom, *labels: int) -> npt.NDArray[np.float64]:
    return world(made, np.argwhere(np.isin(made.labels, labels))).mean(axis=0)


def millilitres(made: Phantom, *labels: int) -> float:
    return float(np.isin(made.labels, labels).sum() * abs(np.linalg.det(made.affine[:3, :3])) / 1000)


def largest_part(made: Phantom) -> dict[int, float]:
    """For each class the share of its largest connected piece."""
    share = {}
    for label, box in enumerate(ndimage.find_objects(made.labels), start=1):
        if box is not None:
            pieces, _ = ndimage.label(made.labels[box] == label, np.ones((3, 3, 3)))
            sizes = np.bincount(pieces.ravel())[1:]
            share[label] = float(sizes.max() / sizes.sum())
    return share


def outside(made: Phantom) -> npt.NDArray[np.bool_]:
    """The air around a person without a table; the windpipe opens upwards only, so nothing is added there."""
    pieces, _ = ndimage.label(np.pad(made.array, ((1, 1), (1, 1), (0, 0)), constant_values=-1000) < -500)
    inner: npt.NDArray[np.bool_] = (pieces == pieces[0, 0, 0])[1:-1, 1:-1]
    return inner


def inner_hu(made: Phantom, label: int) -> npt.NDArray[np.int16]:
    """HU of a class but for its surface, where it mixes with its neighbours."""
    box = ndimage.find_objects(made.labels, max_label=label)[label - 1]
    return made.array[box][ndimage.binary_erosion(made.labels[box] == label)]


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),
        ("seed", 1.5),
        ("spacing", (1.0, 0.0, 1.0)),
        ("spacing", (1.0, float("nan"), 1.0)),
        ("spacing", (1.0, 1.0)),
        ("spacing", (0.25, 0.25, 0.25)),
        ("field_of_view", (400.0, -300.0, 600.0)),
        ("axes", "LPP"),
        ("axes", "LP"),
        ("axes", "lps"),
        ("rotation_deg", (0.0, 0.0, 400.0)),
        ("origin", (0.0, float("inf"), 0.0)),
        ("variation", 1.2),
        ("variation", float("nan")),
        ("contrast", -0.1),
        ("noise_hu", -1.0),
        ("blur_mm", 50.0),
        ("lesions", 21),
        ("lesions", 0.5),
    ],
)
def test_a_setting_that_cannot_work_is_refused_with_its_value_and_a_fix(name: str, value: object) -> None:
    with pytest.raises(SettingsError) as caught:
        PhantomSettings(**{name: value})  # type: ignore[arg-type]
    assert caught.value.fix
    assert name in caught.value.message or "voxels" in caught.value.message


# --- grid -------------------------------------------------------------------------------------------------------------


def test_the_default_grid_is_a_whole_torso_with_columns_to_the_left_back_and_up() -> None:
    made = phantom(TINY)
    assert made.array.shape == made.labels.shape == (50, 38, 75)
    assert (made.array.dtype, made.labels.dtype) == (np.int16, np.uint8)
    assert made.array.min() >= -1024
    np.testing.assert_allclose(made.affine[:3, :3], np.diag([-TINY, -TINY, TINY]))
    middle = world(made, (np.array(made.array.shape) - 1) / 2)
    np.testing.assert_allclose(middle, [0, -15, 0], atol=2)


@pytest.mark.parametrize("axes", ["RAS", "PIR", "SLA"])
def test_axes_spacing_field_of_view_and_origin_give_the_affine(axes: str) -> None:
    settings = PhantomSettings(
        axes=axes, spacing=(6.0, 8.0, 10.0), field_of_view=(120.0, 240.0, 480.0), origin=(10.0, 20.0, 30.0)
    )
    made = make_phantom(settings)
    directions = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    extent = dict(zip("RLAPSI", (120, 120, 240, 240, 480, 480), strict=True))
    for column, letter in enumerate(axes):
        step = settings.spacing[column]
        np.testing.assert_allclose(made.affine[:3, column], np.multiply(directions[letter], step))
        assert made.array.shape[column] == round(extent[letter] / step)
    np.testing.assert_allclose(made.affine[:3, 3], [10, 20, 30])


def test_a_grid_beside_the_person_is_air() -> None:
    made = phantom(TINY, field_of_view=(80.0, 80.0, 80.0), origin=(900.0, 0.0, 0.0))
    assert not made.labels.any()
    assert (made.array == -1000).all()


# --- one person on every grid -----------------------------------------------------------------------------------------


def test_the_same_settings_give_the_same_bytes() -> None:
    settings = PhantomSettings(spacing=(TINY,) * 3, seed=5, variation=0.7)
    one, two = make_phantom(settings), make_phantom(settings)
    assert one.array.tobytes() == two.array.tobytes()
    assert one.labels.tobytes() == two.labels.tobytes()
    assert all(one.overlapping[label].tobytes() == two.overlapping[label].tobytes() for label in OVERLAPPING)


def test_other_seeds_are_other_people_only_if_anatomy_varies() -> None:
    same = [phantom(TINY, seed=seed) for seed in (0, 1)]
    assert np.array_equal(same[0].labels, same[1].labels)
    assert not np.array_equal(same[0].overlapping[HEPATIC_TUMOR], same[1].overlapping[HEPATIC_TUMOR])
    varied = [phantom(TINY, seed=seed, variation=1.0, field_of_view=(400.0, 300.0, 600.0)) for seed in (1, 2)]
    assert np.mean(varied[0].labels != varied[1].labels) > 0.05
    noisy = [phantom(TINY, seed=seed, noise_hu=12.0) for seed in (0, 1)]
    assert np.mean(noisy[0].array != noisy[1].array) > 0.5


def test_a_flipped_grid_sees_the_same_voxels() -> None:
    one, two = phantom(6.0, axes="LPS", table=True), phantom(6.0, axes="RAI")
    flipped = two.labels[::-1, ::-1, ::-1]
    np.testing.assert_allclose(world(two, np.array(two.labels.shape) - 1), world(one, (0, 0, 0)), atol=1e-6)
    assert np.mean(one.labels != flipped) < 1e-4
    assert np.percentile(np.abs(one.array - two.array[::-1, ::-1, ::-1].astype(np.int32)), 99.9) <= 1


@pytest.mark.parametrize("variation", [0.0, 1.0])
@pytest.mark.parametrize("other", ["turned", "permuted"])
def test_another_grid_differs_only_within_a_voxel_of_a_border(variation: float, other: str) -> None:
    fine = phantom(3.0, seed=3, variation=variation, table=False)
    more: dict[str, object] = {"turned": {"rotation_deg": (6.0, -9.0, 14.0)}, "permuted": {"axes": "SRP"}}[other]
    coarse = phantom(7.0, seed=3, variation=variation, table=False, **more)
    voxels = np.argwhere(np.ones(coarse.labels.shape, dtype=bool))
    inverse = np.linalg.inv(fine.affine)
    nearest = np.rint(world(coarse, voxels) @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    inside = ((nearest >= 1) & (nearest < np.array(fine.labels.shape) - 1)).all(axis=1)
    voxels, nearest = voxels[inside], nearest[inside]
    found = coarse.labels[tuple(voxels.T)]
    offsets = np.indices((3, 3, 3)).reshape(3, -1).T - 1
    agrees = np.zeros(len(found), dtype=bool)
    for offset in offsets:
        agrees |= fine.labels[tuple((nearest + offset).T)] == found
    assert np.count_nonzero(found) > 5000
    assert agrees.mean() > 0.9995


def test_a_part_of_the_field_of_view_is_the_same_as_in_the_whole() -> None:
    whole = phantom(6.0)
    first, size = np.array([20, 8, 30]), (24, 20, 30)
    part = phantom(6.0, field_of_view=tuple(6.0 * n for n in size), origin=tuple(world(whole, first)))
    box = tuple(slice(a, a + n) for a, n in zip(first, size, strict=True))
    assert part.labels.shape == size
    assert np.mean(part.labels != whole.labels[box]) < 1e-4


def test_the_pieces_in_which_it_is_painted_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = PhantomSettings(spacing=(TINY,) * 3, variation=1.0, seed=2, noise_hu=0.0)
    whole = make_phantom(settings)
    monkeypatch.setattr(canvas, "SLAB_VOXELS", 12_000)
    assert np.mean(make_phantom(settings).labels != whole.labels) < 1e-4


# --- anatomy ----------------------------------------------------------------------------------------------------------


def test_every_named_class_is_there_and_no_other() -> None:
    made = phantom(3.0)
    assert set(np.unique(made.labels)) - {0} == set(LABEL_NAMES) - OVERLAPPING
    assert set(made.overlapping) == OVERLAPPING
    assert all(mask.any() for mask in made.overlapping.values())
    assert made.label_names == LABEL_NAMES
    assert [LABEL_NAMES[label] for label in (1, 14, 33, 49, 63, 86)] == [
        "liver",
        "left kidney",
        "vertebrae L5",
        "vertebrae T1",
        "left rib 1",
        "right rib 12",
    ]


@pytest.mark.parametrize("axes", ["LPS", "RAS", "IPR"])
def test_right_is_where_r_grows_and_front_is_where_a_grows(axes: str) -> None:
    made = phantom(6.0, axes=axes)
    assert centre(made, LIVER)[0] > 30
    assert centre(made, SPLEEN)[0] < -50
    assert centre(made, STERNUM)[1] > centre(made, HEART)[1] > centre(made, *VERTEBRAE)[1]
    assert centre(made, HEART)[2] > centre(made, LIVER)[2] > centre(made, BLADDER)[2]


def test_what_is_called_right_lies_to_the_right_of_what_is_called_left() -> None:
    made = phantom(3.0)
    by_name = {name: label for label, name in LABEL_NAMES.items()}
    pairs = [(name, name.replace("right", "left")) for name in by_name if name.startswith("right")]
    pairs = [pair for pair in pairs if pair[1] in by_name]
    assert len(pairs) > 20
    assert all(centre(made, by_name[right])[0] > centre(made, by_name[left])[0] + 5 for right, left in pairs)


def test_vertebrae_and_ribs_are_in_their_order_and_the_cord_is_in_its_canal() -> None:
    made = phantom(3.0)
    levels = [centre(made, label)[2] for label in VERTEBRAE]
    assert np.all(np.diff(levels) > 12)
    for first in (63, 75):
        assert np.all(np.diff([centre(made, label)[2] for label in range(first, first + 12)]) < 0)
    behind = centre(made, 42)[1] - centre(made, CORD)[1]  # T8
    assert 0 < abs(behind) < 30
    around = ndimage.binary_dilation(made.labels == CORD, iterations=3)
    assert np.isin(made.labels[around], tuple(VERTEBRAE)).mean() > 0.1


@pytest.mark.parametrize(("labels", "expected"), VOLUMES.items(), ids=lambda item: str(item))
def test_volumes_of_the_standard_person_are_plausible(labels: tuple[int, ...], expected: tuple[float, float]) -> None:
    assert expected[0] <= millilitres(phantom(3.0), *labels) <= expected[1]


def test_organs_and_bones_of_the_standard_person_are_one_piece() -> None:
    share = largest_part(phantom(3.0))
    assert {LABEL_NAMES[label]: share[label] for label in WHOLE if share[label] < 0.98} == {}


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_varied_people_keep_all_their_organs_whole_and_under_the_skin(seed: int) -> None:
    made = phantom(3.0, seed=seed, variation=1.0, table=False)
    share = largest_part(made)
    assert set(share) == set(LABEL_NAMES) - OVERLAPPING
    assert {LABEL_NAMES[label]: share[label] for label in WHOLE if share[label] < 0.93} == {}
    for labels, (low, high) in VOLUMES.items():
        assert 0.5 * low <= millilitres(made, *labels) <= 1.7 * high, labels
    assert not (outside(made) & (made.labels > 0)).any()


def test_varied_people_differ_in_size_and_place() -> None:
    people = [phantom(3.0, seed=seed, variation=1.0, table=False) for seed in (1, 2, 3, 4, 5)]
    livers = [millilitres(made, LIVER) for made in people]
    assert np.std(livers) / np.mean(livers) > 0.05
    assert np.std([centre(made, RIGHT_KIDNEY) - centre(made, BLADDER) for made in people], axis=0).max() > 4


# --- inside other structures ------------------------------------------------------------------------------------------


def test_structures_inside_others_keep_the_class_of_what_they_are_in() -> None:
    made = phantom(3.0)
    assert set(np.unique(made.labels[made.overlapping[HEPATIC_VESSEL]])) == {LIVER}
    assert set(np.unique(made.labels[made.overlapping[HEPATIC_TUMOR]])) == {LIVER}
    assert set(np.unique(made.labels[made.overlapping[LUNG_TUMOR]])) <= set(LOBES)
    assert not (made.overlapping[HEPATIC_TUMOR] & made.overlapping[HEPATIC_VESSEL]).any()


@pytest.mark.parametrize("seed", range(6))
def test_a_lesion_is_there_for_every_seed(seed: int) -> None:
    made = phantom(5.0, seed=seed, variation=1.0)
    assert made.overlapping[HEPATIC_TUMOR].any()
    assert made.overlapping[LUNG_TUMOR].any()


def test_the_number_of_lesions_is_what_was_asked_for() -> None:
    none, many = phantom(5.0, lesions=0), phantom(5.0, lesions=4)
    assert not none.overlapping[HEPATIC_TUMOR].any()
    assert not none.overlapping[LUNG_TUMOR].any()
    for label in (HEPATIC_TUMOR, LUNG_TUMOR):
        _, count = ndimage.label(many.overlapping[label], np.ones((3, 3, 3)))
        assert count == 4


# --- look -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "native", "enhanced"),
    [
        (LIVER, (50, 72), (95, 130)),
        (SPLEEN, (40, 60), (110, 140)),
        (AORTA, (35, 55), (250, 320)),
        (LEFT_KIDNEY, (20, 45), (120, 220)),
        (HEART, (35, 55), (90, 220)),
        (BLADDER, (0, 20), (0, 20)),
        (99, (45, 70), (50, 80)),
        (29, (-900, -750), (-900, -750)),
        (57, (-1010, -900), (-1010, -900)),
        (94, (150, 600), (150, 600)),
    ],
)
def test_tissues_have_their_hu_without_and_with_contrast(
    label: int, native: tuple[float, float], enhanced: tuple[float, float]
) -> None:
    for contrast, (low, high) in ((0.0, native), (1.0, enhanced)):
        assert low <= np.median(inner_hu(phantom(4.0, contrast=contrast), label)) <= high


def test_tumours_are_darker_than_the_enhanced_liver_and_vessels_brighter() -> None:
    made = phantom(4.0, contrast=1.0)
    liver = np.median(inner_hu(made, LIVER))
    assert np.mean(made.array[made.overlapping[HEPATIC_TUMOR]]) < liver - 10
    assert np.mean(made.array[made.overlapping[HEPATIC_VESSEL]]) > liver + 10


@pytest.mark.parametrize("seed", [1, 4])
def test_gas_in_the_stomach_lies_level_above_the_fluid_however_the_grid_is_turned(seed: int) -> None:
    made = phantom(4.0, seed=seed, variation=1.0, rotation_deg=(0.0, 0.0, 12.0), blur_mm=0.0)
    voxels = np.argwhere(made.labels == STOMACH)
    height, hu = world(made, voxels)[:, 1], made.array[tuple(voxels.T)]
    gas, fluid = height[hu < -700], height[(hu > 0) & (hu < 34)]
    assert len(gas) > 100
    assert np.percentile(fluid, 99) < np.percentile(gas, 1) + 4.0


def test_noise_has_the_standard_deviation_that_was_asked_for() -> None:
    view: dict[str, object] = {"field_of_view": (90.0, 90.0, 60.0), "origin": (110.0, 60.0, 40.0)}
    clean = phantom(1.5, **view)
    noise = phantom(1.5, noise_hu=20.0, **view).array - clean.array.astype(float)
    assert noise.std() == pytest.approx(20.0, rel=0.05)
    assert abs(noise.mean()) < 0.5
    neighbours = np.corrcoef(noise[1:].ravel(), noise[:-1].ravel())[0, 1]
    assert 0.1 < neighbours < 0.7


def test_a_wider_point_spread_softens_the_edges() -> None:
    sharp, soft = (np.abs(np.diff(phantom(6.0, blur_mm=blur).array.astype(float), axis=0)) for blur in (0.0, 6.0))
    assert np.percentile(soft, 99.5) < 0.7 * np.percentile(sharp, 99.5)


def test_the_table_is_below_the_back_and_can_be_left_out() -> None:
    with_table, without = phantom(6.0), phantom(6.0, table=False)
    changed = with_table.array != without.array
    assert np.array_equal(with_table.labels, without.labels)
    assert (changed & outside(without)).sum() > 500
    heights = world(with_table, np.argwhere(changed & outside(without)))[:, 1]
    assert np.median(heights) < centre(with_table, 104)[1] - 20
    assert with_table.array[changed].max() > -700
