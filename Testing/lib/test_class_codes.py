"""Standard codes of the classes: SNOMED CT, and Slicer's way of writing them."""

from __future__ import annotations

import pytest
from class_facts import BOTH, CT, CTMR

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.errors import ClassError
from VISTA3DLib.structure import Code, Terminology

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


def test_a_slicer_entry_gives_the_terminology_back() -> None:
    for catalogue in (ClassCatalogue.load("ct"), ClassCatalogue.load("ctmr")):
        for item in catalogue:
            assert Terminology.from_slicer(item.terminology.to_slicer()) == item.terminology


@pytest.mark.parametrize("entry", ["", "~", "a~b^c~d", "x~SCT^1^a~^^~^^~y~^^~^^"])
def test_an_incomplete_slicer_entry_is_no_terminology(entry: str) -> None:
    assert Terminology.from_slicer(entry) is None
