"""What SAM sees in the slices of a CT: image encoder and mask upscaling, without prompts (spec 5.7).

The network is segment-anything's own code, an optional dependency. Only its package ``modeling`` is loaded, by its
place on disk: ``import segment_anything`` also imports the predictor and with it torchvision, which is not needed here
and is missing or broken in many installations.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch.nn import functional as F

from VISTA3DLib.checkpoint import read_checkpoint
from VISTA3DLib.errors import CheckpointError, SettingsError

LOW_HU, HIGH_HU = -1000.0, 1000.0  # become 0 and 255
_MEAN = (123.675, 116.28, 103.53)  # of SAM's training images, RGB
_DEVIATION = (58.395, 57.12, 57.375)
_ALIAS = "VISTA3DLib.training._segment_anything_modeling"
_HELP = "Run: pip install segment-anything, or use the method 'plain', which needs no SAM."


class SliceEncoder:
    """Turns slices of HU into 32 feature channels each.

    ``image_encoder`` is segment-anything's ImageEncoderViT, ``upscaling`` the two transposed convolutions of its mask
    decoder (``output_upscaling``). On CUDA both run in fp16 (autocast), as in the reference.
    """

    def __init__(self, image_encoder: torch.nn.Module, upscaling: torch.nn.Module, device: torch.device) -> None:
        self._encoder = image_encoder.to(device).eval()
        self._upscaling = upscaling.to(device).eval()
        self._side = int(image_encoder.img_size)  # type: ignore[arg-type]
        self.device = device
        convolutions = [m for m in upscaling.modules() if isinstance(m, torch.nn.ConvTranspose2d)]
        self.channels = int(convolutions[-1].out_channels)

    @torch.inference_mode()
    def __call__(self, hu: torch.Tensor) -> torch.Tensor:
        """Features of ``hu`` (n, h, w) float32: (n, channels, h, w) float32 on the encoder's device.

        Each slice is padded to a square at its far ends, resized to SAM's input, encoded, and the features are resized
        to the square and cut back to h x w. Raises ``CheckpointError`` if a feature is not finite.
        """
        _, height, width = hu.shape
        side = max(height, width)
        grey = ((hu.to(self.device) - LOW_HU) / (HIGH_HU - LOW_HU) * 255.0).clamp_(0.0, 255.0)
        square = F.pad(grey, (0, side - width, 0, side - height))[:, None]
        large = F.interpolate(square, size=(self._side, self._side), mode="bilinear", align_corners=False)
        mean, deviation = (torch.tensor(v, device=self.device).view(1, 3, 1, 1) for v in (_MEAN, _DEVIATION))
        with torch.autocast(self.device.type, dtype=torch.float16, enabled=self.device.type == "cuda"):
            features = self._upscaling(self._encoder((large.expand(-1, 3, -1, -1) - mean) / deviation))
        if not bool(torch.isfinite(features).all()):
            raise CheckpointError(
                "SAM gives features that are not finite.", "Use the device cpu (no fp16 there), or other weights."
            )
        square = F.interpolate(features.float(), size=(side, side), mode="bilinear", align_corners=False)
        return square[:, :, :height, :width]


class _AttentionByHead(torch.nn.Module):
    """SAM's attention over a whole slice, one head after the other.

    All heads at once need 16 * 4096 * 4096 floats three times over for one slice in ViT-H: 3.4 GB beside its weights.
    """

    def __init__(self, attention: torch.nn.Module, with_positions: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self._inner = attention
        self._with_positions = with_positions

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner: Any = self._inner
        count, height, width, channels = x.shape
        size = (height, width)
        heads = inner.qkv(x).reshape(count, height * width, 3, inner.num_heads, -1).permute(2, 0, 3, 1, 4)
        queries, keys, values = heads.flatten(1, 2).unbind(0)
        out = torch.empty_like(queries)
        for n, (query, key, value) in enumerate(zip(queries.split(1), keys.split(1), values.split(1), strict=True)):
            weights = (query * inner.scale) @ key.transpose(-2, -1)
            weights = self._with_positions(weights, query, inner.rel_pos_h, inner.rel_pos_w, size, size)
            out[n] = (weights.softmax(dim=-1) @ value)[0]
        joined = out.view(count, inner.num_heads, height, width, -1).permute(0, 2, 3, 1, 4)
        return inner.proj(joined.reshape(count, height, width, channels))  # type: ignore[no-any-return]


def load_slice_encoder(path: Path, device: torch.device) -> SliceEncoder:
    """Read a SAM checkpoint (ViT-B, L, H or any other size of the same classes; the size is read from its tensors).

    Raises ``SettingsError`` if segment-anything is not installed and ``CheckpointError`` if the file is missing,
    damaged, or holds anything but the tensors of SAM's image encoder and mask decoder (prompt encoder apart).
    """
    modeling = _modeling()
    tensors = read_checkpoint(path).tensors
    with torch.device("meta"):  # without memory and values of its own: nothing random can remain
        encoder = _image_encoder(modeling, tensors, path)
        decoder = _mask_decoder(modeling, tensors, path)
    for module, prefix in ((encoder, "image_encoder."), (decoder, "mask_decoder.")):
        own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        try:
            module.load_state_dict(own, strict=True, assign=True)
        except RuntimeError as error:
            first = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
            raise CheckpointError(f"{path} does not fit SAM's {prefix[:-1]}: {first}", _other_weights()) from error
    for block in (b for b in encoder.blocks if b.window_size == 0):  # type: ignore[union-attr]
        block.attn = _AttentionByHead(block.attn, modeling.image_encoder.add_decomposed_rel_pos)
    return SliceEncoder(encoder, decoder.output_upscaling, device)


def _modeling() -> ModuleType:
    """segment-anything's package of network classes, loaded without the package around it."""
    if _ALIAS in sys.modules:
        return sys.modules[_ALIAS]
    package = importlib.util.find_spec("segment_anything")  # finds, does not import
    folders = list(package.submodule_search_locations or ()) if package else []
    if not folders:
        raise SettingsError("SAM features need the package segment-anything, which is not installed.", _HELP)
    folder = Path(folders[0]) / "modeling"
    spec = importlib.util.spec_from_file_location(
        _ALIAS, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_ALIAS] = module  # its files import each other relative to this name
    try:
        spec.loader.exec_module(module)
        for name in ("ImageEncoderViT", "MaskDecoder", "TwoWayTransformer"):
            getattr(module, name)
    except (ImportError, OSError, AttributeError) as error:
        del sys.modules[_ALIAS]
        raise SettingsError(f"The package segment-anything in {folder.parent} is broken: {error}.", _HELP) from error
    return module


def _image_encoder(modeling: ModuleType, tensors: Mapping[str, torch.Tensor], path: Path) -> torch.nn.Module:
    place, patch = _tensor(tensors, "pos_embed", 4, path), _tensor(tensors, "patch_embed.proj.weight", 4, path)
    relative = _relative_lengths(tensors)
    depth, grid = len(relative), int(place.shape[1])
    if not depth or sorted(relative) != list(range(depth)):
        raise CheckpointError(f"{path} lacks blocks of SAM's image encoder.", _other_weights())
    head_size = int(_tensor(tensors, "blocks.0.attn.rel_pos_h", 2, path).shape[1])
    everywhere = 2 * grid - 1  # positions relative to each other, in attention over the whole image
    windows = sorted({length for length in relative.values() if length != everywhere})
    encoder: torch.nn.Module = modeling.ImageEncoderViT(
        img_size=grid * int(patch.shape[-1]),
        patch_size=int(patch.shape[-1]),
        in_chans=int(patch.shape[1]),
        embed_dim=int(place.shape[-1]),
        depth=depth,
        num_heads=int(place.shape[-1]) // head_size,
        mlp_ratio=_tensor(tensors, "blocks.0.mlp.lin1.weight", 2, path).shape[0] / place.shape[-1],
        out_chans=int(_tensor(tensors, "neck.0.weight", 4, path).shape[0]),
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=(windows[0] + 1) // 2 if windows else 0,
        global_attn_indexes=tuple(block for block, length in relative.items() if length == everywhere),
    )
    return encoder


def _relative_lengths(tensors: Mapping[str, torch.Tensor]) -> dict[int, int]:
    """Block number -> length of its table of relative positions, which tells windows from the whole image."""
    found = {}
    for name, value in tensors.items():
        match = re.fullmatch(r"image_encoder\.blocks\.(\d{1,3})\.attn\.rel_pos_h", name)
        if match and value.ndim == 2:
            found[int(match[1])] = int(value.shape[0])
    return dict(sorted(found.items()))


def _mask_decoder(modeling: ModuleType, tensors: Mapping[str, torch.Tensor], path: Path) -> Any:
    channels = int(_tensor(tensors, "neck.0.weight", 4, path).shape[0])
    return modeling.MaskDecoder(
        num_multimask_outputs=3,
        transformer=modeling.TwoWayTransformer(depth=2, embedding_dim=channels, mlp_dim=2048, num_heads=8),
        transformer_dim=channels,
    )


def _tensor(tensors: Mapping[str, torch.Tensor], name: str, axes: int, path: Path) -> torch.Tensor:
    value = tensors.get(f"image_encoder.{name}")
    if value is None or value.ndim != axes:
        shown = ", ".join(list(tensors)[:3])
        raise CheckpointError(
            f"{path} is no SAM checkpoint: it has no image_encoder.{name}, but {shown} ...", _other_weights()
        )
    return value


def _other_weights() -> str:
    return "Give a checkpoint of segment-anything (sam_vit_b, sam_vit_l or sam_vit_h, .pth), or use the method 'plain'."
