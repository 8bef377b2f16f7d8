"""What happens where a segment grows into others."""

from __future__ import annotations

from enum import Enum


class Overwrite(Enum):
    """Whether voxels that other segments have may be taken."""

    KEEP_OTHERS = "keep others"  # segments may overlap; nobody loses a voxel
    ONLY_EMPTY = "only where empty"  # a segment grows only where no other one is
    OVERWRITE_OTHERS = "overwrite others"  # the others lose what it takes
