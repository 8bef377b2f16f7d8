"""What the protocols share that ask a model with points, one object after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from VISTA3DLib.errors import PromptError, VISTA3DError
from VISTA3DLib.evaluation.cases import LoadedCase
from VISTA3DLib.evaluation.failures import STOPPING
from VISTA3DLib.evaluation.masks import BoxedMask
from VISTA3DLib.evaluation.rows import Prediction, Refusal
from VISTA3DLib.model import Model
from VISTA3DLib.progress import Cancel, ProgressCallback, Tracker

ObjectQuestion = Callable[[int, BoxedMask], Iterator[Prediction | Refusal]]


def check_interactive(model: Model) -> None:
    """Raise ``PromptError`` for a model that was not trained for points."""
    if not model.settings.interactive:
        raise PromptError(f"The model {model.id} was not trained for points.", "Evaluate it with --protocol auto.")


def object_by_object(
    case: LoadedCase,
    opened: Callable[[], ObjectQuestion],
    progress: ProgressCallback | None = None,
    cancel: Cancel | None = None,
) -> Iterator[Prediction | Refusal]:
    """The answers for every object that is there; no mask and no click for absent classes, which cannot be clicked.

    ``opened`` prepares the case, if there is an object at all, and gives what asks for one by class id and true mask.
    An object that cannot be asked for is a ``Refusal``; the others go on.
    """
    present = {i: truth for i, truth in case.truths.items() if truth.voxels}
    for class_id in case.truths:
        if class_id not in present:
            yield Prediction(class_id=class_id, mask=BoxedMask.nothing())
    tracker = Tracker("objects", len(present), progress, cancel)
    if not present:
        return
    ask = opened()
    for class_id, truth in present.items():
        try:
            yield from ask(class_id, truth)
        except STOPPING:
            raise
        except VISTA3DError as error:
            yield Refusal(class_id=class_id, error=error)
        tracker.step()
