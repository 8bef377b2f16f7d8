"""The two catalogues, and facts of the published models, written down here a second time on purpose."""

from __future__ import annotations

import pytest

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.structure import ClassStatus

CT = ClassCatalogue.load("ct")
CTMR = ClassCatalogue.load("ctmr")
BOTH = pytest.mark.parametrize("catalogue", [CT, CTMR], ids=["ct", "ctmr"])
EVERYTHING = tuple(
    i for i in range(1, 133) if i not in {2, 16, 18, 20, 21, 23, 24, 25, 26, 27, 128, 129, 130, 131, 132}
)
CT_UNSUPPORTED = {16, 18, 129, 130, 131}
SPECIAL = (23, 24, 25, 26, 27, 57, 128)


def with_status(catalogue: ClassCatalogue, status: ClassStatus) -> set[int]:
    """The ids with this status."""
    return {item.id for item in catalogue if item.status is status}
