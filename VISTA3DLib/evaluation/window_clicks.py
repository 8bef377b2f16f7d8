"""Clicks that the paper's protocols make inside one window, from the truth in it (spec 7.1).

Errors and objects are eroded by a voxel (the window's border counts as inside) and cut to their largest component
first, so that clicks do not sit on thin borders.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from VISTA3DLib.components import largest_component
from VISTA3DLib.geometry import Index3
from VISTA3DLib.results import BoolArray
from VISTA3DLib.training.point_sampler import eroded


@dataclass(frozen=True, kw_only=True)
class WindowClick:
    """A click on a voxel of a window."""

    index: Index3
    positive: bool = True


def centre_click(target: BoolArray) -> WindowClick:
    """Protocol ``point``: the voxel nearest to the centroid of the core of the object in this window.

    An object too thin to have a core is taken whole. Of voxels that are equally near, the first in the array counts.
    """
    core = largest_core(target)
    places = np.argwhere(core if core.any() else target)
    offsets = ((places - places.mean(axis=0)) ** 2).sum(axis=1)
    return WindowClick(index=_three(places[int(offsets.argmin())]))


def trial_clicks(
    predicted: BoolArray, target: BoolArray, rng: np.random.Generator, *, first: bool
) -> tuple[WindowClick, ...]:
    """Protocol ``auto+point``: the clicks of one trial of the oracle; none where there is nothing to say.

    The ``first`` trial clicks anywhere on the object. Later ones look at the larger error: one positive click in what
    is missing, or one on the object and a negative one in what is too much. Where the window has nothing of the
    object, any voxel of a false positive is clicked away.
    """
    if not target.any():
        return (any_of(predicted, rng, positive=False),) if predicted.any() else ()
    if first:
        return (any_of(target, rng),)
    missing, extra = largest_core(target & ~predicted), largest_core(predicted & ~target)
    if np.count_nonzero(missing) > np.count_nonzero(extra):
        return (any_of(missing, rng),)
    on_object = any_of(target, rng)
    return (on_object, any_of(extra, rng, positive=False)) if extra.any() else (on_object,)


def largest_core(mask: BoolArray) -> BoolArray:
    """The largest 26-connected component of a mask after erosion; empty if nothing is left."""
    return largest_component(eroded(torch.from_numpy(mask)).numpy())


def any_of(mask: BoolArray, rng: np.random.Generator, *, positive: bool = True) -> WindowClick:
    """A click on any voxel of a mask, all equally likely."""
    chosen = int(rng.choice(np.flatnonzero(mask)))
    return WindowClick(index=_three(np.unravel_index(chosen, mask.shape)), positive=positive)


def _three(index: object) -> Index3:
    i, j, k = np.asarray(index)
    return int(i), int(j), int(k)
