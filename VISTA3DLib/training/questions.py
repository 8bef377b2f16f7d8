"""How an object of a data set is asked for with points."""

from __future__ import annotations

from dataclasses import dataclass

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.structure import ClassStatus


@dataclass(frozen=True, kw_only=True)
class Question:
    """``class_id`` as ``Session.segment_points`` takes it, and whether the object is new to the model."""

    class_id: int | None
    zero_shot: bool


def question_for(class_id: int, catalogue: ClassCatalogue) -> Question:
    """A class of the model by its id; an id that the model does not have (a lesion, say) as a new structure.

    Groups and classes that the model does not support cannot be named with points (spec 2.4): they are clicked
    without a class, which is how the model takes structures that it may know (spec 3.1).
    """
    if class_id not in catalogue:
        return Question(class_id=None, zero_shot=True)
    if catalogue[class_id].status is not ClassStatus.SUPPORTED:
        return Question(class_id=None, zero_shot=False)
    return Question(class_id=class_id, zero_shot=False)


def point_labels(question: Question, catalogue: ClassCatalogue, positive: tuple[bool, ...]) -> tuple[int, ...]:
    """The network's labels (0 to 3, spec 3.1) of points with these signs."""
    return tuple(catalogue.point_label(question.class_id, sign) for sign in positive)


def is_zero_shot(question: Question, catalogue: ClassCatalogue) -> bool:
    """Whether the network gets the token of new structures: also for classes above those it was published with."""
    beyond = question.class_id is not None and question.class_id > catalogue.last_supported
    return question.zero_shot or beyond


def has_automatic(class_id: int, catalogue: ClassCatalogue) -> bool:
    """Whether the automatic branch can be asked for a class (or for the members of a group)."""
    return class_id in catalogue and catalogue[class_id].status is not ClassStatus.UNSUPPORTED
