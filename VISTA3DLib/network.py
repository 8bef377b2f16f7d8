"""Building networks of the VISTA3D family from MONAI's own parts (spec 1)."""

from __future__ import annotations

import torch
from monai.networks.nets import SegResNetDS2
from monai.networks.nets.vista3d import VISTA3D, ClassMappingClassify, PointMappingSAM

from VISTA3DLib.settings import NetworkSettings


def build_network(settings: NetworkSettings) -> VISTA3D:
    """A network with MONAI's own modules and tensor names, in evaluation mode, with fresh random parameters."""
    encoder = SegResNetDS2(
        in_channels=1,
        blocks_down=settings.blocks_down,
        norm="instance",
        out_channels=settings.filters,
        init_filters=settings.filters,
        dsdepth=1,
    )
    class_head = ClassMappingClassify(n_classes=settings.class_table, feature_size=settings.filters, use_mlp=True)
    point_head = PointMappingSAM(
        feature_size=settings.filters,
        n_classes=settings.class_table,
        last_supported=settings.catalogue.last_supported,
    )
    return VISTA3D(image_encoder=encoder, class_head=class_head, point_head=point_head).eval()


def seeded_network(settings: NetworkSettings, seed: int) -> VISTA3D:
    """A network whose random parameters follow from ``seed`` alone; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_network(settings)


def parameter_count(network: torch.nn.Module) -> int:
    """Number of parameters, buffers left out."""
    return sum(p.numel() for p in network.parameters())
