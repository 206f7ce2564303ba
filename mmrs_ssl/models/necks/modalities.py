"""Fuse the visible tokens of several modalities, and predict tokens of each at every place."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrs_ssl.models.backbones.tokens import gather_tokens, scatter_tokens, transformer, visible_places
from mmrs_ssl.options import COUNT, check_numbers, check_switches
from mmrs_ssl.registry import MODELS


class Fused(NamedTuple):
    """One token for every place that some modality shows; images that have fewer of them are padded."""

    tokens: Tensor  # (B, U, d)
    places: Tensor  # (B, U)
    padding: Tensor  # boolean (B, U), True = padding


@MODELS.register_module()
class ModalityFusion(nn.Module):
    """Transformer layers over the visible tokens of all modalities and a query for every place that one of them shows.

    Args:
        in_channels: width D of the encoder.
        channels: width d of fusion and decoder.
        layers: number of transformer layers.
        heads: attention heads of each.
        shortcuts: also add a place's visible tokens to its query, which a short training does not teach attention (not
            of the paper).

    Source: MSSDF (arXiv 2506.09327), fusion. Differs from the official code: a batch is fused as a whole.
    """

    def __init__(
        self, in_channels: int, channels: int = 384, layers: int = 3, heads: int = 6, shortcuts: bool = False
    ) -> None:
        super().__init__()
        check_numbers(self, COUNT, in_channels=in_channels, channels=channels, layers=layers, heads=heads)
        check_switches(self, shortcuts=shortcuts)
        self.channels = channels
        self.shortcuts = shortcuts
        self.projection = nn.Linear(in_channels, channels, bias=False)
        nn.init.xavier_uniform_(self.projection.weight)  # as large as the positions that are added
        self.query = nn.Parameter(nn.init.trunc_normal_(torch.empty(channels), std=0.02))
        self.transformer = transformer(channels, heads, layers)

    def forward(
        self,
        classes: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],
        places: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        positions: Tensor,
    ) -> Fused:
        """Fuse the tokens of all modalities to one for every place that some modality shows.

        Images differ in how many places these are: all are padded to the most that there can be, U, which is known
        without asking the device, and nothing attends to the padding.

        Args:
            classes: class token (B, D) of every modality, which is added to its patch tokens without a gradient.
            tokens: (B, V, D), of the visible patches.
            places: (B, V), where these are.
            masks: boolean (B, L), True = masked.
            positions: (L, d).
        """
        parts = [
            self.projection(tokens[name] + classes[name].detach()[:, None]) + positions[places[name]] for name in tokens
        ]
        unseen = torch.stack(list(masks.values())).all(dim=0)
        count = min(len(positions), sum(each.shape[1] for each in places.values()))
        fused_places = visible_places(unseen, count)
        padding = unseen.gather(1, fused_places)
        queries = self.query + positions[fused_places]
        if self.shortcuts:
            shown = torch.stack([~mask for mask in masks.values()]).sum(dim=0).clamp(min=1)
            own = [scatter_tokens(part, places[name], shown.shape[1]) for name, part in zip(tokens, parts, strict=True)]
            queries = queries + gather_tokens(sum(own) / shown[..., None], fused_places)
        parts.append(queries)
        sequence = torch.cat(parts, dim=1)
        ignored = F.pad(padding, (sequence.shape[1] - count, 0))  # only queries can be padding
        fused = self.transformer(sequence, src_key_padding_mask=ignored)[:, -count:]
        return Fused(fused, fused_places, padding)


@MODELS.register_module()
class ModalityDecoder(nn.Module):
    """Transformer layers over the fused tokens and a mask token of one modality at every place, and a linear map.

    Args:
        modalities: their names; each has a mask token.
        channels: width d.
        out_channels: width D of the predicted tokens.
        layers: number of transformer layers.
        heads: attention heads of each.
        share: one decoder and one linear map for all modalities; otherwise one of each for every modality (not of the
            paper), whose predictions of a place then have nothing in common at the start: alignment opposes
            reconstruction.
        shortcuts: also add a place's fused token to its mask token (not of the paper).

    Source: MSSDF (arXiv 2506.09327), decoder. Differs from the official code: a batch is decoded as a whole.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        channels: int,
        out_channels: int,
        layers: int = 4,
        heads: int = 6,
        share: bool = True,
        shortcuts: bool = False,
    ) -> None:
        super().__init__()
        check_numbers(self, COUNT, channels=channels, out_channels=out_channels, layers=layers, heads=heads)
        check_switches(self, share=share, shortcuts=shortcuts)
        self.share = share
        self.shortcuts = shortcuts
        tokens = [(name, nn.init.trunc_normal_(torch.empty(channels), std=0.02)) for name in modalities]
        self.mask_tokens = nn.ParameterDict(OrderedDict(tokens))  # of a plain dictionary the names would be sorted
        decoders = ['all'] if share else modalities
        self.transformers = nn.ModuleDict({name: transformer(channels, heads, layers) for name in decoders})
        self.predictors = nn.ModuleDict({name: nn.Linear(channels, out_channels) for name in decoders})

    def forward(self, fused: Fused, positions: Tensor) -> dict[str, Tensor]:
        """Predict tokens (B, L, D) of every modality at every place; ``positions`` are (L, d)."""
        known = fused.tokens + positions[fused.places]
        ignored = F.pad(fused.padding, (0, len(positions)))
        here: Tensor | float = 0.0
        if self.shortcuts:
            here = scatter_tokens(fused.tokens * ~fused.padding[..., None], fused.places, len(positions))
        sequences = {}
        for name, token in self.mask_tokens.items():
            asked = (token + positions).expand(len(known), -1, -1) + here
            sequences[name] = torch.cat((known, asked), dim=1)
        if self.share:  # one pass for all
            rows, ignored = torch.cat(list(sequences.values())), ignored.repeat(len(sequences), 1)
            return dict(
                zip(sequences, self.decode('all', rows, ignored, len(positions)).chunk(len(sequences)), strict=True)
            )
        return {name: self.decode(name, rows, ignored, len(positions)) for name, rows in sequences.items()}

    def decode(self, decoder: str, rows: Tensor, ignored: Tensor, places: int) -> Tensor:
        """Run the decoder of this name on sequences (N, U + L, d), of whose end it predicts tokens (N, L, D)."""
        decoded = self.transformers[decoder](rows, src_key_padding_mask=ignored)
        return self.predictors[decoder](decoded[:, -places:])
