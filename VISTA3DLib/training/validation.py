"""Scores on held-back cases during training: mean Dice per class, automatic or with one click."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from monai.networks.nets.vista3d import VISTA3D
from scipy import ndimage

from VISTA3DLib.devices import Runtime
from VISTA3DLib.files.read import read_volume
from VISTA3DLib.model import Model
from VISTA3DLib.prompts import Point
from VISTA3DLib.session import Session
from VISTA3DLib.settings import NetworkSettings
from VISTA3DLib.training.datalist import Case, DataList
from VISTA3DLib.training.patches import map_labels
from VISTA3DLib.training.questions import has_automatic, question_for
from VISTA3DLib.training.settings import StageSettings
from VISTA3DLib.volume import Volume


class DiceValidator:
    """Runs the engine on held-back cases, on their own grids, as a person would use it.

    A stage that trains points is scored with one click at each object's deepest voxel, any other with the automatic
    branch. Classes that are absent from a case are left out.
    """

    def __init__(self, cases: Sequence[Case], data: DataList, settings: NetworkSettings, runtime: Runtime) -> None:
        self._settings, self._runtime = settings, runtime
        self._cases = [(c, data.class_ids_of(c), data.mapping_of(c).to_global) for c in cases if c.label is not None]
        self._loaded: dict[Case, tuple[Volume, npt.NDArray[np.int16]]] = {}

    def __call__(self, network: VISTA3D, stage: StageSettings) -> Mapping[str, float]:
        """Class name -> mean Dice over the cases that have it."""
        model = Model(network, self._settings, self._runtime, id="in training")
        session = Session(model, mode="bundle")
        scores: dict[str, list[float]] = defaultdict(list)
        for case, class_ids, mapping in self._cases:
            volume, truth = self._load(case, mapping)
            session.set_volume(volume)
            by_points = stage.drop_label_prob == 1.0
            catalogue = self._settings.catalogue
            for class_id in class_ids if by_points else [i for i in class_ids if has_automatic(i, catalogue)]:
                target = truth == class_id
                if target.any():
                    name = self._name(class_id)
                    scores[name].append(self._score(session, volume, target, class_id, by_points=by_points))
        return {name: float(np.mean(values)) for name, values in scores.items()}

    def _score(
        self, session: Session, volume: Volume, target: npt.NDArray[np.bool_], class_id: int, *, by_points: bool
    ) -> float:
        if not by_points:
            found = session.segment_classes([class_id], overlapping=True, keep_features=True).mask(class_id)
        else:
            click = Point(ras=as_three(volume.grid.to_world(deepest_voxel(target, volume.grid.spacing))))
            question = question_for(class_id, self._settings.catalogue)
            result = session.segment_points([click], class_id=question.class_id, zero_shot=question.zero_shot)
            found = result.to_full()
        return dice(found, target)

    def _load(self, case: Case, mapping: Mapping[int, int]) -> tuple[Volume, npt.NDArray[np.int16]]:
        if case not in self._loaded:
            assert case.label is not None
            labels = np.rint(read_volume(case.label).array).astype(np.int32)
            self._loaded[case] = (read_volume(case.image), map_labels(labels, mapping))
        return self._loaded[case]

    def _name(self, class_id: int) -> str:
        catalogue = self._settings.catalogue
        return catalogue[class_id].name if class_id in catalogue else f"class {class_id}"


def dice(found: npt.NDArray[np.bool_], target: npt.NDArray[np.bool_]) -> float:
    """The Dice coefficient of two masks, of which ``target`` is not empty."""
    return 2.0 * float((found & target).sum()) / float(found.sum() + target.sum())


def deepest_voxel(mask: npt.NDArray[np.bool_], spacing: Sequence[float]) -> tuple[int, int, int]:
    """The voxel of a mask that is furthest from its border, in mm; the image's border counts as one."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    i, j, k = np.unravel_index(int(depth.argmax()), mask.shape)
    return int(i), int(j), int(k)


def as_three(values: npt.ArrayLike) -> tuple[float, float, float]:
    """Three numbers as a tuple."""
    r, a, s = (float(v) for v in np.asarray(values))
    return r, a, s
