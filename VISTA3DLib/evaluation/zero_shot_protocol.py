"""Protocol ``zero-shot``: the paper's iterative clicks on structures that the model does not know (spec 7.1).

As the research code evaluates lesions and mice: clicks follow the error of the whole volume, every window of the
lattice that holds some of them is asked, the others vote against the object, and slices without truth are not looked
at, neither for clicks nor for scores. The answer is always asked for as a new structure, whatever the class.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from monai.data.utils import compute_importance_map
from torch.nn import functional as F

from VISTA3DLib.automatic import pad_image
from VISTA3DLib.components import largest_component
from VISTA3DLib.errors import VolumeError
from VISTA3DLib.evaluation.cases import LoadedCase
from VISTA3DLib.evaluation.masks import BoxedMask
from VISTA3DLib.evaluation.object_loop import ObjectQuestion, check_interactive, object_by_object
from VISTA3DLib.evaluation.rows import Prediction, Refusal
from VISTA3DLib.evaluation.settings import EvaluationSettings
from VISTA3DLib.evaluation.simulation import Click
from VISTA3DLib.evaluation.window_clicks import WindowClick, any_of, centre_click, largest_core
from VISTA3DLib.evaluation.window_protocol import Stitch, on_ct_grid, on_model_grid, window_box
from VISTA3DLib.geometry import Box, Index3
from VISTA3DLib.model import Model, WindowPrompt
from VISTA3DLib.points import ByteLRU
from VISTA3DLib.preprocess import PreparedVolume, prepare_volume
from VISTA3DLib.progress import Cancel, ProgressCallback
from VISTA3DLib.results import BoolArray
from VISTA3DLib.settings import find_mode
from VISTA3DLib.windows import WindowLattice, window_lattice

_CACHE_BYTES = 2**30
_FLAT_EROSION_UNTIL = 10  # clicks: until then an error without a core is eroded within its slices only


class ZeroShotProtocol:
    """Clicks object by object. Raises ``PromptError`` for a model that was not trained for points."""

    def __init__(self, model: Model, settings: EvaluationSettings) -> None:
        check_interactive(model)
        self._model, self._settings = model, settings
        self._mode = find_mode("quality")

    def predictions(
        self, case: LoadedCase, progress: ProgressCallback | None = None, cancel: Cancel | None = None
    ) -> Iterator[Prediction | Refusal]:
        """A mask after each click; see ``object_by_object``."""

        def opened() -> ObjectQuestion:
            prepared = prepare_volume(case.volume, self._model.settings, self._mode)
            windows = _ClickedWindows(self._model, prepared, self._mode.overlap)
            return lambda class_id, truth: self._object(class_id, truth, prepared, windows, cancel)

        return object_by_object(case, opened, progress, cancel)

    def _object(
        self, class_id: int, truth: BoxedMask, prepared: PreparedVolume, windows: _ClickedWindows, cancel: Cancel | None
    ) -> Iterator[Prediction | Refusal]:
        target = on_model_grid(truth, prepared).cut(prepared.grid.box)
        if not target.any():
            error = VolumeError("The object has no voxel on the model's grid.", "Use a model of finer spacing.")
            yield Refusal(class_id=class_id, error=error)
            return
        rng = np.random.default_rng((self._settings.seed, class_id))
        shown = target.any(axis=(0, 1))  # axial slices with truth: the model's third axis runs to the head
        clicks = [centre_click(target)]
        for number in range(1, self._settings.clicks + 1):
            if cancel is not None:
                cancel.check()
            start = time.perf_counter()
            predicted = windows.answer(clicks)
            predicted[:, :, ~shown] = False
            mask = on_ct_grid(BoxedMask.of(predicted), prepared)
            yield Prediction(
                class_id=class_id,
                mask=mask,
                clicks=number,
                click=_on_ct(clicks[-1], prepared),
                seconds=time.perf_counter() - start,
            )
            following = next_error_click(predicted, target, rng, flat=number < _FLAT_EROSION_UNTIL)
            if following is None:
                return
            clicks.append(following)


class _ClickedWindows:
    """Answers clicks on the whole model grid; what windows showed is kept."""

    def __init__(self, model: Model, prepared: PreparedVolume, overlap: float) -> None:
        self._model = model
        self._lattice: WindowLattice = window_lattice(prepared.grid.shape, model.settings.window, overlap)
        mode = find_mode("quality")
        self._padded = pad_image(prepared.image, self._lattice, mode)
        self._weight = torch.as_tensor(
            compute_importance_map(model.settings.window, mode=mode.blend, sigma_scale=0.125)
        )
        self._features, self._logits = ByteLRU(_CACHE_BYTES), ByteLRU(_CACHE_BYTES // 2)

    def answer(self, clicks: Sequence[WindowClick]) -> BoolArray:
        """Where the stitched logits are above 0."""
        stitch = Stitch(Box.whole(self._lattice.image_shape))
        for first in self._lattice.ordered((0, 1, 2)):
            window = window_box(first, self._lattice)
            inside = [c for c in clicks if window.contains(c.index)]
            if inside:
                stitch.add(window, self._window(first, window, inside), self._weight, len(inside))
            else:
                stitch.add_nothing(window, self._weight)
        return stitch.mask()

    def _window(self, first: Index3, window: Box, clicks: Sequence[WindowClick]) -> torch.Tensor:
        prompt = WindowPrompt(
            coordinates=np.array([np.subtract(c.index, window.start) for c in clicks], dtype=np.float64),
            labels=tuple(int(c.positive) for c in clicks),
            zero_shot=True,
        )
        return self._logits.get(
            (first, prompt.key), lambda: self._model.point_logits(self._seen(first, window), prompt).cpu()
        )

    def _seen(self, first: Index3, window: Box) -> torch.Tensor:
        cut = self._padded[tuple(slice(a, a + n) for a, n in zip(first, window.shape, strict=True))]
        return self._features.get(first, lambda: self._model.point_features(cut[None, None]))


def next_error_click(
    predicted: BoolArray, target: BoolArray, rng: np.random.Generator, *, flat: bool
) -> WindowClick | None:
    """A random voxel of the larger of what is missing and what is too much (each eroded, its largest component).

    ``flat``: where erosion leaves nothing of both, erode within the axial slices only. None if that leaves nothing.
    """
    missing, extra = target & ~predicted, predicted & ~target
    cores = largest_core(missing), largest_core(extra)
    if flat and not any(c.any() for c in cores):
        cores = largest_component(_eroded_in_slices(missing)), largest_component(_eroded_in_slices(extra))
    sizes = [int(np.count_nonzero(c)) for c in cores]
    if not any(sizes):
        return None
    positive = sizes[0] > sizes[1]
    return any_of(cores[0] if positive else cores[1], rng, positive=positive)


def _eroded_in_slices(mask: BoolArray) -> BoolArray:
    outside = torch.from_numpy(~mask)[None, None].float()
    return np.asarray(F.max_pool3d(outside, (3, 3, 1), stride=1, padding=(1, 1, 0))[0, 0].numpy() < 0.5)


def _on_ct(click: WindowClick, prepared: PreparedVolume) -> Click:
    """The voxel of the CT that a model voxel lies in."""
    place = prepared.volume_grid.to_voxel(prepared.grid.to_world(click.index))
    i, j, k = np.floor(place + 0.5).astype(int).clip(0, np.asarray(prepared.volume_grid.shape) - 1)
    return Click(index=(int(i), int(j), int(k)), positive=click.positive)
