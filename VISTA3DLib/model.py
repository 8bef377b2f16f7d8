"""A loaded network on its device, taken apart into the pieces that the engine needs.

The reference runs one ``forward`` per window and prompt. Two facts let us split it without changing a number
(performance notes in ``docs/engine.md``):

* The automatic logits are ``E @ F``: a fixed table of class embeddings times 48 prompt-independent features, with
  nothing after it. So features are computed and blended once and classes are looked up later.
* The point head sees the image only through half-resolution features, and its last convolution is linear. So those
  features are kept per window, and the convolution is folded with the mask token into one with a single output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from monai.networks.nets.vista3d import VISTA3D
from torch.nn import functional as F

from VISTA3DLib.devices import Runtime
from VISTA3DLib.errors import ClassError
from VISTA3DLib.geometry import Index3
from VISTA3DLib.settings import NetworkSettings


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowPrompt:
    """Points in one window: ``coordinates`` (N, 3) in window voxels, ``labels`` (N,) in 0..3 (spec 3.1)."""

    coordinates: npt.NDArray[np.float64]
    labels: tuple[int, ...]
    zero_shot: bool = False

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for prompts that give the same logits."""
        return (self.coordinates.tobytes(), self.labels, self.zero_shot)

    def mirrored(self, side: int) -> WindowPrompt:
        """The same points in the mirror image, along the first axis, of a window that is ``side`` voxels wide."""
        x, *rest = self.coordinates.T
        return replace(self, coordinates=np.stack([side - 1 - x, *rest], axis=1))


class Model:
    """``id``, ``settings`` and the network on ``runtime``; every method runs without gradients."""

    def __init__(self, network: VISTA3D, settings: NetworkSettings, runtime: Runtime, *, id: str = "unnamed") -> None:
        self.id = id
        self.settings = settings
        self.runtime = runtime
        self.network = network.to(runtime.device, memory_format=runtime.memory_format).eval()
        self._position_codes: dict[Index3, torch.Tensor] = {}
        self._automatic_trunk, self._point_trunk = self._run_automatic, self._run_point
        if runtime.compile:  # windows never change their shape: one graph each
            mode = "reduce-overhead" if runtime.device.type == "cuda" else "default"
            self._automatic_trunk = torch.compile(self._run_automatic, dynamic=False, mode=mode)
            self._point_trunk = torch.compile(self._run_point, dynamic=False, mode=mode)

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return self.runtime.device

    @torch.inference_mode()
    def automatic_features(self, windows: torch.Tensor) -> torch.Tensor:
        """Prompt-independent features of windows (B, 1, *window) -> (B, C, *window), float32 or the precision."""
        with self.runtime.autocast():
            return self._automatic_trunk(self._laid_out(windows))

    @torch.inference_mode()
    def class_embeddings(self, class_ids: Sequence[int]) -> torch.Tensor:
        """The rows ``E`` (K, C) float32 for which ``E @ features`` are the logits."""
        self._check_table(class_ids)
        index = torch.tensor(list(class_ids), device=self.device)[:, None]
        head = self.network.class_head
        return head.mlp(head.class_embeddings(index))[:, 0].float()  # type: ignore[no-any-return]

    @torch.inference_mode()
    def point_features(self, window: torch.Tensor) -> torch.Tensor:
        """What the point head keeps of a window (1, 1, *window): (1, C, *window / 2)."""
        with self.runtime.autocast():
            return self._point_trunk(self._laid_out(window))

    @torch.inference_mode()
    def both_features(self, window: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Point features and automatic features of one window, sharing the encoder."""
        with self.runtime.autocast():
            point, automatic = self.network.image_encoder(self._laid_out(window), with_point=True, with_label=True)
            low = self.network.point_head.feat_downsample(point)
            return low, self.network.class_head.image_post_mapping(automatic)

    @torch.inference_mode()
    def point_logits(self, features: torch.Tensor, prompt: WindowPrompt) -> torch.Tensor:
        """Logits (*window) float32 of one object from ``point_features`` and its points (spec 1.5)."""
        head = self.network.point_head
        with self.runtime.autocast():
            tokens = self._tokens(prompt)
            code = self._position_code(features.shape[-3:])
            token_out, image_out = head.transformer(features, code, tokens)
            weights = head.output_hypernetworks_mlps(token_out[:, 0])[0]
            image_out = image_out.transpose(1, 2).reshape(features.shape)
            deconvolution, norm, activation, convolution = head.output_upscaling
            upscaled = activation(norm(deconvolution(image_out)))
            # h . (W * x + b) = (h . W) * x + h . b: 48 output channels become one.
            kernel = torch.einsum("o,oixyz->ixyz", weights.float(), convolution.weight.float())
            bias = weights.float() @ convolution.bias.float()
            logits = F.conv3d(upscaled, kernel[None].to(upscaled.dtype), padding=convolution.padding)
        answer: torch.Tensor = logits[0, 0].float() + bias
        return answer

    def _run_automatic(self, windows: torch.Tensor) -> torch.Tensor:
        _, features = self.network.image_encoder(windows, with_point=False, with_label=True)
        return self.network.class_head.image_post_mapping(features)  # type: ignore[no-any-return]

    def _run_point(self, window: torch.Tensor) -> torch.Tensor:
        features, _ = self.network.image_encoder(window, with_point=True, with_label=False)
        return self.network.point_head.feat_downsample(features)  # type: ignore[no-any-return]

    def _tokens(self, prompt: WindowPrompt) -> torch.Tensor:
        """Mask token, one token a point, class-awareness token: (1, N + 2, C)."""
        head = self.network.point_head
        place = torch.from_numpy(prompt.coordinates.astype(np.float32)).to(self.device)[None] + 0.5
        points = head.pe_layer.forward_with_coords(place, self.settings.window)
        negative, positive = head.point_embeddings[0].weight, head.point_embeddings[1].weight
        special = head.special_class_embed.weight
        by_label = torch.cat([negative, positive, negative + special, positive + special])
        points = points + by_label[torch.tensor(prompt.labels, dtype=torch.long, device=self.device)]
        awareness = head.zeroshot_embed.weight if prompt.zero_shot else head.supported_embed.weight
        return torch.cat([head.mask_tokens.weight[None], points, awareness[None]], dim=1)

    def _position_code(self, shape: Sequence[int]) -> torch.Tensor:
        key = (int(shape[0]), int(shape[1]), int(shape[2]))
        if key not in self._position_codes:
            self._position_codes[key] = self.network.point_head.pe_layer(key)[None]
        return self._position_codes[key]

    def _laid_out(self, windows: torch.Tensor) -> torch.Tensor:
        windows = windows.to(self.device, dtype=torch.float32)
        return windows.contiguous(memory_format=self.runtime.memory_format)

    def _check_table(self, class_ids: Sequence[int]) -> None:
        table = self.settings.class_table
        outside = [i for i in class_ids if not 0 < i < table]
        if outside:
            raise ClassError(f"The class id {outside[0]} is not in the table of {table}.", f"Use 1 to {table - 1}.")
