"""Finding classes: by id, name, alias, set, part of a name, and for points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from class_facts import BOTH, CT, CT_UNSUPPORTED, CTMR, EVERYTHING, SPECIAL, with_status
from hypothesis import given
from hypothesis import strategies as st

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.errors import ClassError
from VISTA3DLib.structure import ClassStatus

ALIASES = {"IVC": 7, "SVC": 125, "T12": 38, "L1": 37, "C1": 56, "left common iliac vein": 60, "right clavicle": 92}
ALIASES |= {"urinary bladder": 15, "oesophagus": 11, "lung tumour": 23, "kidney_left": 14, "rib_right_3": 77}


@BOTH
def test_aliases_lead_to_the_class(catalogue: ClassCatalogue) -> None:
    assert {alias: catalogue.resolve(alias).id for alias in ALIASES} == ALIASES


@pytest.mark.parametrize("item", [5, "5", " 5 ", "right kidney", "RIGHT_Kidney", "right-kidney", np.int64(5)])
def test_ids_digits_and_names_resolve(item: Any) -> None:
    assert CT.resolve(item) is CT[5]


@given(class_id=st.sampled_from([item.id for item in CTMR]), data=st.data())
def test_resolve_ignores_case_and_spacing(class_id: int, data: st.DataObject) -> None:
    item = CTMR[class_id]
    text = data.draw(st.sampled_from([item.name, *item.aliases]))
    blank = st.text(" _\t-", min_size=1, max_size=3)
    noisy = "".join(data.draw(blank) if c in " _" else data.draw(st.sampled_from([c.lower(), c.upper()])) for c in text)
    assert CTMR.resolve(f"{data.draw(st.text(' _', max_size=2))}{noisy}  ") is item


@given(st.text(max_size=30))
def test_any_text_either_names_a_known_class_or_is_refused(text: str) -> None:
    try:
        item = CT.resolve(text)
    except ClassError:
        return
    assert item in tuple(CT)


@pytest.mark.parametrize("bad", [0, -1, 133, 10**30, "0", "-3", "133", "9" * 5000, "", "  ", "_", True, None, 2.0, [1]])
def test_what_is_no_class_is_refused_with_the_value_and_a_way_out(bad: Any) -> None:
    with pytest.raises(ClassError) as caught:
        CT.resolve(bad)
    assert repr(bad).strip("'")[:10] in caught.value.message
    assert caught.value.fix
    assert len(str(caught.value)) < 400
    with pytest.raises(ClassError):
        CT.resolve_many([1, bad])


def test_an_unknown_name_suggests_the_nearest_and_adds_nothing() -> None:
    before = CT.to_dict()
    for text, nearest in {"livr": "liver (1)", "kidny": "kidney (2)", "hepatic tumr": "hepatic tumor (26)"}.items():
        with pytest.raises(ClassError) as caught:
            CT.resolve_many([text])
        assert nearest in caught.value.fix
    assert CT.to_dict() == before
    assert 133 not in CT


def test_a_misspelt_set_suggests_the_set_where_sets_can_be_given_and_only_there() -> None:
    cases = {"head and nek": "head and neck", "neck": "head and neck", "Organ": "organs", "mri-bod": "mri body"}
    for text, name in cases.items():
        with pytest.raises(ClassError) as caught:
            CTMR.resolve_many(["liver", text])
        assert caught.value.fix.startswith(f"Did you mean: {name} (a set of {len(CTMR.sets[name])} classes)")
        with pytest.raises(ClassError) as caught:
            CTMR.resolve(text)
        assert "a set of" not in caught.value.fix


def test_what_is_like_nothing_is_answered_with_the_sets() -> None:
    with pytest.raises(ClassError) as caught:
        CT.resolve_many(["qqqqq"])
    assert caught.value.fix.endswith("choose a set: everything, organs, bones, vessels, muscles, lesions.")


@pytest.mark.parametrize("catalogue", [CT, CTMR])
def test_a_set_is_known_by_its_name_however_it_is_written(catalogue: ClassCatalogue) -> None:
    assert all(catalogue.is_set(name.upper().replace(" ", "_")) for name in catalogue.sets)
    assert not catalogue.is_set("liver")


def test_suggestions_leave_out_what_does_not_work() -> None:
    with pytest.raises(ClassError) as caught:
        CT.resolve("liver tumorr")
    assert "hepatic tumor (26)" in caught.value.fix
    assert "(130)" not in caught.value.fix


def test_a_set_is_not_one_class() -> None:
    with pytest.raises(ClassError, match="set of 117 classes"):
        CT.resolve("everything")


def test_resolve_many_takes_ids_names_sets_and_groups_in_order_without_repeats() -> None:
    assert CT.resolve_many(["spleen", "lung", 29, "Liver", "3"]) == (3, 28, 29, 30, 31, 32, 1)
    assert CT.resolve_many(["Everything"]) == EVERYTHING
    assert CT.resolve_many(["muscles", "liver"]) == (*range(98, 108), 1)
    assert CT.resolve_many("lung") == (28, 29, 30, 31, 32)
    assert CT.resolve_many(np.array([2, 1])) == (14, 5, 1)
    assert CTMR.resolve_many(["MRI  Brain"]) == tuple(range(214, 346))


def test_groups_can_be_left_whole() -> None:
    assert CT.resolve_many(["lung", 29, "lung"], expand_groups=False) == (20, 29)


@given(st.lists(st.sampled_from([*EVERYTHING, 2, 20, 21, "liver", "bones", "everything", "IVC"]), min_size=1))
def test_resolve_many_gives_supported_ids_once_and_is_idempotent(items: list[int | str]) -> None:
    ids = CT.resolve_many(items)
    assert len(set(ids)) == len(ids)
    assert set(ids) <= with_status(CT, ClassStatus.SUPPORTED)
    assert CT.resolve_many(ids) == ids
    assert ids[0] in CT.resolve_many(items[:1])


@pytest.mark.parametrize("class_id", sorted(CT_UNSUPPORTED))
def test_an_unsupported_class_is_refused_with_its_reason(class_id: int) -> None:
    for item in (class_id, str(class_id), CT[class_id].name):
        with pytest.raises(ClassError) as caught:
            CT.resolve_many([1, item])
        assert CT[class_id].label in caught.value.message
        assert caught.value.fix == CT[class_id].reason


@pytest.mark.parametrize("nothing", [[], (), None, 7])
def test_no_list_of_classes_is_refused(nothing: Any) -> None:
    with pytest.raises(ClassError):
        CT.resolve_many(nothing)


def test_search_ranks_exact_before_prefix_before_word_before_substring_before_alias() -> None:
    found = [item.name for item in CT.search("Kidney")]
    assert found[:4] == ["kidney", "kidney mass", "left kidney", "right kidney"]
    assert [item.id for item in CT.search("bladder")] == [15, 10]
    assert [item.id for item in CT.search("bowel")] == [19, 62]
    assert [item.id for item in CT.search("ivc")] == [7]


@pytest.mark.parametrize(
    ("text", "class_id"),
    [("33", 33), ("rib 12 left", 74), ("kidny", 2), ("tumer", 23), ("hipocampus", 230), ("blader", 15)],
)
def test_search_finds_by_id_in_any_word_order_and_in_spite_of_a_misspelling(text: str, class_id: int) -> None:
    assert CTMR.search(text)[0].id == class_id


def test_search_for_nothing_lists_all_and_for_nonsense_none() -> None:
    assert [item.id for item in CT.search("  ")] == [item.id for item in CT.classes]
    assert CT.search("qqqqqq") == []
    assert CT.search("x" * 100_000) == []


def test_members_and_group_of_are_inverse() -> None:
    assert CT.members(2) == (14, 5)
    assert CT.members(1) == (1,)
    for group, ids in CT.groups.items():
        assert {CT.group_of(i) for i in ids} == {group}
    assert CT.group_of(1) is None


def test_point_labels_are_0_and_1_and_2_and_3_for_special_classes() -> None:
    for class_id in range(1, 133):
        expected = (2, 3) if class_id in SPECIAL else (0, 1)
        assert (CT.point_label(class_id, False), CT.point_label(class_id, True)) == expected
    for class_id in (133, 255, 511, None):
        assert (CT.point_label(class_id, False), CT.point_label(class_id, True)) == (0, 1)


@pytest.mark.parametrize("bad", [0, -1, 512, True, "1", 1.0])
def test_point_questions_refuse_what_is_no_class_id(bad: Any) -> None:
    with pytest.raises(ClassError):
        CT.point_label(bad, True)
    with pytest.raises(ClassError):
        CT.check_for_points(bad)


def test_points_need_one_supported_structure() -> None:
    for class_id in (2, 20, 21, *CT_UNSUPPORTED):
        with pytest.raises(ClassError) as caught:
            CT.check_for_points(class_id)
        assert caught.value.fix
        assert len(caught.value.fix) < 300
    for class_id in (1, 23, 57, 132, 133, 511):
        CT.check_for_points(class_id)
    with pytest.raises(ClassError):
        CTMR.check_for_points(133)  # a deprecated class there, not a new structure
