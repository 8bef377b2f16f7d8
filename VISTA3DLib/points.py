"""The interactive branch: from clicks to logits in windows, with everything kept that a next click can use again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from VISTA3DLib.devices import is_out_of_memory
from VISTA3DLib.errors import MemoryLimitError
from VISTA3DLib.geometry import Box
from VISTA3DLib.model import Model, WindowPrompt
from VISTA3DLib.preprocess import PreparedVolume
from VISTA3DLib.progress import Tracker
from VISTA3DLib.windows import belongs_to, click_windows, connected_groups

_LEFT_RIGHT = 2  # the axis of (1, 1, *window) that runs from right to left


@dataclass(frozen=True, kw_only=True, eq=False)
class ClickSet:
    """Clicks on one object: ``index`` (N, 3) in fractional model voxels, ``positive`` signs, ``labels`` 0..3."""

    index: npt.NDArray[np.float64]
    positive: tuple[bool, ...]
    labels: tuple[int, ...]
    zero_shot: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class LogitPatch:
    """Logits in a box of the model grid: means over the windows that cover a voxel.

    ``known`` marks the voxels that a window covers; ``automatic`` holds the class's own logits if they were asked for.
    """

    box: Box
    logits: torch.Tensor
    known: npt.NDArray[np.bool_]
    automatic: torch.Tensor | None = None


class ByteLRU:
    """Tensors by key, the least recently used dropped when they take more than ``limit`` bytes together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._items: OrderedDict[object, torch.Tensor] = OrderedDict()

    def get(self, key: object, make: Callable[[], torch.Tensor]) -> torch.Tensor:
        """The tensor of this key, made if it is not there."""
        if key in self._items:
            self._items.move_to_end(key)
            return self._items[key]
        value = make()
        size = value.numel() * value.element_size()
        if size <= self.limit:
            self._items[key] = value
            self.used += size
        while self.used > self.limit:
            _, dropped = self._items.popitem(last=False)
            self.used -= dropped.numel() * dropped.element_size()
        return value

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def __len__(self) -> int:
        return len(self._items)

    def clear(self) -> None:
        """Drop everything."""
        self._items.clear()
        self.used = 0


class ClickEngine:
    """Answers clicks on one prepared volume.

    Three caches change the time, never the answer: image features by window, logits by window and the points inside
    it, class features by window. ``shared_windows=False`` gives every click a window of its own, as the reference.
    Models with ``mirrored_clicks`` see every window twice, the second time with left and right exchanged.
    """

    def __init__(
        self, model: Model, prepared: PreparedVolume, *, shared_windows: bool = True, cache_bytes: int = 2**30
    ) -> None:
        self.model, self.prepared, self.shared_windows = model, prepared, shared_windows
        self._features = ByteLRU(cache_bytes // 2)
        self._logits = ByteLRU(cache_bytes // 4)
        self._class_features = ByteLRU(cache_bytes // 4)

    def windows(self, clicks: ClickSet) -> tuple[Box, ...]:
        """The windows that these clicks are seen through."""
        bounds = [self._bounds(p) for p in clicks.index]
        return click_windows(clicks.index.tolist(), bounds, self.model.settings.window, shared=self.shared_windows)

    def warm(self, index: Sequence[float]) -> None:
        """Compute what a click at this model voxel would need, so that the click itself is quick (mouse hover)."""
        clicks = ClickSet(index=np.array([index], dtype=np.float64), positive=(True,), labels=(1,))
        for window in self.windows(clicks):
            self._window_features(window)

    def logits(self, clicks: ClickSet, tracker: Tracker, *, class_id: int | None = None) -> list[LogitPatch]:
        """Logits of the clicked object, one patch for each group of overlapping windows.

        With ``class_id`` the patches also carry the automatic branch's logits of that class. When memory runs out,
        the caches are given up for it; ``MemoryLimitError`` if a window does not fit even then.
        """
        try:
            return self._window_patches(clicks, tracker, class_id)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        self._forget()
        tracker.done = 0
        tracker.note("Out of memory: what was kept of earlier clicks is dropped.")
        try:
            return self._window_patches(clicks, tracker, class_id)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise MemoryLimitError(
                "One window around a click does not fit into memory.",
                "Close other programs, use a smaller precision (--precision fp16) or --device cpu.",
            ) from error

    def _window_patches(self, clicks: ClickSet, tracker: Tracker, class_id: int | None) -> list[LogitPatch]:
        windows = self.windows(clicks)
        point_logits, class_logits = [], []
        for window in windows:
            if class_id is not None:
                self._encode_both(window)
                class_logits.append(self._automatic_logits(window, class_id))
            point_logits.append(self._window_logits(window, clicks))
            tracker.step()
        return [self._stitched(group, windows, point_logits, class_logits) for group in connected_groups(windows)]

    def _forget(self) -> None:
        """Drop what the caches hold, on the device too."""
        for cache in (self._features, self._logits, self._class_features):
            cache.clear()
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()

    def _bounds(self, index: npt.NDArray[np.float64]) -> Box:
        """Windows stay inside the foreground as in the reference, unless the click is outside it."""
        crop = self.prepared.crop
        return crop if crop.contains(index) else self.prepared.grid.box

    def _window_features(self, window: Box) -> torch.Tensor:
        """Features of a window (1, C, ...), or of it and its mirror image (2, C, ...)."""
        return self._features.get(
            window_key(window), lambda: self._with_mirror(self.model.point_features(self._cut(window)), window)
        )

    def _with_mirror(self, features: torch.Tensor, window: Box) -> torch.Tensor:
        if not self.model.settings.mirrored_clicks:
            return features
        return torch.cat([features, self.model.point_features(self._cut(window).flip(_LEFT_RIGHT))])

    def _encode_both(self, window: Box) -> None:
        """Fill both feature caches with one pass of the encoder, where both are missing."""
        key = window_key(window)
        if key in self._features or key in self._class_features:
            return
        point, automatic = self.model.both_features(self._cut(window))
        self._features.get(key, lambda: self._with_mirror(point, window))
        self._class_features.get(key, lambda: automatic[0])

    def _automatic_logits(self, window: Box, class_id: int) -> torch.Tensor:
        features = self._class_features.get(
            window_key(window), lambda: self.model.automatic_features(self._cut(window))[0]
        )
        embedding = self.model.class_embeddings([class_id])[0]
        return torch.einsum("c,cxyz->xyz", embedding, features.float()).cpu()

    def _window_logits(self, window: Box, clicks: ClickSet) -> torch.Tensor:
        prompt = self._prompt(window, clicks)
        return self._logits.get(
            (window_key(window), prompt.key), lambda: self._point_logits(self._window_features(window), prompt).cpu()
        )

    def _point_logits(self, features: torch.Tensor, prompt: WindowPrompt) -> torch.Tensor:
        logits = self.model.point_logits(features[:1], prompt)
        if len(features) == 1:
            return logits
        there = self.model.point_logits(features[1:], prompt.mirrored(self.model.settings.window[0]))
        return (logits + there.flip(0)) / 2.0

    def _prompt(self, window: Box, clicks: ClickSet) -> WindowPrompt:
        """The clicks inside a window, borders included, in an order that does not depend on when they were made."""
        grid = self.prepared.grid
        # The outermost CT voxels may end a little beyond the model grid; a click there means its border voxel.
        index = clicks.index.clip(-0.5, np.asarray(grid.shape) - 0.5 - 1e-6)
        inside = [n for n, p in enumerate(index) if _in_window(p, window)]
        inside.sort(key=lambda n: (clicks.labels[n], *index[n]))
        return WindowPrompt(
            coordinates=index[inside] - np.asarray(window.start),
            labels=tuple(clicks.labels[n] for n in inside),
            zero_shot=clicks.zero_shot,
        )

    def _cut(self, window: Box) -> torch.Tensor:
        """The image in a window (1, 1, *window); 0 (the lowest intensity) where the window sticks out.

        A window of the foreground box sees nothing outside that box, as in the reference, which crops first.
        """
        crop = self.prepared.crop
        inner = window & (crop if belongs_to(window, crop) else self.prepared.grid.box)
        part = self.prepared.image[inner.slices]
        pads = [
            p
            for axis in (2, 1, 0)
            for p in (inner.start[axis] - window.start[axis], window.stop[axis] - inner.stop[axis])
        ]
        return F.pad(part, pads)[None, None] if any(pads) else part[None, None]

    def _stitched(
        self,
        group: Sequence[int],
        windows: Sequence[Box],
        point_logits: Sequence[torch.Tensor],
        class_logits: Sequence[torch.Tensor],
    ) -> LogitPatch:
        """Average the windows of a group, cut to the volume (the reference sums them; the sign is the same)."""
        box = windows[group[0]]
        for n in group[1:]:
            box = box | windows[n]
        box = box & self.prepared.grid.box
        logits = _average([(windows[n], point_logits[n]) for n in group], box)
        automatic = _average([(windows[n], class_logits[n]) for n in group], box)[0] if class_logits else None
        return LogitPatch(box=box, logits=logits[0], known=logits[1].numpy(), automatic=automatic)


def window_key(window: Box) -> tuple[int, int, int]:
    """Windows of one volume and model all have the same shape: the start tells them apart."""
    return window.start


def _in_window(point: npt.NDArray[np.float64], window: Box) -> bool:
    """Inside, the first voxel included (the reference drops points there), up to half a voxel before the end."""
    voxel = np.floor(point + 0.5)
    return bool(np.all(voxel >= window.start) and np.all(voxel < window.stop))


def _average(pieces: Sequence[tuple[Box, torch.Tensor]], box: Box) -> tuple[torch.Tensor, torch.Tensor]:
    total = torch.zeros(box.shape)
    count = torch.zeros(box.shape, dtype=torch.uint8)
    for window, logits in pieces:
        inner = window & box
        place = inner.shifted([-v for v in box.start]).slices
        total[place] += logits[inner.shifted([-v for v in window.start]).slices]
        count[place] += 1
    known = count > 0
    return total.div_(count.clamp(min=1)), known
