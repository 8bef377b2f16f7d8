"""Which cases of a list are evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from evaluation_lists import entry, write_case, write_list

from VISTA3DLib.errors import SettingsError
from VISTA3DLib.evaluation.cases import read_cases


def test_splits_folds_and_limits_choose_cases(tmp_path: Path) -> None:
    for n, name in enumerate("abcd"):
        write_case(tmp_path, name, "lps", n)
    data = write_list(
        tmp_path,
        [entry("a", fold=0), entry("b", fold=1), {"image": "a.nii.gz", "id": "u"}],
        testing=[entry("c", fold=0), entry("d")],
    )

    def ids(**options: Any) -> str:
        return "".join(c.id for c in read_cases(data, **options).cases)

    assert ids() == "abcd"
    assert ids(split="training") == "ab"
    assert ids(split="testing") == "cd"
    assert ids(fold=0) == "ac"
    assert ids(limit=3) == "abc"
    assert "1 case has no manual label" in read_cases(data).failures[0].cause
    with pytest.raises(SettingsError, match="has the fold 7") as caught:
        ids(fold=7)
    assert caught.value.fix == "Give one of these: 0, 1."
    for wrong in ({"split": "dev"}, {"limit": 0}):
        with pytest.raises(SettingsError):
            read_cases(data, **wrong)


def test_two_cases_with_one_name_are_said(tmp_path: Path) -> None:
    write_case(tmp_path, "a", "lps", 1)
    cases = read_cases(write_list(tmp_path, [entry("a"), entry("a")]))
    assert [c.id for c in cases.cases] == ["a"]
    assert "this name" in cases.failures[0].cause
