"""Putting a phantom together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from VISTA3DLib.phantom.abdomen import organ_parts, organ_trees
from VISTA3DLib.phantom.appearance import Tissues, scan
from VISTA3DLib.phantom.cage import cage_parts
from VISTA3DLib.phantom.canvas import Canvas, Grid, Mask, Part, make_grid
from VISTA3DLib.phantom.labels import HEPATIC_TUMOR, HEPATIC_VESSEL, LABEL_NAMES, LUNG_TUMOR
from VISTA3DLib.phantom.lesions import lesion_parts
from VISTA3DLib.phantom.pelvis import muscle_parts, pelvis_parts
from VISTA3DLib.phantom.person import make_person
from VISTA3DLib.phantom.settings import PhantomSettings
from VISTA3DLib.phantom.spine import Spine, spine_parts
from VISTA3DLib.phantom.table import paint_table
from VISTA3DLib.phantom.thorax import heart_parts, lung_parts, lung_trees
from VISTA3DLib.phantom.trunk import Trunk, claim_wall, paint_background
from VISTA3DLib.phantom.vessels import vessel_parts

STANDARD = PhantomSettings()
_WALL_WEIGHT = 3.0  # how hard the wall of the trunk pushes back against soft organs


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """A made-up CT with its truth.

    ``array``: HU, int16, at least -1024, axes i, j, k. ``affine``: 4x4, voxel indices to RAS mm.
    ``labels``: VISTA3D class of each voxel, 0 where there is none; every voxel has at most one.
    ``label_names``: id to name of all the classes that a phantom can have.
    ``overlapping``: masks of the structures inside others: hepatic vessels (25) and hepatic tumours (26) in voxels that
    ``labels`` calls liver, lung tumours (23) in voxels that it calls a lobe of the lung.
    """

    array: npt.NDArray[np.int16]
    affine: npt.NDArray[np.float64]
    labels: npt.NDArray[np.uint8]
    label_names: dict[int, str]
    overlapping: dict[int, Mask]


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """Everything that is painted, in order."""

    settings: PhantomSettings
    trunk: Trunk
    tissues: Tissues
    frame: tuple[list[Part], ...]  # groups that keep their voxels: bones, vessels
    muscles: list[Part]
    organs: tuple[list[Part], ...]  # groups that keep their voxels
    details: list[Part]  # inside organs


def _plan(settings: PhantomSettings) -> _Plan:
    person = make_person(settings.seed, settings.variation)
    tissues = Tissues(person=person, contrast=settings.contrast)
    trunk, spine = Trunk(person=person), Spine(person=person)
    return _Plan(
        settings=settings,
        trunk=trunk,
        tissues=tissues,
        frame=(
            [*spine_parts(spine, tissues), *cage_parts(spine, trunk, tissues), *pelvis_parts(tissues)],
            vessel_parts(person, tissues),
        ),
        muscles=muscle_parts(spine, tissues),
        organs=(heart_parts(person, tissues), lung_parts(trunk, tissues), *organ_parts(person, tissues)),
        details=[
            *lung_trees(trunk, tissues),
            *organ_trees(trunk, tissues),
            *lesion_parts(trunk, tissues, settings.seed, settings.lesions),
        ],
    )


def _paint(grid: Grid, plan: _Plan, masks: dict[int, Mask]) -> Canvas:
    """One slab: the body's layers, then what is stiff, then what is soft, then what is inside."""
    canvas = Canvas(grid=grid, person=plan.trunk.person)
    paint_background(canvas, plan.trunk, plan.tissues)
    for group in plan.frame:
        canvas.paint_all(group, masks)
        canvas.harden()
    canvas.paint_all(plan.muscles, masks)
    claim_wall(canvas, _WALL_WEIGHT)
    for group in plan.organs:
        canvas.paint_all(group, masks)
        canvas.harden()
    canvas.paint_all(plan.details, masks)
    return canvas


def make_phantom(settings: PhantomSettings = STANDARD) -> Phantom:
    """The CT of the settings' person on the settings' grid.

    Every structure is a function of the world, so that one seed is one person on any grid; noise alone belongs to the
    voxels. For quick tests take coarse voxels: 8 mm make a whole torso in about half a second.
    """
    plan = _plan(settings)
    grid = make_grid(settings, plan.trunk.person)
    hu = np.full(grid.shape, plan.tissues["air"], dtype=np.float32)
    labels = np.zeros(grid.shape, dtype=np.uint8)
    overlapping = {label: np.zeros(grid.shape, dtype=bool) for label in (LUNG_TUMOR, HEPATIC_VESSEL, HEPATIC_TUMOR)}
    if settings.table:
        paint_table(hu, grid, plan.trunk, plan.tissues)
    body = grid.box(plan.trunk.extent, 5.0)
    for where in grid.slabs(body) if body else ():
        canvas = _paint(grid.crop(where), plan, {label: mask[where] for label, mask in overlapping.items()})
        np.copyto(hu[where], canvas.hu, where=canvas.body)
        labels[where] = canvas.labels
    overlapping[HEPATIC_VESSEL] &= ~overlapping[HEPATIC_TUMOR]
    array = np.clip(np.rint(scan(hu, settings)), -1024, 3071).astype(np.int16)
    return Phantom(
        array=array, affine=grid.affine, labels=labels, label_names=dict(LABEL_NAMES), overlapping=overlapping
    )
