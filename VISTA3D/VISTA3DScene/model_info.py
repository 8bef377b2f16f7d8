"""What a person should know about the model that is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.errors import ClassError


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelInfo:
    """The model as the worker describes it; ``automatic`` and ``interactive`` say which branches it has."""

    id: str
    title: str
    note: str
    demonstration: bool
    device: str
    device_description: str
    precision: str
    automatic: bool
    interactive: bool
    modality: str
    spacing: tuple[float, ...]
    window: tuple[int, ...]
    catalogue: ClassCatalogue

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> ModelInfo:
        """From the worker's answer to ``load_model``."""
        return cls(
            id=str(values["id"]),
            title=str(values["title"]),
            note=str(values["note"]),
            demonstration=bool(values["demonstration"]),
            device=str(values["device"]),
            device_description=str(values["device_description"]),
            precision=str(values["precision"]),
            automatic=bool(values["automatic"]),
            interactive=bool(values["interactive"]),
            modality=str(values["modality"]),
            spacing=tuple(float(v) for v in values["spacing"]),
            window=tuple(int(v) for v in values["window"]),
            catalogue=ClassCatalogue.from_dict(values["catalogue"]),
        )

    def point_class(self, class_id: int | None) -> int | None:
        """The class to name with points: None where this model cannot be told this class by points."""
        if class_id is None:
            return None
        try:
            self.catalogue.check_for_points(class_id)
        except ClassError:
            return None
        return class_id
