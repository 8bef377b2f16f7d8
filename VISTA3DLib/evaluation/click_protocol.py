"""Protocol ``clicks``: a simulated person clicks on the whole volume, and every answer is scored (spec 7.6).

The product's own way: one session a volume, shared windows, all points so far with every question. With
``start_from_auto`` the points repair the class's automatic mask (Algorithm 1) instead of making a mask from nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from VISTA3DLib.errors import VISTA3DError
from VISTA3DLib.evaluation.automatic_protocol import automatic_masks, subtracted
from VISTA3DLib.evaluation.baselines import Baseline, make_baseline
from VISTA3DLib.evaluation.cases import LoadedCase
from VISTA3DLib.evaluation.clicked_crop import CropMaker
from VISTA3DLib.evaluation.masks import BoxedMask
from VISTA3DLib.evaluation.object_loop import ObjectQuestion, check_interactive, object_by_object
from VISTA3DLib.evaluation.rows import Prediction, Refusal
from VISTA3DLib.evaluation.settings import MODEL, EvaluationSettings
from VISTA3DLib.evaluation.simulation import Click, first_click, next_click
from VISTA3DLib.model import Model
from VISTA3DLib.progress import Cancel, ProgressCallback
from VISTA3DLib.session import Session
from VISTA3DLib.training.questions import has_automatic, question_for
from VISTA3DLib.volume import Volume

Answer = Callable[[Sequence[Click]], BoxedMask]


class ClickProtocol:
    """Clicks object by object; after each click the mask of the model, then those of the baselines.

    Raises ``PromptError`` for a model that was not trained for points.
    """

    def __init__(self, model: Model, settings: EvaluationSettings) -> None:
        check_interactive(model)
        self._session = Session(model, mode="bundle")
        self._settings = settings

    def predictions(
        self, case: LoadedCase, progress: ProgressCallback | None = None, cancel: Cancel | None = None
    ) -> Iterator[Prediction | Refusal]:
        """Masks of every object that is there, after each click; see ``object_by_object``."""

        def opened() -> ObjectQuestion:
            self._session.set_volume(case.volume)
            starts = self._automatic(case, cancel) if self._settings.start_from_auto else {}
            crops = CropMaker(case.volume, self._session.model.settings)
            return lambda class_id, truth: self._object(class_id, truth, starts.get(class_id), crops, cancel)

        return object_by_object(case, opened, progress, cancel)

    def _automatic(self, case: LoadedCase, cancel: Cancel | None) -> dict[int, BoxedMask]:
        catalogue = self._session.model.settings.catalogue
        known = [i for i in case.with_tumours if has_automatic(i, catalogue)]
        if not known or not self._session.model.settings.automatic:
            return {}
        return subtracted(automatic_masks(self._session, known, cancel=cancel), case.subtract)

    def _object(
        self, class_id: int, truth: BoxedMask, start: BoxedMask | None, crops: CropMaker, cancel: Cancel | None
    ) -> Iterator[Prediction | Refusal]:
        model_clicks: list[Click] = []
        if start is not None:
            yield Prediction(class_id=class_id, mask=start)
        answer = self._model_answer(class_id, start, cancel)
        for prediction in self._curve(class_id, truth, answer, start, cancel):
            assert prediction.click is not None
            model_clicks.append(prediction.click)
            yield prediction
        for name in self._settings.baselines:
            own = self._settings.baseline_clicks == "own"
            baseline = baseline_answer(make_baseline(name), crops)
            given = None if own else model_clicks
            try:
                yield from self._curve(class_id, truth, baseline, None, cancel, method=name, given=given)
            except VISTA3DError as error:
                if cancel is not None:
                    cancel.check()
                yield Refusal(class_id=class_id, error=error, method=name)

    def _curve(
        self,
        class_id: int,
        truth: BoxedMask,
        answer: Answer,
        start: BoxedMask | None,
        cancel: Cancel | None,
        *,
        method: str = MODEL,
        given: Sequence[Click] | None = None,
    ) -> Iterator[Prediction]:
        """Predictions after 1, 2, ... clicks: those that are ``given``, or those of the simulated person."""
        spacing = self._volume.grid.spacing
        clicks: list[Click] = []
        predicted = start
        for number in range(self._settings.clicks if given is None else len(given)):
            if cancel is not None:
                cancel.check()
            if given is not None:
                click: Click | None = given[number]
            elif predicted is None:
                click = first_click(truth, spacing)
            else:
                click = next_click(truth, predicted, spacing, clicks)
            if click is None:
                return
            clicks.append(click)
            begin = time.perf_counter()
            predicted = answer(clicks)
            seconds = time.perf_counter() - begin
            yield Prediction(
                class_id=class_id, mask=predicted, method=method, clicks=number + 1, click=click, seconds=seconds
            )

    @property
    def _volume(self) -> Volume:
        return self._session.volume

    def _model_answer(self, class_id: int, start: BoxedMask | None, cancel: Cancel | None) -> Answer:
        question = question_for(class_id, self._session.model.settings.catalogue)
        grid = self._volume.grid
        base = None if start is None else start.cut(grid.box)

        def answer(clicks: Sequence[Click]) -> BoxedMask:
            result = self._session.segment_points(
                [c.on(grid) for c in clicks],
                class_id=question.class_id,
                zero_shot=question.zero_shot,
                base_mask=base,
                cancel=cancel,
            )
            change = BoxedMask(box=result.box, mask=result.mask)
            return change if start is None else overwritten(start, change)

        return answer


def baseline_answer(baseline: Baseline, crops: CropMaker) -> Answer:
    """A classical method as an answer to clicks."""

    def answer(clicks: Sequence[Click]) -> BoxedMask:
        crop = crops.around(clicks)
        return crop.on_volume(baseline(crop))

    return answer


def overwritten(base: BoxedMask, change: BoxedMask) -> BoxedMask:
    """``base`` with the values of ``change`` inside its box (how a session hands back a repair)."""
    box = base.box | change.box
    mask = base.cut(box)
    if change.box.size:
        mask[change.box.shifted([-v for v in box.start]).slices] = change.mask
    return BoxedMask.of(mask, box.start)
