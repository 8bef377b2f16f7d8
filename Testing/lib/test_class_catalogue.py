"""Storing, restricting and extending a catalogue of classes."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from class_facts import BOTH, CT, CT_UNSUPPORTED, with_status

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.errors import ClassError
from VISTA3DLib.structure import ClassStatus, StructureClass


def new_class(class_id: int = 400, name: str = "hernia mesh") -> StructureClass:
    return replace(CT[1], id=class_id, name=name, tree=("New",), color=(10, 200, 90), aliases=())


@BOTH
def test_a_catalogue_survives_json_and_pickle(catalogue: ClassCatalogue) -> None:
    data = json.loads(json.dumps(catalogue.to_dict()))
    assert data == catalogue.to_dict()
    assert ClassCatalogue.from_dict(data) == catalogue
    assert ClassCatalogue.from_dict(data).to_dict() == data
    assert pickle.loads(pickle.dumps(catalogue)) == catalogue
    assert copy.deepcopy(catalogue) == catalogue


def test_classes_of_a_single_piece_survive_json_restriction_and_older_data_without_them() -> None:
    catalogue = replace(CT, single_piece=(1, 3))
    assert ClassCatalogue.from_dict(json.loads(json.dumps(catalogue.to_dict()))) == catalogue
    assert catalogue.restricted_to([3]).single_piece == (1, 3)
    older = {key: value for key, value in CT.to_dict().items() if key != "single_piece"}
    assert ClassCatalogue.from_dict(older) == CT


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
    damaged(single_piece=[500]),
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
