"""A start for small point heads, from which a click marks its surroundings before anything was learned.

The point head of the family (``PointMappingSAM``) has four attention heads whatever its width. With 48 filters a head
compares places in six dimensions, enough for a place in space. With 16 filters it has two: one axis. From random
weights such a head does not leave the answer "nothing" (seen in hundreds of steps on real and synthetic objects).
Here each of three heads is given one axis; their sum is a bump around each click, positive or negative, which
attention of the tokens then reads the image under. Everything stays trainable.
"""

from __future__ import annotations

from typing import Any

import torch
from monai.networks.nets.vista3d import VISTA3D
from torch import nn

_FREQUENCY = 0.5  # half a wave across the window, so that no second place looks the same
_SIGN = 3.0  # of a positive click, in a dimension of its own
_WIDTH = 1.3  # sharpness of the bump
_SHARP = 6.0  # how much attention prefers the bump's top
_MARK = 0.25  # height of the bump beside the features, which have a deviation of 1
_QUIET = 0.1  # random parts that would drown the bump at first


@torch.no_grad()
def start_point_head(network: VISTA3D) -> None:
    """Set the point head's weights in place; the rest of the network is not touched. For 16 filters or more."""
    head: Any = network.point_head
    half = head.pe_layer.positional_encoding_gaussian_matrix.shape[1]
    _place_codes(head, half)
    _tokens(head, half)
    _features(head.feat_downsample[3], half)
    first, second = head.transformer.layers
    _keep_tokens(first.self_attn)
    for layer in (first, second):
        _mark_places(layer.cross_attn_image_to_token, half)
        layer.mlp.linear2.weight.mul_(_QUIET)
    first.cross_attn_token_to_image.out_proj.weight.mul_(_QUIET)
    for attention in (second.cross_attn_token_to_image, head.transformer.final_attn_token_to_image):
        _read_marks(attention, half)
    _show_marks(head, half)


def _place_codes(head: Any, half: int) -> None:
    """Each axis forwards and backwards: their sine minus cosine are a quarter of a wave apart. The last is free."""
    codes = head.pe_layer.positional_encoding_gaussian_matrix
    codes[:, :6] = 0.0
    for axis in range(3):
        codes[axis, 2 * axis], codes[axis, 2 * axis + 1] = _FREQUENCY, -_FREQUENCY
    codes[:, half - 1] = 0.0


def _tokens(head: Any, half: int) -> None:
    """Tokens without a place of their own do not answer to any; the sign of a click has a free dimension."""
    for embedding in (
        *head.point_embeddings,
        head.mask_tokens,
        head.zeroshot_embed,
        head.supported_embed,
        head.not_a_point_embed,
        head.special_class_embed,
    ):
        embedding.weight[:, half:] = embedding.weight[:, :half]
        embedding.weight[:, [half - 1, 2 * half - 1]] = 0.0
    for embedding, sign in zip(head.point_embeddings, (-_SIGN, _SIGN), strict=True):
        embedding.weight.mul_(_QUIET)
        embedding.weight[:, half - 1] = sign


def _features(convolution: nn.Conv3d, half: int) -> None:
    """Features come twice, so that the difference of the copies holds places and marks alone."""
    convolution.weight[half:] = convolution.weight[:half]
    assert convolution.bias is not None
    convolution.bias[half:] = convolution.bias[:half]


def _keep_tokens(attention: Any) -> None:
    """Each token attends to itself: the first layer would lose what it is otherwise."""
    width = attention.embedding_dim
    for linear, scale in ((attention.q_proj, 2.0), (attention.k_proj, 2.0), (attention.v_proj, 1.0)):
        linear.weight.copy_(torch.eye(width) * scale)
        linear.bias.zero_()
    attention.out_proj.weight.copy_(torch.eye(width))
    attention.out_proj.bias.zero_()


def _mark_places(attention: Any, half: int) -> None:
    """Image to tokens: a head an axis, and the click's sign written into the difference of the free channels."""
    per_head = attention.internal_dim // attention.num_heads
    for linear in (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj):
        linear.weight.mul_(_QUIET)
        linear.bias.zero_()
    for axis in range(3):
        for part in range(2):
            row, column = axis * per_head + part, 2 * axis + part
            for linear, scale in ((attention.q_proj, _WIDTH), (attention.k_proj, _WIDTH / 2)):
                linear.weight[row] = 0.0
                linear.weight[row, column], linear.weight[row, half + column] = scale, -scale
        value = axis * per_head
        attention.v_proj.weight[value] = 0.0
        attention.v_proj.weight[value, half - 1] = 1.0
        attention.out_proj.weight[[half - 1, 2 * half - 1], value] = torch.tensor([_MARK, -_MARK])


def _read_marks(attention: Any, half: int) -> None:
    """Tokens to image: half of the heads look under positive marks, half under negative ones."""
    per_head = attention.internal_dim // attention.num_heads
    for number in range(attention.num_heads):
        row = number * per_head
        sign = 1.0 if number % 2 == 0 else -1.0
        attention.q_proj.weight[row] *= _QUIET
        attention.q_proj.bias[row] = 1.0
        attention.k_proj.weight[row] = 0.0
        attention.k_proj.weight[row, half - 1] = sign * _SHARP
        attention.k_proj.weight[row, 2 * half - 1] = -sign * _SHARP


def _show_marks(head: Any, half: int) -> None:
    """The answer at the start: the mark, brought to the full grid; the features take part from there on."""
    deconvolution, _, _, convolution = head.output_upscaling
    line = torch.tensor([0.5, 1.0, 0.5])
    kernel = line[:, None, None] * line[None, :, None] * line[None, None, :]
    last = 2 * half - 1
    deconvolution.weight[:, last] = 0.0
    deconvolution.weight[half - 1, last], deconvolution.weight[last, last] = kernel, -kernel
    convolution.weight[last] = 0.0
    convolution.weight[last, last, 1, 1, 1] = 1.0
    convolution.bias[last] = -1.6
    final = head.output_hypernetworks_mlps.layers[-1]
    final.weight.mul_(0.3)
    final.bias[last] = 1.5
