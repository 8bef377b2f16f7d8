"""What went wrong with a case, as something to list and not to stop for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from VISTA3DLib.errors import VISTA3DError


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
