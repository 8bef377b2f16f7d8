"""What went wrong with a case, as something to list and not to stop for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from VISTA3DLib.errors import CancelledError, CheckpointError, DeviceError, OutputError, VISTA3DError

# These stop the whole evaluation: the next object or case would end the same way.
STOPPING = (CancelledError, CheckpointError, DeviceError, OutputError)


class EvaluationError(VISTA3DError):
    """An evaluation has nothing to report: no case could be scored."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """``cause`` and ``fix`` for a person; ``class_id`` None when it is about the whole case.

    ``fatal``: nothing of the case (or of that object) was scored; otherwise it is something to know about it.
    """

    case: str
    cause: str
    kind: str
    fix: str = ""
    class_id: int | None = None
    fatal: bool = True

    @classmethod
    def of(cls, case: str, error: VISTA3DError | MemoryError, class_id: int | None = None) -> Failure:
        """The failure that an error means for a case."""
        if isinstance(error, VISTA3DError):
            return cls(case=case, cause=error.message, fix=error.fix, kind=error.kind, class_id=class_id)
        return cls(
            case=case,
            cause="There is not enough memory for this case.",
            fix="Close other programs or leave the case out.",
            kind=type(error).__name__,
            class_id=class_id,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class FailureGroup:
    """One cause with all the cases that have it, in their order."""

    first: Failure
    cases: tuple[str, ...]

    @property
    def where(self) -> str:
        """The cases as text: all of a few, otherwise the first ones and how many there are."""
        if len(self.cases) <= 3:
            return ", ".join(self.cases)
        return f"{', '.join(self.cases[:3])} and {len(self.cases) - 3} more cases"


def grouped(failures: Iterable[Failure]) -> tuple[FailureGroup, ...]:
    """Failures with the same cause put together: a class that the model lacks is said once, not once a case."""
    groups: dict[tuple[Any, ...], list[Failure]] = {}
    for failure in failures:
        key = (failure.fatal, failure.class_id, failure.kind, failure.cause, failure.fix)
        groups.setdefault(key, []).append(failure)
    return tuple(FailureGroup(first=g[0], cases=tuple(f.case for f in g)) for g in groups.values())
