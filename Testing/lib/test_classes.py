"""What the shipped catalogues say: numbers, names, groups, sets, trees, colours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from class_facts import BOTH, CT, CT_UNSUPPORTED, CTMR, EVERYTHING, SPECIAL, with_status

from VISTA3DLib.classes import ClassCatalogue, TreeNode
from VISTA3DLib.structure import ClassStatus

# Facts of the published models, written down here a second time on purpose.
BONE_MEMBERS = (*range(33, 57), *range(63, 98), 114, 120, 122)
CTMR_REJECTED = {16, 129, 130, 131, 133, *range(137, 146), 162}


def nodes(node: TreeNode) -> Iterator[TreeNode]:
    yield node
    for child in node.children:
        yield from nodes(child)


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
