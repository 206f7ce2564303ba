"""Run a ViT once for crops of several sizes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmcv.cnn.bricks.drop import DropPath
from mmcv.cnn.bricks.transformer import FFN
from mmpretrain.models import VisionTransformer
from mmpretrain.models.utils import MultiheadAttention, resize_pos_embed
from torch import Tensor

from mmrs_ssl.models.backbones.recomputed import run_block
from mmrs_ssl.ops.attention import attention


class Crops(NamedTuple):
    """Say how rows of tokens divide into sequences, one per crop."""

    sizes: list[tuple[int, int]]  # for each view the number B of its crops and their length L
    lengths: Tensor  # the length of every crop, on the device
    total: int  # rows

    @classmethod
    def of(cls, tokens: Sequence[Tensor]) -> 'Crops':
        """Count the crops and lengths of the views' tokens, (B, L, D) each."""
        sizes = [(len(view), view.shape[1]) for view in tokens]
        lengths = [length for count, length in sizes for _ in range(count)]
        return cls(sizes, torch.tensor(lengths).to(tokens[0].device, non_blocking=True), sum(lengths))

    def split(self, rows: Tensor) -> list[Tensor]:
        """Divide (N, ...) into one (B, L, ...) per view, without copies."""
        parts = rows.split([count * length for count, length in self.sizes])
        return [part.unflatten(0, size) for part, size in zip(parts, self.sizes, strict=True)]

    def drop(self, rows: Tensor, prob: float) -> Tensor:
        """Set the rows (N, C) of a crop to 0 with probability ``prob``, else scale them up: stochastic depth."""
        kept = (torch.rand(len(self.lengths), device=rows.device) >= prob).to(rows.dtype) / (1 - prob)
        return rows * kept.repeat_interleave(self.lengths, output_size=self.total)[:, None]


def packed_class_tokens(vit: VisionTransformer, views: Sequence[Tensor]) -> list[Tensor]:
    """Compute the class tokens of crops of any sizes, as ``vit(view)[-1]`` gives them with ``out_type='cls_token'``.

    The tokens of all crops are rows of one matrix, so that every linear layer runs once; attention stays within each
    crop. Gradients are then also added up once instead of once per size. The layers' parts are called one by one: hooks
    on whole layers, and what wraps them, do not act here; :class:`mmrs_ssl.RecomputeHook` does.

    Args:
        vit: mmpretrain's VisionTransformer with class token, ordinary attention and feed-forward layers.
        views: V tensors (B, C, H, W); height and width may differ from view to view.

    Returns:
        V tensors (B, D).

    Raises:
        TypeError: for a ViT with other layers.
    """
    refuse_other_layers(vit)
    tokens = [sequence[:, 0] for sequence in packed_layers(vit, [embed(vit, view) for view in views])]
    return [vit.ln1(token) if vit.final_norm else token for token in tokens]


def packed_layers(vit: VisionTransformer, sequences: Sequence[Tensor]) -> list[Tensor]:
    """Run the layers of a ViT, without its last norm, on sequences of several lengths: each (B, L, D) -> (B, L, D)."""
    crops = Crops.of(sequences)
    rows = torch.cat([tokens.flatten(0, 1) for tokens in sequences])
    rows = vit.pre_norm(vit.drop_after_pos(rows))
    for layer in vit.layers:
        rows = run_block(layer, packed_layer, layer, rows, crops)
    return crops.split(rows)


def packed_layer(layer: Any, rows: Tensor, crops: Crops) -> Tensor:
    """Run one layer on the rows (N, D) of all crops."""
    rows = rows + dropped(layer.attn.out_drop, confined_attention(layer.attn, layer.ln1(rows), crops), crops)
    return rows + dropped(layer.ffn.dropout_layer, layer.ffn.gamma2(layer.ffn.layers(layer.ln2(rows))), crops)


def refuse_other_layers(vit: Any, out_type: str = 'cls_token') -> None:
    """Raise for a network whose layers are not the ones computed here, or that gives something else."""
    known = isinstance(vit, VisionTransformer) and type(vit).forward is VisionTransformer.forward
    if not known or vit.cls_token is None or vit.out_type != out_type or max(vit.out_indices) != len(vit.layers) - 1:
        options = {name: getattr(vit, name, None) for name in ('out_type', 'out_indices')}
        raise TypeError(
            f"a packed pass is for mmpretrain's VisionTransformer with class token and out_type={out_type!r} of its "
            f'last layer, not for {type(vit).__name__} with {options}; set packed=False (DINO-MC)'
        )
    for layer in vit.layers:
        if type(layer.attn) is not MultiheadAttention or type(layer.ffn) is not FFN or layer.attn.v_shortcut:
            raise TypeError(
                f'a packed forward pass knows MultiheadAttention and FFN, not {type(layer.attn).__name__} and '
                f'{type(layer.ffn).__name__}; set packed=False'
            )


def embed(vit: VisionTransformer, view: Tensor) -> Tensor:
    """Embed the patches of (B, C, H, W) with class token and positions: (B, L, D)."""
    tokens, size = vit.patch_embed(view)
    tokens = torch.cat((vit.cls_token.expand(len(tokens), -1, -1), tokens), dim=1)
    return tokens + resize_pos_embed(
        vit.pos_embed, vit.patch_resolution, size, mode=vit.interpolate_mode, num_extra_tokens=vit.num_extra_tokens
    )


def confined_attention(layer: MultiheadAttention, rows: Tensor, crops: Crops) -> Tensor:
    """Attend within each crop, (N, D) -> (N, D); the projections run once for all."""
    qkv = layer.qkv(rows).view(-1, 3, layer.num_heads, layer.head_dims)
    dropout = layer.attn_drop if layer.training else 0.0
    mixed = []
    for sequence in crops.split(qkv):  # (B, L, 3, heads, D / heads)
        query, key, value = sequence.permute(2, 0, 3, 1, 4)
        mixed.append(attention(query, key, value, dropout).transpose(1, 2).flatten(2).flatten(0, 1))
    return layer.gamma1(layer.proj_drop(layer.proj(torch.cat(mixed))))


def dropped(drop: Any, rows: Tensor, crops: Crops) -> Tensor:
    """Apply a layer's stochastic depth crop by crop; anything else as it is."""
    if isinstance(drop, DropPath):
        return crops.drop(rows, drop.drop_prob) if drop.training and drop.drop_prob else rows
    return drop(rows)
