"""What was clicked on a segment, kept on the segment itself: points, class, and how the mask came to be.

A tag of the segment holds it as text, so it is saved with the scene and with the ``.seg.nrrd`` file, copied with the
segment, and there again after loading. Points are in the volume's own frame (RAS before its parent transform).

A segment's mask is told as *rounds*. In each, a person may first have edited the mask by other means (``edit``), and
then placed points, which the model answered (``answer``). Both are kept as differences of voxels, so the mask can be
wound back to the beginning of any round, and the rounds from there on be asked afresh: that is what makes a mask after
a point was moved, flipped or removed the one that would have been without it. Most segments have one round.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from VISTA3DLib.geometry import Box, Vector3
from VISTA3DLib.prompts import Point
from VISTA3DScene.changes import Voxels
from VISTA3DScene.lattice import LatticeMask, difference, on_lattice
from VISTA3DScene.packed import PackedMask
from VISTA3DScene.tags import PROMPTS_TAG, get_tag

_FORMAT = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Delta:
    """Voxels that came and voxels that went."""

    came: Voxels
    gone: Voxels

    @classmethod
    def between(cls, old: LatticeMask, new: LatticeMask) -> Delta | None:
        """What makes ``new`` of ``old`` (same lattice); None where they are equal."""
        came, gone = difference(old, new)
        if not came.box.size and not gone.box.size:
            return None
        return cls(came=Voxels.of(came), gone=Voxels.of(gone))

    def apply(self, mask: LatticeMask) -> LatticeMask:
        """Do it to a mask, on the mask's lattice."""
        return mask.changed(on_lattice(self.came.unpack(), mask.affine), on_lattice(self.gone.unpack(), mask.affine))

    def undo(self, mask: LatticeMask) -> LatticeMask:
        """Take it back."""
        return mask.changed(on_lattice(self.gone.unpack(), mask.affine), on_lattice(self.came.unpack(), mask.affine))

    def to_plain(self) -> list[dict[str, Any]]:
        """JSON values."""
        return [_voxels_to_plain(self.came), _voxels_to_plain(self.gone)]

    @classmethod
    def from_plain(cls, plain: Any) -> Delta | None:
        """The inverse of ``to_plain``; None stays None."""
        if plain is None:
            return None
        came, gone = (_voxels_from_plain(part) for part in plain)
        return cls(came=came, gone=gone)


@dataclass(frozen=True, kw_only=True, eq=False)
class Round:
    """Points, the points that ``answer`` answers (``asked``), and an edit made before them. See the module's text."""

    points: tuple[Point, ...] = ()
    asked: tuple[Point, ...] = ()
    answer: Delta | None = None
    edit: Delta | None = None

    @property
    def pending(self) -> bool:
        """Whether the mask does not answer the points yet."""
        return self.points != self.asked


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompts:
    """What is known of one segment.

    ``class_id``: what it is (None: unknown); ``new_structure``: it is nothing that the model has a class for;
    ``automatic``: its mask is an automatic result that nobody changed; ``model``: who answered last; ``seal``: the mask
    that the rounds end in, as ``seal_of`` describes it ("": nothing was answered yet).
    """

    class_id: int | None = None
    new_structure: bool = False
    automatic: bool = False
    model: str = ""
    seal: str = ""
    rounds: tuple[Round, ...] = (Round(),)

    @property
    def points(self) -> tuple[Point, ...]:
        """All points, in the order in which they were placed."""
        return tuple(p for r in self.rounds for p in r.points)

    @property
    def pending(self) -> bool:
        """Whether the mask does not answer the points yet."""
        return any(r.pending for r in self.rounds)

    @property
    def first_pending(self) -> int:
        """Number of the first round that must be asked afresh."""
        return next((n for n, r in enumerate(self.rounds) if r.pending), len(self.rounds))

    def with_point(self, point: Point) -> Prompts:
        """The same with one more point."""
        last = self.rounds[-1]
        return self.with_round(len(self.rounds) - 1, replace(last, points=(*last.points, point)))

    def with_replaced(self, number: int, point: Point | None) -> Prompts:
        """The same with another point in the place of ``number``; None removes it."""
        for n, item in enumerate(self.rounds):
            if number < len(item.points):
                put = () if point is None else (point,)
                return self.with_round(
                    n, replace(item, points=(*item.points[:number], *put, *item.points[number + 1 :]))
                )
            number -= len(item.points)
        return self

    def without_points(self) -> Prompts:
        """The same without a point."""
        return replace(self, rounds=tuple(replace(r, points=()) for r in self.rounds))

    def settled(self) -> Prompts:
        """The same with the points that the mask answers."""
        return replace(self, rounds=tuple(replace(r, points=r.asked) for r in self.rounds))

    def with_round(self, number: int, item: Round) -> Prompts:
        """The same with another round in the place of ``number``."""
        return replace(self, rounds=(*self.rounds[:number], item, *self.rounds[number + 1 :]))

    def edited(self, edit: Delta, before: LatticeMask, seal: str) -> Prompts:
        """The same after the mask was edited by other means: ``before`` is the mask up to then, ``seal`` of the new."""
        last, new = self.rounds[-1], replace(self, automatic=False, seal=seal)
        if not last.points and not last.asked and len(self.rounds) > 1:  # an edit goes on: one difference for both
            start = before if last.edit is None else last.edit.undo(before)
            return new.with_round(len(self.rounds) - 1, replace(last, edit=Delta.between(start, edit.apply(before))))
        if not any(r.points or r.asked for r in self.rounds):
            return replace(new, rounds=(Round(),))
        return replace(new, rounds=(*self.rounds, Round(edit=edit)))

    def start_of(self, number: int, mask: LatticeMask) -> LatticeMask:
        """Wind a segment's mask back to what it was before the points of a round (after its ``edit``)."""
        for n in range(len(self.rounds) - 1, number - 1, -1):
            item = self.rounds[n]
            if item.answer is not None:
                mask = item.answer.undo(mask)
            if n > number and item.edit is not None:
                mask = item.edit.undo(mask)
        return mask

    def to_text(self) -> str:
        """As stored in the tag: JSON without ``|``, which separates tags in files."""
        plain: dict[str, Any] = {
            "format": _FORMAT,
            "class": self.class_id,
            "new": self.new_structure,
            "automatic": self.automatic,
            "model": self.model,
            "seal": self.seal,
            "rounds": [_round_to_plain(r) for r in self.rounds],
        }
        return json.dumps(plain, separators=(",", ":")).replace("|", "\\u007c")

    @staticmethod
    @lru_cache(maxsize=256)
    def from_text(text: str) -> Prompts:
        """Read a tag; one that cannot be read gives no prompts: the mask itself is not lost with it."""
        try:
            plain = json.loads(text)
            if plain["format"] != _FORMAT:
                return Prompts()
            return Prompts(
                class_id=None if plain["class"] is None else int(plain["class"]),
                new_structure=bool(plain["new"]),
                automatic=bool(plain["automatic"]),
                model=str(plain["model"]),
                seal=str(plain["seal"]),
                rounds=tuple(_round_from_plain(r) for r in plain["rounds"]) or (Round(),),
            )
        except (ValueError, KeyError, TypeError, IndexError, zlib.error):
            return Prompts()


def prompts_of(segment: Any) -> Prompts:
    """The prompts of a segment; empty ones if it has none."""
    text = get_tag(segment, PROMPTS_TAG)
    return Prompts.from_text(text) if text else Prompts()


def seal_of(mask: LatticeMask | None) -> str:
    """A mask told from others: how many voxels, and a checksum of their bits in the tight box."""
    if mask is None or not mask.box.size:
        return "0"
    tight = mask.tight()
    return f"{tight.voxels}:{zlib.crc32(np.packbits(np.ascontiguousarray(tight.mask)).tobytes()):08x}"


def _round_to_plain(item: Round) -> dict[str, Any]:
    same = item.asked == item.points
    return {
        "points": _points_to_plain(item.points),
        "asked": None if same else _points_to_plain(item.asked),
        "answer": item.answer.to_plain() if item.answer else None,
        "edit": item.edit.to_plain() if item.edit else None,
    }


def _round_from_plain(plain: Mapping[str, Any]) -> Round:
    points = _points_from_plain(plain["points"])
    asked = points if plain["asked"] is None else _points_from_plain(plain["asked"])
    return Round(
        points=points, asked=asked, answer=Delta.from_plain(plain["answer"]), edit=Delta.from_plain(plain["edit"])
    )


def _points_to_plain(points: tuple[Point, ...]) -> list[list[float]]:
    return [[*p.ras, int(p.positive)] for p in points]


def _points_from_plain(plain: Any) -> tuple[Point, ...]:
    return tuple(Point(ras=_three(p[:3]), positive=bool(p[3])) for p in plain)


def _voxels_to_plain(voxels: Voxels) -> dict[str, Any]:
    return {
        "affine": [float(v) for v in voxels.affine[:3].ravel()],
        "start": list(voxels.box.start),
        "stop": list(voxels.box.stop),
        "bits": base64.b64encode(voxels.mask.data).decode(),
    }


def _voxels_from_plain(plain: Mapping[str, Any]) -> Voxels:
    affine = np.eye(4)
    affine[:3] = np.array(plain["affine"], dtype=float).reshape(3, 4)
    (i0, j0, k0), (i1, j1, k1) = ((int(v) for v in plain[name]) for name in ("start", "stop"))
    box = Box(start=(i0, j0, k0), stop=(i1, j1, k1))
    mask = PackedMask(shape=box.shape, data=base64.b64decode(plain["bits"], validate=True))
    mask.unpack()  # a damaged tag is found here, not in the middle of an action
    return Voxels(affine=affine, box=box, mask=mask)


def _three(values: Any) -> Vector3:
    r, a, s = (float(v) for v in values)
    return r, a, s
