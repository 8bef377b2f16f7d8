"""Protocol ``auto``: what the automatic branch finds, class by class, as the paper scores it (spec 7.1)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from VISTA3DLib.errors import ClassError
from VISTA3DLib.evaluation.cases import LoadedCase, Pairs
from VISTA3DLib.evaluation.masks import BoxedMask
from VISTA3DLib.evaluation.rows import Prediction, Refusal
from VISTA3DLib.model import Model
from VISTA3DLib.progress import Cancel, ProgressCallback
from VISTA3DLib.session import Session
from VISTA3DLib.training.questions import has_automatic


class AutomaticProtocol:
    """Quality mode (overlap 0.625, Gaussian), logits above 0 for each class, nearest back onto the volume's grid.

    Classes may overlap: each is scored against its own truth, without an argmax over the others.
    """

    def __init__(self, model: Model) -> None:
        if not model.settings.automatic:
            raise ClassError(f"The model {model.id} was not trained for automatic segmentation.", "Evaluate clicks.")
        self._session = Session(model, mode="quality")

    def predictions(
        self, case: LoadedCase, progress: ProgressCallback | None = None, cancel: Cancel | None = None
    ) -> Iterator[Prediction | Refusal]:
        """A mask for each class of the case, absent ones included; a ``Refusal`` for those the model lacks."""
        catalogue = self._session.model.settings.catalogue
        known = [i for i in case.with_tumours if has_automatic(i, catalogue)]
        yield from (missing_class(i, self._session.model) for i in case.truths if i not in known)
        if not known:
            return
        self._session.set_volume(case.volume)
        start = time.perf_counter()
        masks = automatic_masks(self._session, known, progress, cancel)
        seconds = (time.perf_counter() - start) / len(known)
        masks = subtracted(masks, case.subtract)
        for class_id in case.truths:
            if class_id in masks:
                yield Prediction(class_id=class_id, mask=masks[class_id], seconds=seconds)


def automatic_masks(
    session: Session,
    class_ids: Sequence[int],
    progress: ProgressCallback | None = None,
    cancel: Cancel | None = None,
) -> dict[int, BoxedMask]:
    """The automatic masks of classes, groups as one object each."""
    result = session.segment_classes(class_ids, overlapping=True, merge_groups=True, progress=progress, cancel=cancel)
    return {i: BoxedMask(box=m.box, mask=m.mask) for i, m in result.masks.items()}


def subtracted(masks: Mapping[int, BoxedMask], pairs: Pairs) -> dict[int, BoxedMask]:
    """Masks with the tumours taken out of their organs; pairs of which one was not predicted change nothing."""
    result = dict(masks)
    for organ, tumour in pairs:
        if organ in masks and tumour in masks:
            result[organ] = result[organ].without(masks[tumour])
    return result


def missing_class(class_id: int, model: Model) -> Refusal:
    """What to say about a class that the automatic branch cannot be asked for."""
    error = ClassError(
        f"The model {model.id} has no automatic class {class_id}.", "Map it to another class, or evaluate clicks."
    )
    return Refusal(class_id=class_id, error=error)
