"""Protocols ``point`` and ``auto+point``: clicks in every window of the lattice, stitched (spec 7.1).

An object gets a click in each of the many windows that show a part of it, not one per volume: these are the paper's
numbers, to be compared with the paper's. What a person can expect from n clicks is what ``clicks`` measures.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from monai.data.utils import compute_importance_map

from VISTA3DLib.automatic import pad_image
from VISTA3DLib.class_job import mask_to_volume
from VISTA3DLib.devices import free_bytes
from VISTA3DLib.errors import PromptError
from VISTA3DLib.evaluation.automatic_protocol import subtracted
from VISTA3DLib.evaluation.cases import LoadedCase
from VISTA3DLib.evaluation.masks import BoxedMask
from VISTA3DLib.evaluation.oracle import corrected_by_oracle
from VISTA3DLib.evaluation.rows import Prediction
from VISTA3DLib.evaluation.settings import EvaluationSettings
from VISTA3DLib.evaluation.window_clicks import WindowClick, centre_click
from VISTA3DLib.geometry import Box, Grid, Index3
from VISTA3DLib.model import Model, WindowPrompt
from VISTA3DLib.preprocess import PreparedVolume, prepare_volume
from VISTA3DLib.progress import Cancel, ProgressCallback, Tracker
from VISTA3DLib.resample import resample_nearest
from VISTA3DLib.results import BoolArray
from VISTA3DLib.settings import find_mode
from VISTA3DLib.training.questions import has_automatic, is_zero_shot, point_labels, question_for
from VISTA3DLib.windows import WindowLattice, window_lattice

NOTHING = -9999.0  # the reference's logit of a class that a window was not asked for
_MEMORY_SHARE = 4  # a quarter of the free memory holds the logits of as many classes as fit


class WindowProtocol:
    """Runs ``point``, or ``auto+point`` when that is the protocol of the settings.

    Raises ``PromptError`` for a model without the branches that the protocol needs.
    """

    def __init__(self, model: Model, settings: EvaluationSettings) -> None:
        self._oracle = settings.protocol == "auto+point"
        if not model.settings.interactive or (self._oracle and not model.settings.automatic):
            raise PromptError(
                f"The model {model.id} was not trained for {settings.protocol}.", "Choose another protocol or model."
            )
        self._model, self._seed = model, settings.seed
        self._mode = find_mode("quality")

    def predictions(
        self, case: LoadedCase, progress: ProgressCallback | None = None, cancel: Cancel | None = None
    ) -> Iterator[Prediction]:
        """A mask for each class of the case; ``clicks`` of a prediction counts those of all windows."""
        start = time.perf_counter()
        prepared = prepare_volume(case.volume, self._model.settings, self._mode)
        lattice = window_lattice(prepared.grid.shape, self._model.settings.window, self._mode.overlap)
        padded = pad_image(prepared.image, lattice, self._mode)
        targets = {i: on_model_grid(truth, prepared) for i, truth in {**case.truths, **case.unscored}.items()}
        stitches = {i: Stitch(self._reach(t, lattice)) for i, t in targets.items()}
        chunks = chunked(stitches, free_bytes(torch.device("cpu")) // _MEMORY_SHARE)
        tracker = Tracker("windows", lattice.count * len(chunks), progress, cancel)
        masks: dict[int, BoxedMask] = {}
        for chunk in chunks:
            for number, first in enumerate(lattice.ordered((0, 1, 2))):
                self._window(number, window_box(first, lattice), padded, first, targets, chunk)
                tracker.step()
            for class_id, stitch in chunk.items():
                masks[class_id] = on_ct_grid(BoxedMask.of(stitch.mask(), stitch.box.start), prepared)
                stitch.forget()
        seconds = (time.perf_counter() - start) / max(len(masks), 1)
        masks = subtracted(masks, case.subtract)
        for class_id in case.truths:
            yield Prediction(class_id=class_id, mask=masks[class_id], clicks=stitches[class_id].clicks, seconds=seconds)

    def _reach(self, target: BoxedMask, lattice: WindowLattice) -> Box:
        """Where a class may have logits above ``NOTHING``: in the windows that show it; for the oracle, everywhere."""
        image = Box.whole(lattice.image_shape)
        if self._oracle:
            return image
        reach = Box(start=(0, 0, 0), stop=(0, 0, 0))
        for first in lattice.ordered((0, 1, 2)):
            window = window_box(first, lattice)
            if (window & target.box).size and target.cut(window).any():
                reach = reach | (window & image)
        return reach

    def _window(
        self,
        number: int,
        window: Box,
        padded: torch.Tensor,
        first: Index3,
        targets: Mapping[int, BoxedMask],
        chunk: Mapping[int, Stitch],
    ) -> None:
        weight = self._weight()
        parts = {i: targets[i].cut(window) for i in chunk if (targets[i].box & window).size}
        shown = {i: part for i, part in parts.items() if part.any()}
        cut = padded[tuple(slice(a, a + n) for a, n in zip(first, window.shape, strict=True))][None, None]
        if self._oracle:
            empty = np.zeros(window.shape, dtype=bool)
            low, features = self._model.both_features(cut)
            for class_id, stitch in chunk.items():
                part = shown.get(class_id, empty)
                logits, given = self._corrected(class_id, low, features, part, number)
                stitch.add(window, logits, weight, given)
            return
        seen = self._model.point_features(cut) if shown else None
        for class_id, stitch in chunk.items():
            if seen is not None and class_id in shown:
                logits = self._point_logits(class_id, seen, [centre_click(shown[class_id])])
                stitch.add(window, logits, weight, 1)
            else:
                stitch.add_nothing(window, weight)

    def _corrected(
        self, class_id: int, low: torch.Tensor, features: torch.Tensor, target: BoolArray, number: int
    ) -> tuple[torch.Tensor, int]:
        if has_automatic(class_id, self._model.settings.catalogue):
            members = self._model.settings.catalogue.members(class_id)
            table = self._model.class_embeddings(members)
            automatic = torch.einsum("kc,cxyz->kxyz", table, features[0].float()).amax(dim=0).cpu()
        else:  # nothing to start from: the clicks alone
            automatic = torch.full(target.shape, NOTHING)
        rng = np.random.default_rng((self._seed, class_id, number))
        return corrected_by_oracle(automatic, target, lambda c: self._point_logits(class_id, low, c), rng)

    def _point_logits(self, class_id: int, low: torch.Tensor, clicks: Sequence[WindowClick]) -> torch.Tensor:
        catalogue = self._model.settings.catalogue
        question = question_for(class_id, catalogue)
        prompt = WindowPrompt(
            coordinates=np.array([c.index for c in clicks], dtype=np.float64),
            labels=point_labels(question, catalogue, tuple(c.positive for c in clicks)),
            zero_shot=is_zero_shot(question, catalogue),
        )
        return self._model.point_logits(low, prompt).cpu()

    def _weight(self) -> torch.Tensor:
        window = self._model.settings.window
        return torch.as_tensor(compute_importance_map(window, mode=self._mode.blend, sigma_scale=0.125))


class Stitch:
    """Weighted sums of one class's logits over windows, in a ``box`` of the model grid. Their sign is the mask.

    The memory is taken with the first window.
    """

    def __init__(self, box: Box) -> None:
        self.box = box
        self.clicks = 0
        self._sums: torch.Tensor | None = None

    @property
    def bytes(self) -> int:
        """Memory that the sums take."""
        return 4 * self.box.size

    def add(self, window: Box, logits: torch.Tensor, weight: torch.Tensor, clicks: int) -> None:
        """Add a window's logits (*window) where it meets the box, and the clicks that were given in it."""
        self.clicks += clicks
        inner = window & self.box
        if inner.size:
            source = inner.shifted([-v for v in window.start]).slices
            self._part(inner).add_(logits[source] * weight[source])

    def add_nothing(self, window: Box, weight: torch.Tensor) -> None:
        """Add a window that was not asked for the class: it votes against it, as in the reference."""
        inner = window & self.box
        if inner.size:
            self._part(inner).add_(weight[inner.shifted([-v for v in window.start]).slices], alpha=NOTHING)

    def mask(self) -> BoolArray:
        """Where the sums are above 0, in the box."""
        if self._sums is None:
            return np.zeros(self.box.shape, dtype=bool)
        return np.asarray((self._sums > 0).numpy())

    def forget(self) -> None:
        """Give the memory back."""
        self._sums = None

    def _part(self, box: Box) -> torch.Tensor:
        if self._sums is None:
            self._sums = torch.zeros(self.box.shape)
        return self._sums[box.shifted([-v for v in self.box.start]).slices]


def window_box(first: Index3, lattice: WindowLattice) -> Box:
    """A window of the lattice in the image's voxels; it sticks out where the image was padded."""
    start = [a - b for a, b in zip(first, lattice.before, strict=True)]
    return Box(start=(0, 0, 0), stop=lattice.window).shifted(start)


def on_model_grid(truth: BoxedMask, prepared: PreparedVolume) -> BoxedMask:
    """A mask of the volume's grid on the model's (nearest)."""
    cover = prepared.to_model(truth.box)
    if not cover.size:
        return BoxedMask.nothing()
    target: Grid = prepared.grid.cropped(cover)
    return BoxedMask.of(resample_nearest(truth.mask, prepared.volume_grid, target, inside=truth.box), cover.start)


def on_ct_grid(mask: BoxedMask, prepared: PreparedVolume) -> BoxedMask:
    """A mask of the model's grid on the volume's (nearest)."""
    if not mask.voxels:
        return BoxedMask.nothing()
    box, on_volume = mask_to_volume(mask.mask, mask.box, prepared)
    return BoxedMask.of(on_volume, box.start)


def chunked(stitches: Mapping[int, Stitch], limit: int) -> list[dict[int, Stitch]]:
    """Classes in groups whose sums fit into ``limit`` bytes together (one class at the least)."""
    chunks: list[dict[int, Stitch]] = []
    used = limit
    for class_id, stitch in stitches.items():
        if not chunks or used + stitch.bytes > limit:
            chunks.append({})
            used = 0
        chunks[-1][class_id] = stitch
        used += stitch.bytes
    return chunks
