"""What MONAI 1.6.1 itself computes: the reference that parity tests and benchmarks compare with.

Nothing here is ours but the wiring, which follows the published bundle (``bundle``) and the research code
(``quality``): their transforms, sliding window, post transform, inversion and point window inferer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from monai.apps.vista3d.inferer import point_based_window_inferer
from monai.apps.vista3d.transforms import VistaPostTransformd
from monai.data import MetaTensor
from monai.inferers import sliding_window_inference
from monai.transforms import (
    Compose,
    CropForegroundd,
    Invertd,
    Orientationd,
    ScaleIntensityRanged,
    ScaleIntensityRangePercentilesd,
    Spacingd,
    Transform,
)

from VISTA3DLib.model import Model
from VISTA3DLib.settings import HUWindow, ModeName
from VISTA3DLib.volume import Volume


def preprocessing(model: Model, mode: ModeName) -> Compose:
    """The reference's transforms in the reference's order (spec 2.1)."""
    rule = model.settings.intensity
    scale: Transform
    if isinstance(rule, HUWindow):
        scale = ScaleIntensityRanged("image", a_min=rule.low, a_max=rule.high, b_min=0, b_max=1, clip=True)
    else:
        scale = ScaleIntensityRangePercentilesd("image", lower=rule.low, upper=rule.high, b_min=0, b_max=1, clip=True)
    ras = Orientationd("image", axcodes="RAS", labels=None)
    spacing = model.settings.spacing
    if mode == "bundle":
        crop = CropForegroundd("image", source_key="image", margin=10, allow_smaller=True)
        return Compose([Spacingd("image", spacing, mode="bilinear"), crop, scale, ras])
    return Compose([scale, ras, Spacingd("image", spacing, mode="bilinear", align_corners=True)])


def meta_tensor(volume: Volume) -> MetaTensor:
    """The volume as MONAI loads it: channel first, with its affine."""
    array = np.ascontiguousarray(volume.array, dtype=np.float32)
    return MetaTensor(torch.from_numpy(array[None]), affine=torch.from_numpy(np.array(volume.affine)))


def reference_logits(model: Model, image: torch.Tensor, class_ids: Sequence[int], mode: ModeName) -> torch.Tensor:
    """Stitched logits (K, X, Y, Z) of MONAI's sliding window over a preprocessed image (1, X, Y, Z)."""
    prompt = torch.tensor(list(class_ids))[:, None]

    def predict(window: torch.Tensor) -> torch.Tensor:
        return model.network(window, class_vector=prompt, transpose=True)

    bundle = {"overlap": 0.25, "mode": "constant", "padding_mode": "replicate"}
    research = {"overlap": 0.625, "mode": "gaussian", "padding_mode": "constant"}
    settings = bundle if mode == "bundle" else research
    with torch.no_grad():
        return sliding_window_inference(image[None], model.settings.window, 1, predict, **settings)[0]


def reference_labels(model: Model, volume: Volume, class_ids: Sequence[int], mode: ModeName) -> npt.NDArray[np.int64]:
    """The label map of the whole published pipeline on the volume's grid."""
    transforms = preprocessing(model, mode)
    data = transforms({"image": meta_tensor(volume)})
    data["pred"] = reference_logits(model, data["image"], class_ids, mode)
    data["label_prompt"] = torch.tensor(list(class_ids))
    data = VistaPostTransformd("pred")(data)
    data = Invertd("pred", transforms, orig_keys="image", nearest_interp=True)(data)
    return data["pred"][0].numpy().astype(np.int64)


def reference_clicks(
    model: Model,
    image: torch.Tensor,
    points: Sequence[Sequence[float]],
    labels: Sequence[int],
    *,
    class_id: int | None = None,
    prompt_class: int | None = None,
    previous: torch.Tensor | None = None,
) -> torch.Tensor:
    """Logits (X, Y, Z), NaN outside the windows, of MONAI's point window inferer on a preprocessed image."""
    with torch.no_grad():
        return point_based_window_inferer(
            MetaTensor(image[None, None]),
            model.settings.window,
            model.network,
            point_coords=torch.tensor([list(points)], dtype=torch.float32),
            point_labels=torch.tensor([list(labels)]),
            class_vector=None if class_id is None else torch.tensor([[class_id]]),
            prompt_class=None if prompt_class is None else torch.tensor([[prompt_class]]),
            prev_mask=None if previous is None else previous[None, None],
            transpose=True,
        )[0, 0].as_tensor()
