"""Where the first points of an object lie, on classes and on supervoxels (spec 5.4, 5.5).

On a class: voxels of the eroded class are positive, voxels of the rest negative. On supervoxels the object itself is
varied, so that the point branch learns to follow clicks instead of names: a part of an organ, an organ with a
neighbour added, a piece of nowhere, a random supervoxel. Such objects are asked for as new structures (zero-shot).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.training.prompts import ObjectPrompt, point_counts, sample_voxels

BORDER = 10  # voxels of a 128 window whose points are left out; scaled to other windows
_MIN_UNSEEN = 20**3 / 128**3  # of the window: the smallest unlabelled supervoxel that becomes an object


@dataclass(frozen=True, kw_only=True)
class SamplerModes:
    """How often each way of making an object is chosen (spec 5.5); the rest is a plain class."""

    organ_part: float = 0.1
    organ_plus: float = 0.1
    unseen: float = 0.1
    random: float = 0.1

    @property
    def regular(self) -> float:
        """The probability of a plain class."""
        return 1.0 - self.organ_part - self.organ_plus - self.unseen - self.random


class PointSampler:
    """Makes the objects of one patch from its labels and supervoxels."""

    def __init__(
        self,
        catalogue: ClassCatalogue,
        max_point: int,
        rng: np.random.Generator,
        modes: SamplerModes | None = None,
        *,
        central_prob: float = 0.0,
    ) -> None:
        self._catalogue, self._max_point, self._rng, self._central = catalogue, max_point, rng, central_prob
        self._modes = modes or SamplerModes()

    def regular(self, class_id: int, target: torch.Tensor, *, manual: bool = True) -> ObjectPrompt:
        """A class with positive points in it and negative points outside; an absent class has none."""
        if not bool(target.any()):
            return ObjectPrompt(class_id=class_id, target=target, manual=manual)
        positive, negative = point_counts(self._max_point, self._rng)
        inside = self._inside(target, positive)
        outside = sample_voxels(within_border(~target), negative, self._rng)
        return self._with_points(class_id, target, inside, outside, zero_shot=False, manual=manual)

    def varied(
        self, class_id: int, label: torch.Tensor, target: torch.Tensor, supervoxels: torch.Tensor, *, manual: bool
    ) -> ObjectPrompt:
        """A class, or an object made of it by a mode drawn at random; a mode that fails falls back to the class."""
        special = class_id in self._catalogue.point_special
        draw = self._rng.random()
        found: ObjectPrompt | None = None
        bounds = np.cumsum([self._modes.regular, self._modes.organ_part, self._modes.organ_plus, self._modes.unseen])
        if special or draw < bounds[0]:
            found = None
        elif draw < bounds[1]:
            found = self.organ_part(class_id, target, supervoxels)
        elif draw < bounds[2]:
            found = self.organ_plus(class_id, label, target, supervoxels)
        elif draw < bounds[3]:
            found = self.unseen(label, supervoxels)
        else:
            found = self.random_supervoxel(label, supervoxels)
        return found or self.regular(class_id, target, manual=manual)

    def organ_part(self, class_id: int, target: torch.Tensor, supervoxels: torch.Tensor) -> ObjectPrompt | None:
        """A supervoxel's part of an organ (10 to 90 % of it), or the organ without it."""
        part = self._part_of(target, supervoxels)
        if part is None:
            return None
        only_part = self._rng.random() < 0.5
        wanted, excluded = (part, target & ~part) if only_part else (target & ~part, part)
        zero_shot = only_part or self._rng.random() < 0.5
        positive, negative = point_counts(self._max_point, self._rng)
        inside = self._inside(wanted, positive)
        outside = sample_voxels(inner(excluded), max(negative, 1), self._rng)
        return self._with_points(class_id, wanted, inside, outside, zero_shot=zero_shot, manual=False)

    def organ_plus(
        self, class_id: int, label: torch.Tensor, target: torch.Tensor, supervoxels: torch.Tensor
    ) -> ObjectPrompt | None:
        """An organ with a supervoxel of the background that touches it and is at least a tenth of its size."""
        near = dilated(target, 5) & (label == 0)
        volume = int(target.sum())
        candidates = [s for s, n in _sizes(supervoxels, near) if n and int((supervoxels == s).sum()) >= 0.1 * volume]
        if not candidates:
            return None
        addition = (supervoxels == int(self._rng.choice(candidates))) & (label == 0)
        wanted = target | addition
        positive, negative = point_counts(self._max_point, self._rng)
        inside = sample_voxels(inner(target), positive, self._rng) + sample_voxels(inner(addition), 1, self._rng)
        outside = sample_voxels(within_border(~wanted), negative, self._rng)
        zero_shot = self._rng.random() < 0.5
        return self._with_points(class_id, wanted, inside, outside, zero_shot=zero_shot, manual=False)

    def unseen(self, label: torch.Tensor, supervoxels: torch.Tensor) -> ObjectPrompt | None:
        """A large supervoxel of the unlabelled region."""
        least = _MIN_UNSEEN * label.numel()
        candidates = [s for s, n in _sizes(supervoxels, label == 0) if n >= least]
        if not candidates:
            return None
        wanted = (supervoxels == int(self._rng.choice(candidates))) & (label == 0)
        return self.new_structure(wanted)

    def random_supervoxel(self, label: torch.Tensor, supervoxels: torch.Tensor) -> ObjectPrompt | None:
        """Any supervoxel, together with every labelled structure of which it covers more than a tenth."""
        numbers = torch.unique(supervoxels)
        numbers = numbers[numbers > 0]
        if not len(numbers):
            return None
        wanted = supervoxels == int(numbers[int(self._rng.integers(len(numbers)))])
        for class_id in torch.unique(label[wanted]).tolist():
            structure = label == class_id
            if class_id > 0 and int((structure & wanted).sum()) > 0.1 * int(structure.sum()):
                wanted = wanted | structure
        return self.new_structure(wanted)

    def new_structure(self, wanted: torch.Tensor) -> ObjectPrompt:
        """Any mask (*window, bool) as a structure that the model does not know."""
        positive, negative = point_counts(self._max_point, self._rng)
        inside = self._inside(wanted, positive)
        outside = sample_voxels(within_border(~wanted), negative, self._rng)
        new_id = self._catalogue.last_supported + 1
        return self._with_points(new_id, wanted, inside, outside, zero_shot=True, manual=False)

    def _inside(self, target: torch.Tensor, count: int) -> tuple[tuple[float, float, float], ...]:
        """Positive points; the first, as often as ``central_prob`` says, where a person would click: in the middle."""
        central = self._central > 0 and self._rng.random() < self._central
        first = sample_voxels(middle(target), 1, self._rng) if central else ()
        return first + sample_voxels(inner(target), count - len(first), self._rng)

    def _part_of(self, target: torch.Tensor, supervoxels: torch.Tensor) -> torch.Tensor | None:
        volume = int(target.sum())
        candidates = [s for s, n in _sizes(supervoxels, target) if 0.1 * volume <= n <= 0.9 * volume]
        if not volume or not candidates:
            return None
        return (supervoxels == int(self._rng.choice(candidates))) & target

    def _with_points(
        self,
        class_id: int,
        target: torch.Tensor,
        inside: tuple[tuple[float, float, float], ...],
        outside: tuple[tuple[float, float, float], ...],
        *,
        zero_shot: bool,
        manual: bool,
    ) -> ObjectPrompt:
        known = None if zero_shot else class_id
        labels = [self._catalogue.point_label(known, True)] * len(inside)
        labels += [self._catalogue.point_label(known, False)] * len(outside)
        return ObjectPrompt(
            class_id=class_id,
            target=target,
            points=inside + outside,
            labels=tuple(labels),
            zero_shot=zero_shot,
            manual=manual,
        )


def inner(mask: torch.Tensor) -> torch.Tensor:
    """A mask eroded by one voxel and away from the patch's border; less strict where nothing would be left."""
    for candidate in (within_border(eroded(mask)), within_border(mask), mask):
        if bool(candidate.any()):
            return candidate
    return mask


def middle(mask: torch.Tensor) -> torch.Tensor:
    """The deep part of a mask: at least three quarters as far from its surface as its deepest voxel is."""
    if not bool(mask.any()):
        return mask
    depth = torch.from_numpy(ndimage.distance_transform_edt(mask.numpy()))
    return mask & (depth >= 0.75 * depth.max())


def eroded(mask: torch.Tensor) -> torch.Tensor:
    """Erosion by a 3 x 3 x 3 cube; the patch's border counts as inside."""
    return F.max_pool3d((~mask)[None, None].float(), 3, 1, 1)[0, 0] == 0


def dilated(mask: torch.Tensor, radius: int) -> torch.Tensor:
    """Dilation by a cube of ``2 * radius + 1``."""
    return F.max_pool3d(mask[None, None].float(), 2 * radius + 1, 1, radius)[0, 0] > 0


def within_border(mask: torch.Tensor) -> torch.Tensor:
    """The part of a mask that is not in the patch's border."""
    margins = [round(BORDER * n / 128) for n in mask.shape]
    inside = torch.zeros_like(mask)
    cut = tuple(slice(m, n - m) for m, n in zip(margins, mask.shape, strict=True))
    inside[cut] = mask[cut]
    return inside


def _sizes(supervoxels: torch.Tensor, region: torch.Tensor) -> list[tuple[int, int]]:
    """Supervoxels (not 0, which is air) in a region, with the number of their voxels in it."""
    numbers, counts = torch.unique(supervoxels[region], return_counts=True)
    return [(int(s), int(n)) for s, n in zip(numbers.tolist(), counts.tolist(), strict=True) if s > 0]
