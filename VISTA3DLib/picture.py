"""A picture of a result: three planes with outlines and a legend, as radiologists look at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib.errors import OutputError
from VISTA3DLib.files.atomic import check_writable, written_atomically
from VISTA3DLib.geometry import Box, closest_ras_axes
from VISTA3DLib.results import BoolArray
from VISTA3DLib.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HU_WINDOW = (-160.0, 240.0)  # soft tissue: level 40, width 400
_LEGEND_ROWS = 28
_PLANES = (("Sagittal", 0, "P", "A"), ("Coronal", 1, "R", "L"), ("Axial", 2, "R", "L"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Outline:
    """A mask to draw: ``mask`` inside ``box`` on the volume's grid, ``color`` in 0..255."""

    name: str
    color: tuple[int, int, int]
    box: Box
    mask: BoolArray
    ml: float


def save_picture(
    path: Path, volume: Volume, outlines: Sequence[Outline], *, title: str = "", window: tuple[float, float] = HU_WINDOW
) -> None:
    """Write a PNG (or whatever the ending says) with the axial, coronal and sagittal plane that show most.

    Planes follow the volume's own axes, turned so that the patient's right is on the left, front and head are up.
    ``window`` are the HU shown as black and white. Raises ``OutputError``.
    """
    check_picture(path)
    figure = draw_picture(volume, outlines, title=title, window=window)
    with written_atomically(path) as temporary:
        figure.savefig(temporary, dpi=110, facecolor=figure.get_facecolor())


def check_picture(path: Path) -> None:
    """Raise the ``OutputError`` that saving a picture to ``path`` would end in, as far as it can be known before."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if path.suffix.lower().lstrip(".") not in FigureCanvasAgg.get_supported_filetypes():
        raise OutputError(f"{path} has no picture ending.", "Use .png, .jpg or .pdf.")
    check_writable(path)


def draw_picture(
    volume: Volume, outlines: Sequence[Outline], *, title: str = "", window: tuple[float, float] = HU_WINDOW
) -> Figure:
    """The figure behind ``save_picture``."""
    # The object interface: pyplot would keep global state and choose a window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 6), facecolor="#15181c", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 4, width_ratios=[1, 1, 1, 0.62])
    shown = [o for o in outlines if o.box.size and o.mask.any()]
    order, flips = closest_ras_axes(volume.affine)
    for plane, (name, world_axis, left, right) in zip(axes, reversed(_PLANES), strict=False):
        axis = order[world_axis]
        index = _best_index(volume, shown, axis)
        _draw_plane(plane, volume, shown, axis, index, order, flips, window)
        plane.set_title(f"{name}, slice {index + 1} of {volume.grid.shape[axis]}", color="#c8ced6", fontsize=10)
        for text, x in ((left, 0.02), (right, 0.98)):
            plane.text(x, 0.5, text, transform=plane.transAxes, color="#ffd166", ha="center", va="center", fontsize=9)
    _draw_legend(axes[3], shown)
    if title:
        figure.suptitle(title, color="#e8ecf1", fontsize=12)
    return figure


def _best_index(volume: Volume, outlines: Sequence[Outline], axis: int) -> int:
    """The slice that shows most structures, among those the one with most of their area."""
    count = volume.grid.shape[axis]
    score = np.zeros(count)
    for outline in outlines:
        profile = outline.mask.sum(axis=tuple(a for a in range(3) if a != axis)).astype(float)
        span = slice(outline.box.start[axis], outline.box.stop[axis])
        score[span] += (profile > 0) + profile / max(profile.sum(), 1.0)
    return int(score.argmax()) if score.any() else count // 2


def _draw_plane(
    plane: Axes,
    volume: Volume,
    outlines: Sequence[Outline],
    axis: int,
    index: int,
    order: Sequence[int],
    flips: Sequence[bool],
    window: tuple[float, float],
) -> None:
    turn = _PlaneTurn(axis, order, flips, volume.grid.spacing)
    image = turn(_slice(volume.finite, axis, index))
    rows, columns = image.shape
    extent = (0.0, columns * turn.spacing[1], rows * turn.spacing[0], 0.0)
    plane.imshow(image, cmap="gray", vmin=window[0], vmax=window[1], extent=extent, interpolation="bilinear")
    for outline in outlines:
        mask = _mask_slice(outline, axis, index, volume.grid.shape)
        if mask is not None:
            _contour(plane, turn(mask), turn.spacing, outline.color)
    plane.set_axis_off()
    plane.set_aspect("equal")


class _PlaneTurn:
    """Turns a slice so that rows run from head (or front) down and columns from the patient's right (or back)."""

    def __init__(self, axis: int, order: Sequence[int], flips: Sequence[bool], spacing: Sequence[float]) -> None:
        world = [w for w in range(3) if order[w] != axis]
        column_world, row_world = world  # (A, S), (R, S) or (R, A)
        kept = [a for a in range(3) if a != axis]
        self._axes = (kept.index(order[row_world]), kept.index(order[column_world]))
        # Rows go down, so S and A must fall; columns show R on the left, so R must fall; A rises to the right.
        self._flip_rows = not flips[row_world]
        self._flip_columns = (not flips[column_world]) if column_world == 0 else flips[column_world]
        self.spacing = (spacing[order[row_world]], spacing[order[column_world]])

    def __call__(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        turned = values.transpose(self._axes)
        turned = turned[::-1] if self._flip_rows else turned
        return turned[:, ::-1] if self._flip_columns else turned


def _slice(array: npt.NDArray[Any], axis: int, index: int) -> npt.NDArray[Any]:
    """A view; ``take`` would copy an array of another memory order whole before it looks."""
    return np.asarray(np.moveaxis(array, axis, 0)[index])


def _mask_slice(outline: Outline, axis: int, index: int, shape: Sequence[int]) -> BoolArray | None:
    if not outline.box.start[axis] <= index < outline.box.stop[axis]:
        return None
    part = _slice(outline.mask, axis, index - outline.box.start[axis])
    if not part.any():
        return None
    kept = [a for a in range(3) if a != axis]
    whole = np.zeros([shape[a] for a in kept], dtype=bool)
    whole[tuple(slice(outline.box.start[a], outline.box.stop[a]) for a in kept)] = part
    return whole


def _contour(plane: Axes, mask: BoolArray, spacing: Sequence[float], color: tuple[int, int, int]) -> None:
    box = Box.of_mask(mask[:, :, None]).grown((1, 1, 0))
    rows, columns = (np.arange(box.start[a], box.stop[a]) for a in (0, 1))
    padded = np.pad(mask, 1)[box.start[0] + 1 : box.stop[0] + 1, box.start[1] + 1 : box.stop[1] + 1]
    x, y = (columns + 0.5) * spacing[1], (rows + 0.5) * spacing[0]
    plane.contour(x, y, padded.astype(float), levels=[0.5], colors=[tuple(c / 255 for c in color)], linewidths=1.3)


def _draw_legend(plane: Axes, outlines: Sequence[Outline]) -> None:
    plane.set_axis_off()
    plane.set_xlim(0, 1)
    plane.set_ylim(_LEGEND_ROWS, 0)
    largest = sorted(outlines, key=lambda o: -o.ml)
    fits = largest if len(largest) <= _LEGEND_ROWS else largest[: _LEGEND_ROWS - 1]
    for row, outline in enumerate(fits):
        color = tuple(c / 255 for c in outline.color)
        plane.add_patch(_swatch(row, color))
        plane.text(0.1, row + 0.5, outline.name, color="#e8ecf1", va="center", fontsize=8.5, clip_on=True)
        plane.text(1.0, row + 0.5, f"{outline.ml:.1f} ml", color="#9aa4b0", va="center", ha="right", fontsize=8.5)
    if len(fits) < len(largest):
        plane.text(0.1, _LEGEND_ROWS - 0.5, f"and {len(largest) - len(fits)} more", color="#9aa4b0", va="center")
    if not largest:
        plane.text(0.0, 0.5, "Nothing was found.", color="#e8ecf1", va="center")


def _swatch(row: int, color: tuple[float, ...]) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((0.0, row + 0.22), 0.06, 0.56, color=color)
