"""Both branches on one patch from one pass through the encoder, with several rounds of clicks in one step.

The paper's stages train one branch at a time and encode the patch again after every click. Where the encoder is most
of the cost (a CPU), this form of the same questions is several times cheaper: classes and points share the encoded
patch, each round of clicks asks the point head again, and all losses make one step of the optimiser.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from monai.networks.nets.vista3d import VISTA3D
from torch.nn import functional as F

from VISTA3DLib.training.prompts import Prompts

NextClicks = Callable[[Prompts, torch.Tensor], Prompts | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class JointAnswer:
    """Logits (B, 1, *window) of the classes, and of the objects of each round of clicks with what was asked."""

    classes: torch.Tensor | None
    rounds: tuple[tuple[Prompts, torch.Tensor], ...]


class JointForward(torch.nn.Module):
    """Asks a network for classes and for points at once; a module, so that DDP can average its gradients."""

    def __init__(self, network: VISTA3D) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        image: torch.Tensor,
        class_ids: torch.Tensor | None,
        prompts: Prompts | None,
        next_clicks: NextClicks,
        rounds: int,
    ) -> JointAnswer:
        """``image`` (1, 1, *window), ``class_ids`` (K, 1); ``next_clicks`` adds points to what was missed."""
        network = self.network
        point, automatic = network.image_encoder(
            image, with_point=prompts is not None, with_label=class_ids is not None
        )
        classes = None
        if class_ids is not None:
            head = network.class_head
            embeddings = head.mlp(head.class_embeddings(class_ids))[:, 0]
            classes = torch.einsum("kc,bcxyz->kbxyz", embeddings, head.image_post_mapping(automatic))
        answers: list[tuple[Prompts, torch.Tensor]] = []
        if prompts is not None:
            features = network.point_head.feat_downsample(point)
            asked: Prompts | None = prompts
            while asked is not None and len(answers) < rounds:
                logits = point_logits(network, features, asked)
                answers.append((asked, logits))
                if len(answers) < rounds:
                    asked = next_clicks(asked, logits.detach().float().cpu())
        return JointAnswer(classes=classes, rounds=tuple(answers))


def point_logits(network: VISTA3D, features: torch.Tensor, prompts: Prompts) -> torch.Tensor:
    """Logits (B, 1, *window) of objects from the point head's features (1, C, *window / 2).

    The head's last convolution is linear, so it is folded with each object's mask token into one output channel.
    """
    head = network.point_head
    tokens = _tokens(network, prompts, features.device)
    count, channels = len(tokens), features.shape[1]
    image = features.expand(count, -1, -1, -1, -1)
    code = head.pe_layer(features.shape[-3:])[None].expand_as(image)
    answer, image_out = head.transformer(image, code, tokens)
    weights = head.output_hypernetworks_mlps(answer[:, 0])
    deconvolution, norm, activation, convolution = head.output_upscaling
    kernels = torch.einsum("bo,oixyz->bixyz", weights.float(), convolution.weight.float())
    biases = weights.float() @ convolution.bias.float()
    rows = []
    for row in range(count):
        tokens_of_row = image_out[row : row + 1].transpose(1, 2).reshape(1, channels, *features.shape[-3:])
        upscaled = activation(norm(deconvolution(tokens_of_row)))
        rows.append(F.conv3d(upscaled, kernels[row][None].to(upscaled.dtype), padding=convolution.padding))
    logits: torch.Tensor = torch.cat(rows) + biases[:, None, None, None, None]
    return logits


def _tokens(network: VISTA3D, prompts: Prompts, device: torch.device) -> torch.Tensor:
    """Mask token, point tokens and class-awareness token of each object: (B, N + 2, C)."""
    head = network.point_head
    assert prompts.points is not None
    assert prompts.point_labels is not None
    places, labels = prompts.points.to(device) + 0.5, prompts.point_labels.to(device)
    window = prompts.targets.shape[-3:]
    code = head.pe_layer.forward_with_coords(places, window)
    negative, positive = head.point_embeddings[0].weight, head.point_embeddings[1].weight
    special, nothing = head.special_class_embed.weight, head.not_a_point_embed.weight
    by_label = torch.cat([nothing, negative, positive, negative + special, positive + special])
    points = code * (labels >= 0)[..., None] + by_label[labels + 1]
    beyond = (prompts.prompt_class.to(device) > head.last_supported).float()
    awareness = beyond * head.zeroshot_embed.weight + (1.0 - beyond) * head.supported_embed.weight
    mask = head.mask_tokens.weight[None].expand(len(points), -1, -1)
    return torch.cat([mask, points, awareness[:, None]], dim=1)
