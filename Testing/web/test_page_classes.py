"""The structures as rows of the page: each class once, in its branch, and only what works can be chosen."""

from __future__ import annotations

from collections import Counter

import pytest

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.structure import ClassStatus
from VISTA3DWeb.page.classes import search_rows, set_rows, tree_rows


@pytest.mark.parametrize("name", ["ct", "ctmr"])
def test_every_class_is_in_the_tree_once_and_every_row_has_a_key_of_its_own(name: str) -> None:
    catalogue = ClassCatalogue.load(name)
    rows = tree_rows(catalogue)
    assert Counter(row["id"] for row in rows if not row["group"]) == Counter(item.id for item in catalogue)
    assert len({row["key"] for row in rows}) == len(rows)
    branches = {row["key"] for row in rows if row["group"]}
    assert all(set(row["above"]) <= branches and len(row["above"]) == row["depth"] for row in rows)


def test_a_branch_chooses_what_the_model_supports_below_it() -> None:
    catalogue = ClassCatalogue.load("ct")
    for row in tree_rows(catalogue):
        if row["group"]:
            assert all(catalogue[i].status is ClassStatus.SUPPORTED for i in row["ids"])
    ribs = next(row for row in tree_rows(catalogue) if row["group"] and row["name"] == "Ribs")
    assert len(ribs["ids"]) == 24


def test_a_smaller_model_says_why_a_class_cannot_be_chosen() -> None:
    catalogue = ClassCatalogue.load("ct").restricted_to(["liver", "spleen"])
    rows = {row["id"]: row for row in tree_rows(catalogue) if not row["group"]}
    assert rows[1]["ok"]
    assert not rows[5]["ok"]
    assert "not trained" in rows[5]["why"]
    assert all(set(row["ids"]) <= {1, 3} for row in set_rows(catalogue))


def test_a_search_finds_groups_that_stand_for_their_members_and_they_cannot_be_clicked() -> None:
    catalogue = ClassCatalogue.load("ct")
    row = next(r for r in search_rows(catalogue, "kidney") if r["name"] == "kidney")
    assert len(row["ids"]) == 2
    assert not row["single"]
    assert search_rows(catalogue, "  ") == []
