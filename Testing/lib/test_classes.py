"""The class catalogues and what can be asked of them."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from VISTA3DLib.classes import ClassCatalogue, TreeNode
from VISTA3DLib.errors import ClassError
from VISTA3DLib.structure import ClassStatus, Code, StructureClass, Terminology

CT = ClassCatalogue.load("ct")
CTMR = ClassCatalogue.load("ctmr")
BOTH = pytest.mark.parametrize("catalogue", [CT, CTMR], ids=["ct", "ctmr"])

# Facts of the published models, written down here a second time on purpose.
BONE_MEMBERS = (*range(33, 57), *range(63, 98), 114, 120, 122)
EVERYTHING = tuple(
    i for i in range(1, 133) if i not in {2, 16, 18, 20, 21, 23, 24, 25, 26, 27, 128, 129, 130, 131, 132}
)
CT_UNSUPPORTED = {16, 18, 129, 130, 131}
CTMR_REJECTED = {16, 129, 130, 131, 133, *range(137, 146), 162}
SPECIAL = (23, 24, 25, 26, 27, 57, 128)


def with_status(catalogue: ClassCatalogue, status: ClassStatus) -> set[int]:
    return {item.id for item in catalogue if item.status is status}


def nodes(node: TreeNode) -> Iterator[TreeNode]:
    yield node
    for child in node.children:
        yield from nodes(child)


def new_class(class_id: int = 400, name: str = "hernia mesh") -> StructureClass:
    return replace(CT[1], id=class_id, name=name, tree=("New",), color=(10, 200, 90), aliases=())


# --- what the shipped catalogues say ---------------------------------------------------------------------------------


def test_the_catalogues_have_the_published_numbers_of_classes() -> None:
    assert [item.id for item in CT] == list(range(1, 133))
    assert [item.id for item in CTMR] == list(range(1, 346))
    assert (CT.id, CTMR.id, len(CT), len(CTMR)) == ("ct", "ctmr", 132, 345)


@BOTH
def test_names_of_the_first_132_classes_are_the_models_own(catalogue: ClassCatalogue) -> None:
    known = {1: "liver", 16: "prostate or uterus", 33: "vertebrae L5", 60: "left iliac vena", 91: "left clavicula"}
    known |= {104: "left autochthon", 127: "vertebrae S1", 131: "vertebrae L6", 132: "airway"}
    assert {i: catalogue[i].name for i in known} == known


@BOTH
def test_everything_is_the_117_classes_of_totalsegmentator(catalogue: ClassCatalogue) -> None:
    assert catalogue.sets["everything"] == EVERYTHING
    assert len(EVERYTHING) == 117


@BOTH
def test_groups_expand_to_kidneys_lobes_and_62_bones(catalogue: ClassCatalogue) -> None:
    assert dict(catalogue.groups) == {2: (14, 5), 20: (28, 29, 30, 31, 32), 21: BONE_MEMBERS}
    assert len(BONE_MEMBERS) == 62
    assert with_status(catalogue, ClassStatus.GROUP) == {2, 20, 21}


@BOTH
def test_the_special_point_classes_are_those_of_the_training_not_of_the_buggy_default(
    catalogue: ClassCatalogue,
) -> None:
    assert catalogue.point_special == SPECIAL
    assert (catalogue.table_size, catalogue.last_supported) == (512, 132)
    assert dict(catalogue.contains) == {1: (25, 26), 4: (24,), 132: (57,)}


def test_127_ct_classes_can_be_asked_for_and_5_cannot() -> None:
    assert with_status(CT, ClassStatus.UNSUPPORTED) == CT_UNSUPPORTED
    assert len(with_status(CT, ClassStatus.SUPPORTED) | with_status(CT, ClassStatus.GROUP)) == 127


def test_the_ctmr_catalogue_rejects_what_the_reference_rejects() -> None:
    assert with_status(CTMR, ClassStatus.UNSUPPORTED) == CTMR_REJECTED
    assert CTMR[18].status is ClassStatus.SUPPORTED
    assert CTMR[155].status is ClassStatus.SUPPORTED
    assert "eprecated" in CTMR[155].reason


def test_the_mri_sets_have_50_and_132_classes() -> None:
    assert len(CTMR.sets["mri body"]) == 50
    assert CTMR.sets["mri brain"] == tuple(range(214, 346))


@BOTH
def test_only_classes_that_work_without_remark_have_no_reason(catalogue: ClassCatalogue) -> None:
    explained = {item.id for item in catalogue if item.reason}
    expected = with_status(catalogue, ClassStatus.UNSUPPORTED) | with_status(catalogue, ClassStatus.GROUP)
    assert explained == expected | ({155} if catalogue is CTMR else set())
    assert all(item.reason.endswith(".") for item in catalogue if item.reason)


@BOTH
def test_reasons_name_the_class_to_use_instead(catalogue: ClassCatalogue) -> None:
    for class_id, instead in {16: 118, 129: 116, 130: 26}.items():
        assert catalogue[instead].label in catalogue[class_id].reason


@BOTH
def test_sets_hold_supported_classes_once(catalogue: ClassCatalogue) -> None:
    for name, ids in catalogue.sets.items():
        assert ids, name
        assert len(set(ids)) == len(ids), name
        assert set(ids) <= with_status(catalogue, ClassStatus.SUPPORTED), name


def test_each_class_of_everything_is_in_exactly_one_thematic_set() -> None:
    thematic = Counter(i for name in ("organs", "bones", "vessels", "muscles", "lesions") for i in CT.sets[name])
    assert set(thematic.values()) == {1}
    assert set(EVERYTHING) <= set(thematic)
    assert set(thematic) - set(EVERYTHING) == {23, 24, 25, 26, 27, 128}
    assert CT.sets["lesions"] == (23, 24, 26, 27, 116, 117, 128)
    assert 25 in CT.sets["vessels"]


@BOTH
def test_every_class_is_in_exactly_one_leaf_of_a_shallow_tree(catalogue: ClassCatalogue) -> None:
    all_nodes = list(nodes(catalogue.tree()))
    placed = Counter(i for node in all_nodes for i in node.class_ids)
    assert set(placed) == {item.id for item in catalogue}
    assert set(placed.values()) == {1}
    assert all(not (node.children and node.class_ids) and (node.children or node.class_ids) for node in all_nodes)
    assert all(1 <= len(item.tree) <= 3 for item in catalogue)


@BOTH
def test_the_tree_lists_vertebrae_from_head_to_foot_and_ribs_from_1_to_12(catalogue: ClassCatalogue) -> None:
    by_name = {node.name: node for node in nodes(catalogue.tree())}
    spine = [i for part in by_name["Spine"].children for i in part.class_ids if i < 133]
    assert spine == [*range(56, 32, -1), 131, 127, 97]
    assert by_name["Ribs"].children[0].class_ids == tuple(range(63, 75))
    assert by_name["Ribs"].children[1].class_ids == tuple(range(75, 87))


def test_the_tree_can_leave_out_what_does_not_work() -> None:
    shown = {i for node in nodes(CT.tree(hide_unsupported=True)) for i in node.class_ids}
    assert shown == {item.id for item in CT} - CT_UNSUPPORTED


@BOTH
def test_colours_differ_and_none_is_black_white_or_grey(catalogue: ClassCatalogue) -> None:
    colors = [item.color for item in catalogue]
    assert len(set(colors)) == len(colors)
    for item in catalogue:
        assert max(item.color) - min(item.color) >= 30, item.label
        assert max(item.color) >= 80, item.label


@BOTH
def test_neighbouring_vertebrae_and_ribs_are_easy_to_tell_apart(catalogue: ClassCatalogue) -> None:
    rows = [[*range(56, 32, -1), 127, 97], range(63, 75), range(75, 87)]
    for row in rows:
        for one, other in pairwise(row):
            difference = np.abs(np.subtract(catalogue[one].color, catalogue[other].color)).sum()
            assert difference >= 30, (catalogue[one].label, catalogue[other].label)


def test_ct_names_keep_their_meaning_and_colour_in_the_ctmr_catalogue() -> None:
    for item in CT:
        other = CTMR[item.id]
        same = (item.name, item.tree, item.color, item.terminology)
        assert same == (other.name, other.tree, other.color, other.terminology)


def test_brain_parcels_have_readable_names_and_keep_the_raw_ones_as_aliases() -> None:
    known = {248: "right anterior cingulate gyrus", 230: "left hippocampus", 214: "third ventricle"}
    known |= {290: "right postcentral gyrus medial segment", 316: "right postcentral gyrus"}
    known |= {292: "right precentral gyrus medial segment", 322: "right precentral gyrus"}
    known |= {294: "right superior frontal gyrus medial segment", 328: "right superior frontal gyrus"}
    known |= {302: "right opercular part of the inferior frontal gyrus"}
    assert {i: CTMR[i].name for i in known} == known
    for raw, class_id in {"Right-ACgG--anterior-cingulate-gyrus": 248, "Right-MPoG--postcentral-gyrus": 290}.items():
        assert raw in CTMR[class_id].aliases
        assert CTMR.resolve(raw).id == class_id


# --- standard codes --------------------------------------------------------------------------------------------------

# Verhoeff's tables: the dihedral group D5 and the permutation, for SNOMED CT's check digit.
_D5 = [[(i + j) % 5 if j < 5 else (i + j) % 5 + 5 for j in range(10)] for i in range(5)]
_D5 += [[5 + (i - j) % 5 if j < 5 else (i - j) % 5 for j in range(10)] for i in range(5)]
_PERMUTATION = [list(range(10)), [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]]
for _ in range(6):
    _PERMUTATION.append([_PERMUTATION[-1][k] for k in _PERMUTATION[1]])


def has_valid_check_digit(code: str) -> bool:
    check = 0
    for position, digit in enumerate(reversed(code)):
        check = _D5[check][_PERMUTATION[position % 8][int(digit)]]
    return check == 0


def codes(terminology: Terminology) -> list[Code]:
    parts = (terminology.category, terminology.type, terminology.type_modifier)
    return [code for code in (*parts, terminology.region, terminology.region_modifier) if code]


def test_the_check_digit_test_itself_tells_right_from_wrong() -> None:
    assert has_valid_check_digit("10200004")
    assert not has_valid_check_digit("10200005")
    assert not has_valid_check_digit("12000004")


@BOTH
def test_all_codes_are_well_formed(catalogue: ClassCatalogue) -> None:
    for item in catalogue:
        for code in codes(item.terminology):
            assert code.scheme in ("SCT", "DCM"), item.label
            assert len(code.meaning) <= 64, item.label  # the limit of DICOM's code meaning
            assert code.value.isdecimal(), item.label
            assert len(code.value) == 6 if code.scheme == "DCM" else has_valid_check_digit(code.value), item.label


@BOTH
def test_one_code_has_one_meaning(catalogue: ClassCatalogue) -> None:
    meanings: dict[tuple[str, str], str] = {}
    for item in catalogue:
        for code in codes(item.terminology):
            assert meanings.setdefault((code.scheme, code.value), code.meaning) == code.meaning


@BOTH
def test_left_and_right_share_the_type_and_differ_in_the_side(catalogue: ClassCatalogue) -> None:
    by_name = {item.name: item for item in catalogue}
    pairs = [(item, by_name.get(f"right {item.name[5:]}")) for item in catalogue if item.name.startswith("left ")]
    pairs = [(left, right) for left, right in pairs if right]
    assert len(pairs) >= (30 if catalogue is CT else 100)
    for left, right in pairs:
        assert left.tree[:-1] == right.tree[:-1], left.label
        if left.name in ("left atrium", "left ventricle"):
            continue  # parts of one heart, with codes of their own
        one, other = left.terminology, right.terminology
        assert (one.category, one.type, one.region) == (other.category, other.type, other.region), left.label
        sides = [(t.region_modifier if t.region else t.type_modifier) for t in (one, other)]
        assert [(side.value, side.meaning) for side in sides if side] == [("7771000", "Left"), ("24028007", "Right")]


@BOTH
def test_lesions_are_altered_structures_of_an_organ(catalogue: ClassCatalogue) -> None:
    for class_id in (*catalogue.sets["lesions"], 129, 130):
        terminology = catalogue[class_id].terminology
        assert terminology.category.value == "49755003"
        assert terminology.region is not None


def test_only_classes_coded_by_their_parent_carry_a_note() -> None:
    assert {item.id for item in CT if item.terminology_note} == {16, 131}
    noted = {item.id for item in CTMR if item.terminology_note}
    assert len(noted) == 117
    assert noted >= set(range(248, 346)) - {262, 263}
    assert {item.terminology_note for item in CTMR} == {"", "parent structure: no specific code confirmed"}


def test_the_left_subclavian_artery_does_not_have_the_code_of_the_right_one() -> None:
    assert CT[123].terminology.type.value == CT[124].terminology.type.value == "36765005"


def test_the_slicer_entry_has_seven_fields_with_empty_triples() -> None:
    general, anatomy = (
        "Segmentation category and type - 3D Slicer General Anatomy list",
        "Anatomic codes - DICOM master list",
    )
    structure = "SCT^123037004^Anatomical Structure~SCT^64033007^Kidney~SCT^24028007^Right"
    assert CT[5].terminology.to_slicer() == f"{general}~{structure}~{anatomy}~^^~^^"
    lesion = "SCT^49755003^Morphologically Altered Structure~SCT^367643001^Cyst~^^"
    region = "SCT^64033007^Kidney~SCT^7771000^Left"
    assert CT[116].terminology.to_slicer() == f"{general}~{lesion}~{anatomy}~{region}"


@BOTH
def test_slicerio_reads_the_slicer_entries(catalogue: ClassCatalogue) -> None:
    slicerio = pytest.importorskip("slicerio.segmentation")
    for item in catalogue:
        parsed = slicerio.terminology_entry_from_string(item.terminology.to_slicer())
        assert parsed["type"] == item.terminology.type.to_list()
        side = item.terminology.type_modifier
        assert parsed.get("typeModifier") == (side.to_list() if side else None)


@pytest.mark.parametrize("meaning", ["", "a~b", "a^b", "a|b"])
def test_a_code_that_would_break_the_slicer_entry_is_refused(meaning: str) -> None:
    with pytest.raises(ClassError):
        Code(scheme="SCT", value="10200004", meaning=meaning)


# --- finding classes -------------------------------------------------------------------------------------------------

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


# --- points ----------------------------------------------------------------------------------------------------------


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


# --- storing and restricting -----------------------------------------------------------------------------------------


@BOTH
def test_a_catalogue_survives_json_and_pickle(catalogue: ClassCatalogue) -> None:
    data = json.loads(json.dumps(catalogue.to_dict()))
    assert data == catalogue.to_dict()
    assert ClassCatalogue.from_dict(data) == catalogue
    assert ClassCatalogue.from_dict(data).to_dict() == data
    assert pickle.loads(pickle.dumps(catalogue)) == catalogue
    assert copy.deepcopy(catalogue) == catalogue


def test_a_catalogue_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        CT.title = "mine"  # type: ignore[misc]
    with pytest.raises(TypeError):
        CT.sets["everything"] = ()  # type: ignore[index]


def test_an_unknown_catalogue_is_refused_with_the_choice() -> None:
    with pytest.raises(ClassError, match="ct, ctmr"):
        ClassCatalogue.load("pet")


def damaged(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(CT.to_dict()), **changes}


def damaged_class(**changes: Any) -> dict[str, Any]:
    data = damaged()
    data["classes"][0].update(changes)
    return data


MALFORMED = [
    {},
    {"classes": []},
    damaged(classes=[]),
    damaged(classes=[{"id": 1}]),
    damaged(table_size="many"),
    damaged(table_size=100),
    damaged(unheard_of=1),
    damaged(sets={"mine": [999]}),
    damaged(sets={"mine": [18]}),
    damaged(sets={"liver": [1]}),
    damaged(groups={"1": [14]}),
    damaged(groups={"2": [14, 600], "20": [28], "21": [33]}),
    damaged(groups={}),
    damaged_class(id=10),
    damaged_class(id=True),
    damaged_class(name="spleen"),
    damaged_class(name="17"),
    damaged_class(name=" "),
    damaged_class(name=None),
    damaged_class(aliases=["Right  Kidney"]),
    damaged_class(color=[1, 2]),
    damaged_class(color=[1, 2, 256]),
    damaged_class(status="perhaps"),
    damaged_class(tree=[]),
    damaged_class(terminology={"category": ["SCT", "1"]}),
]


@pytest.mark.parametrize("data", MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_catalogue_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ClassError) as caught:
        ClassCatalogue.from_dict(data)
    assert caught.value.fix


def test_a_restricted_catalogue_supports_only_what_was_trained() -> None:
    small = CT.restricted_to(["liver", "lung", 14])
    assert with_status(small, ClassStatus.SUPPORTED) == {1, 14, 28, 29, 30, 31, 32}
    assert dict(small.groups) == {20: (28, 29, 30, 31, 32)}
    assert dict(small.sets) == dict.fromkeys(("everything", "organs"), (1, 14, 28, 29, 30, 31, 32))
    assert small.resolve_many(["lung"]) == (28, 29, 30, 31, 32)
    for class_id in (3, 2, 21):
        with pytest.raises(ClassError, match="not trained on it"):
            small.resolve_many([class_id])
    assert small[18].reason == CT[18].reason
    assert ClassCatalogue.from_dict(small.to_dict()) == small
    assert with_status(CT, ClassStatus.UNSUPPORTED) == CT_UNSUPPORTED


def test_a_fine_tuned_catalogue_has_its_new_classes() -> None:
    tuned = CT.restricted_to([1], extra=[new_class(133), new_class(255, "stent")])
    assert tuned.resolve_many(["Hernia_Mesh", "stent"]) == (133, 255)
    assert tuned.sets["everything"] == (1, 133, 255)
    assert tuned.point_label(133, True) == 1
    assert CT.restricted_to([], extra=[new_class()]).resolve_many("everything") == (400,)
    assert [node.name for node in tuned.tree().children][-1] == "New"


@pytest.mark.parametrize(
    ("ids", "extra"),
    [
        ([], []),
        ([18], []),
        (["nothing"], []),
        ([1], [new_class(5)]),
        ([1], [new_class(132)]),
        ([1], [new_class(512)]),
        ([1], [new_class(400), new_class(400, "other")]),
        ([1], [new_class(400, "Spleen")]),
        ([1], [new_class(400, "organs")]),
    ],
)
def test_a_restriction_that_cannot_work_is_refused(ids: list[Any], extra: list[StructureClass]) -> None:
    with pytest.raises(ClassError):
        CT.restricted_to(ids, extra)


def test_importing_the_classes_does_not_import_torch() -> None:
    code = "import sys, VISTA3DLib.classes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_slicer_entry_gives_the_terminology_back() -> None:
    for catalogue in (ClassCatalogue.load("ct"), ClassCatalogue.load("ctmr")):
        for item in catalogue:
            assert Terminology.from_slicer(item.terminology.to_slicer()) == item.terminology


@pytest.mark.parametrize("entry", ["", "~", "a~b^c~d", "x~SCT^1^a~^^~^^~y~^^~^^"])
def test_an_incomplete_slicer_entry_is_no_terminology(entry: str) -> None:
    assert Terminology.from_slicer(entry) is None
