"""What the tests of supervoxels from SAM features have in common: their volume's shape, and what they need."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

NEEDS_SAM = pytest.mark.skipif(
    importlib.util.find_spec("segment_anything") is None, reason="segment-anything is not installed"
)
SHAPE = (18, 15, 12)
SLICES = sum(SHAPE)
Make = Callable[..., npt.NDArray[np.int16]]
