"""MSSDF: modality-shared self-supervised distillation (Wang et al., https://arxiv.org/abs/2506.09327)."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmpretrain.models import BaseSelfSupervisor, VisionTransformer
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmrs_ssl.aliases import accept_old_options
from mmrs_ssl.models.backbones.packed_vit import embed, packed_layers, refuse_other_layers
from mmrs_ssl.models.backbones.pooling import averaged
from mmrs_ssl.models.backbones.tokens import (
    gather_tokens,
    normalized,
    scatter_tokens,
    sincos_positions,
    transformer,
    visible_places,
)
from mmrs_ssl.models.data_preprocessor import ModalityPreprocessor, eight_bit_modalities, with_bands, with_input_bands
from mmrs_ssl.models.losses.alignment import (
    linear_hsic,
    mean_cross_entropy,
    mean_over_pairs,
    same_places,
    symmetric_info_nce,
)
from mmrs_ssl.models.losses.reconstruction import masked_token_error
from mmrs_ssl.models.masks.cross_modal import ModalityMasks, draw_modality_masks
from mmrs_ssl.models.masks.information import patch_information
from mmrs_ssl.models.protocol import Monitored, Passes
from mmrs_ssl.models.teachers.student_teacher import StudentTeacher
from mmrs_ssl.models.tiles import Picture, masked_row
from mmrs_ssl.options import check_choice, merged_weights
from mmrs_ssl.registry import MODELS

Modalities = dict[str, Tensor]
TERMS = dict(reconstruction=1.0, alignment=0.5, independence=0.2, modality=0.1)


class MSSDFStep(NamedTuple):
    """A step's tensors for pictures, of every modality."""

    views: Modalities  # (B, C, H, W)
    information: Modalities  # (B, L)
    masks: Modalities  # (B, L), True = masked
    predictions: Modalities  # (B, L, D)
    targets: Modalities


@MODELS.register_module()
@accept_old_options
class MSSDF(StudentTeacher, BaseSelfSupervisor):
    """One encoder for several modalities of a place, which predicts what a momentum teacher makes of all of each.

    Every modality is masked by itself, informative patches less often; some of the patches that one modality still
    shows are masked too, to be told from the others. The visible tokens are fused, and from the fused tokens a decoder
    for each modality predicts the teacher's patch tokens everywhere.

    Args:
        backbone: mmpretrain's VisionTransformer with class token and ``out_type='featmap'``.
        data_preprocessor: :class:`ModalityPreprocessor`; its modalities and their bands are the model's. The first
            one's patch embedding is the backbone's own, the others' are ``patch_embeds``.
        decoder_channels: width d of fusion and decoders.
        fusion_layers, decoder_layers, decoder_heads: their depth and attention heads.
        mask_ratio: share of the patches masked in every modality.
        information_aware: mask informative patches less often; otherwise all alike.
        substitution: share p of the visible patches of one modality that are masked too; a ``ScheduleHook`` on
            ``substitution`` raises it. 0 switches cross-modal masking off.
        masked_modality: the modality that they are taken from; by default drawn for each batch.
        shortcuts: also add a place's visible tokens to its fusion query, and its fused token to its mask tokens: a
            short training does not teach attention what belongs to a place (not of the paper).
        share_patch_embed: one patch embedding for all modalities, which then need equal numbers of bands.
        normalize_targets: bring to zero mean and unit variance each of the teacher's ``'tokens'``, or each of their
            ``'dimensions'`` over the batch, so that what differs from place to place counts and not what all tokens
            have in common; ``'whiten'`` also removes the correlation of dimensions, so that what is large in all of
            them (brightness, the place in the image) does not outweigh the rest. By default they are as they are.
        independence: what should differ between modalities: their ``'class_tokens'``, or their ``'predictions'`` as in
            the public program.
        alignment_samples, alignment_temperature: of the alignment term.
        reconstruction_weights: factors of the modalities in the reconstruction; 1 by default.
        loss_weights: factors of the terms ``reconstruction``, ``alignment``, ``independence`` and ``modality``; a term
            of weight 0 is not computed. Default: 1, 0.5, 0.2, 0.1. A single modality has the first alone.
        teacher_momentum: weight of the teacher's old value; a ``ScheduleHook`` on ``teacher.momentum`` raises it to 1.

    Differs from the official code, which does not run: positions are two-dimensional, the teacher follows the student
    slowly, the number of substituted patches is fixed, and batches are decoded as a whole.
    """

    backbone: VisionTransformer
    data_preprocessor: ModalityPreprocessor
    positions: Tensor

    def __init__(
        self,
        backbone: dict,
        data_preprocessor: dict,
        decoder_channels: int = 384,
        fusion_layers: int = 3,
        decoder_layers: int = 4,
        decoder_heads: int = 6,
        mask_ratio: float = 0.75,
        information_aware: bool = True,
        substitution: float = 0.1,
        masked_modality: str | None = None,
        shortcuts: bool = False,
        share_patch_embed: bool = False,
        normalize_targets: str | None = None,
        independence: str = 'class_tokens',
        alignment_samples: int = 512,
        alignment_temperature: float = 0.07,
        reconstruction_weights: dict[str, float] | None = None,
        loss_weights: dict[str, float] | None = None,
        teacher_momentum: float = 0.996,
        init_cfg: dict | None = None,
    ) -> None:
        preprocessor = MODELS.build(data_preprocessor)
        bands = preprocessor.bands
        names = tuple(bands)
        super().__init__(
            backbone=with_bands(backbone, 'in_channels', bands[names[0]]),
            data_preprocessor=preprocessor,
            init_cfg=init_cfg,
        )
        refuse_other_layers(self.backbone, out_type='featmap')
        self.modalities = names
        self.patch = self.backbone.patch_embed.projection.kernel_size[0]
        self.backbone.pos_embed.requires_grad_(False)  # before a data-parallel wrapper asks
        self.patch_embeds = nn.ModuleDict()
        if share_patch_embed and len(set(bands.values())) > 1:
            raise ValueError(f'share_patch_embed needs equal numbers of bands, found {bands}; leave it out')
        if not share_patch_embed:
            for name in names[1:]:
                self.patch_embeds[name] = with_input_bands(self.backbone.patch_embed, bands[name])
        check_choice('independence', independence, ('class_tokens', 'predictions'))
        check_choice('masked_modality', masked_modality, (None, *names))
        check_choice('normalize_targets', normalize_targets, (None, 'tokens', 'dimensions', 'whiten'))
        self.mask_ratio = mask_ratio
        self.information_aware = information_aware
        self.substitution = substitution
        self.masked_modality = masked_modality
        self.shortcuts = shortcuts
        self.normalize_targets = normalize_targets
        self.independence = independence
        self.alignment_samples = alignment_samples
        self.alignment_temperature = alignment_temperature
        self.reconstruction_weights = merged_weights(
            'a modality of reconstruction_weights', dict.fromkeys(names, 1.0), reconstruction_weights
        )
        self.loss_weights = merged_weights('a term of loss_weights', TERMS, loss_weights)
        self.refuse_pairs_of_one(names)

        width = self.backbone.embed_dims
        self.to_decoder = nn.Linear(width, decoder_channels)
        nn.init.xavier_uniform_(self.to_decoder.weight)  # as large as the positions that are added
        positions = sincos_positions(self.backbone.patch_resolution, decoder_channels)
        self.register_buffer('positions', positions, persistent=False)
        self.fusion_query = nn.Parameter(torch.zeros(decoder_channels))
        self.fusion = transformer(decoder_channels, decoder_heads, fusion_layers)
        self.mask_tokens = nn.ParameterDict({name: torch.zeros(decoder_channels) for name in names})
        self.decoders = nn.ModuleDict(
            {name: transformer(decoder_channels, decoder_heads, decoder_layers) for name in names}
        )
        self.predictors = nn.ModuleDict({name: nn.Linear(decoder_channels, width) for name in names})
        self.classifier = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, len(names))
        )
        for token in (self.fusion_query, *self.mask_tokens.values()):
            nn.init.trunc_normal_(token, std=0.02)
        self.make_teacher(('backbone', 'patch_embeds'), teacher_momentum)

    def refuse_pairs_of_one(self, names: tuple[str, ...]) -> None:
        """Refuse what compares modalities where there is only one."""
        pairs = dict(self.loss_weights, substitution=self.substitution)
        wanted = [name for name, weight in pairs.items() if name != 'reconstruction' and weight]
        if len(names) < 2 and wanted:
            raise ValueError(
                f'{", ".join(wanted)} compare modalities, but {", ".join(names)} is the only one: give the data '
                'preprocessor two or more, or set these to 0'
            )

    def init_weights(self) -> None:
        """Initialize, with fixed two-dimensional positions, then start the teacher from the student.

        Patch embeddings start as the linear layers they are (MAE, arXiv 2111.06377): as convolutions they would be so
        small that positions outweigh what the patches show, and the teacher's tokens would tell little else.
        """
        super().init_weights()
        backbone = self.backbone
        configs = backbone.init_cfg if isinstance(backbone.init_cfg, list) else [backbone.init_cfg]
        starting: list[Any] = [*self.patch_embeds.values()]
        if not any(config and config['type'] == 'Pretrained' for config in configs):
            positions = sincos_positions(backbone.patch_resolution, backbone.embed_dims)
            backbone.pos_embed.data.copy_(F.pad(positions, (0, 0, 1, 0)))  # the class token has none
            starting.append(backbone.patch_embed)
        for patch_embed in starting:
            nn.init.xavier_uniform_(patch_embed.projection.weight.data.flatten(1))
            nn.init.zeros_(patch_embed.projection.bias)
        self.teacher.copy_from(self.student_parts())

    def loss(self, inputs: Modalities, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Compute the four terms of one batch.

        Args:
            inputs: modality -> (B, C, H, W), normalized, on one grid.
            data_samples: as the data preprocessor returns them.

        Returns:
            ``loss_reconstruction``, ``loss_alignment``, ``loss_independence`` and ``loss_modality``, weighted scalars.
        """
        self.require_teacher_updates()
        information, masks, places = self.draw_masks(inputs, data_samples)
        targets = self.teacher_tokens(inputs)
        classes, tokens = self.visible_tokens(inputs, places)
        positions = self.decoder_positions(inputs)
        fused, fused_places, padding = self.fuse(classes, tokens, places, masks, positions)
        predictions = self.decode(fused, fused_places, padding, positions)

        sampled = partial(same_places, predictions, self.alignment_samples)
        info_nce = partial(symmetric_info_nce, temperature=self.alignment_temperature)
        terms: dict[str, Callable[[], Tensor]] = dict(
            reconstruction=lambda: masked_token_error(predictions, targets, masks, self.reconstruction_weights),
            alignment=lambda: mean_over_pairs(sampled(), info_nce),
            independence=lambda: mean_over_pairs(
                classes if self.independence == 'class_tokens' else sampled(), linear_hsic
            ),
            modality=lambda: mean_cross_entropy([self.classifier(token) for token in classes.values()]),
        )
        self.monitored = Monitored(dict(student=averaged(tokens.values()), teacher=averaged(targets.values())))
        if self.recording:
            made = {name: each.detach() for name, each in predictions.items()}
            self.kept = MSSDFStep(inputs, information, masks, made, targets)
        weights = self.loss_weights
        return {f'loss_{name}': weights[name] * term() for name, term in terms.items() if weights[name]}

    def monitor(self) -> Monitored:
        """Return the averaged tokens of all modalities: (M * B, D) of student and teacher."""
        return self.monitored

    def visualize(self, samples: int = 4) -> dict[str, Picture]:
        """Show per sample a row for each modality: itself, its information and mask, and what both made of it.

        The colors of the teacher's and the predicted tokens are principal components of the teacher's.
        """
        kept: MSSDFStep = self.release_kept()
        names, statistics = list(kept.views), self.data_preprocessor.statistics
        return {
            f'sample_{i}': [[masked_row(n, *statistics(n), *(each[n][i] for each in kept)) for n in names]]
            for i in range(min(samples, len(kept.views[names[0]])))
        }

    def bare_passes(self, data: dict[str, Any]) -> tuple[Passes, Passes]:
        """List the layers of encoder, teacher, fusion and decoders, for as many random tokens as images have.

        All that the masks show of one modality is a batch; the teacher sees all modalities in one. Fused are the places
        that the image with most of them has, no padding beyond.
        """
        _, masks, places = self.draw_masks(**data)
        batch, patches = next(iter(masks.values())).shape
        visible = [each.shape[1] for each in places.values()]
        fused = int(torch.stack([~mask for mask in masks.values()]).any(dim=0).sum(dim=1).max())
        dim, width = self.backbone.embed_dims, self.fusion_query.shape[0]
        tokens = partial(torch.randn, device=self.fusion_query.device, requires_grad=True)
        encoder, averaged = (nn.Sequential(*vit.layers) for vit in (self.backbone, self.teacher.module['backbone']))
        student: Passes = [(encoder, tokens(batch, 1 + count, dim)) for count in visible]
        student.append((self.fusion, tokens(batch, sum(visible) + fused, width)))
        student += [(decoder, tokens(batch, fused + patches, width)) for decoder in self.decoders.values()]
        return student, [(averaged, tokens(batch * len(visible), 1 + patches, dim))]

    def decoder_positions(self, inputs: Modalities) -> Tensor:
        """Return sine-cosine positions (L, d) of the patches; images of another size than usual get new ones."""
        height, width = next(iter(inputs.values())).shape[-2:]
        grid = height // self.patch, width // self.patch
        if grid == tuple(self.backbone.patch_resolution):
            return self.positions
        return sincos_positions(grid, self.positions.shape[1]).to(self.positions.device, non_blocking=True)

    def draw_masks(self, inputs: Modalities, data_samples: list[DataSample]) -> ModalityMasks:
        """Draw which patches the student does not see, as many as the sizes of images and the options say."""
        scale, eight_bits = self.data_preprocessor.byte_scale, eight_bit_modalities(data_samples)
        images = {name: scale(name, image, name in eight_bits) for name, image in inputs.items()}
        information = {name: patch_information(image, self.patch) for name, image in images.items()}
        return draw_modality_masks(
            information, self.mask_ratio, self.information_aware, self.substitution, self.masked_modality
        )

    @torch.no_grad()
    def teacher_tokens(self, inputs: Modalities) -> Modalities:
        """Compute the teacher's patch tokens (B, L, D) of every modality, unmasked."""
        backbone, patch_embeds = (self.teacher.module[part] for part in ('backbone', 'patch_embeds'))
        own = dict(patch_embeds.items())
        embedded = [embed(backbone, image, own.get(name)) for name, image in inputs.items()]
        tokens = [backbone.ln1(each)[:, 1:].float() for each in packed_layers(backbone, embedded)]
        return {name: normalized(each, self.normalize_targets) for name, each in zip(inputs, tokens, strict=True)}

    def visible_tokens(self, inputs: Modalities, places: Modalities) -> tuple[Modalities, Modalities]:
        """Compute the student's class tokens (B, D), and its patch tokens (B, V, D) of the visible places (B, V)."""
        sequences, own = [], dict(self.patch_embeds.items())
        for name, image in inputs.items():
            tokens = embed(self.backbone, image, own.get(name))
            sequences.append(torch.cat((tokens[:, :1], gather_tokens(tokens[:, 1:], places[name])), dim=1))
        encoded = [self.backbone.ln1(each) for each in packed_layers(self.backbone, sequences)]
        classes = {name: each[:, 0] for name, each in zip(inputs, encoded, strict=True)}
        return classes, {name: each[:, 1:] for name, each in zip(inputs, encoded, strict=True)}

    def fuse(
        self, classes: Modalities, tokens: Modalities, places: Modalities, masks: Modalities, positions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Fuse the tokens of all modalities to one for every place that some modality shows.

        Images differ in how many places these are: all are padded to the most that there can be, U, which is known
        without asking the device, and nothing attends to the padding.

        Returns:
            fused tokens (B, U, d), their places (B, U), and which of them are padding (B, U).
        """
        parts = [
            self.to_decoder(tokens[name] + classes[name].detach()[:, None]) + positions[places[name]] for name in tokens
        ]
        unseen = torch.stack(list(masks.values())).all(dim=0)
        count = min(len(positions), sum(each.shape[1] for each in places.values()))
        fused_places = visible_places(unseen, count)
        padding = unseen.gather(1, fused_places)
        queries = self.fusion_query + positions[fused_places]
        if self.shortcuts:
            shown = torch.stack([~mask for mask in masks.values()]).sum(dim=0).clamp(min=1)
            own = [scatter_tokens(part, places[name], shown.shape[1]) for name, part in zip(tokens, parts, strict=True)]
            queries = queries + gather_tokens(sum(own) / shown[..., None], fused_places)
        parts.append(queries)
        sequence = torch.cat(parts, dim=1)
        ignored = F.pad(padding, (sequence.shape[1] - count, 0))  # only queries can be padding
        return self.fusion(sequence, src_key_padding_mask=ignored)[:, -count:], fused_places, padding

    def decode(self, fused: Tensor, places: Tensor, padding: Tensor, positions: Tensor) -> Modalities:
        """Predict teacher tokens (B, L, D) of every modality at every place."""
        known = fused + positions[places]
        ignored = F.pad(padding, (0, len(positions)))
        made = {}
        for name in self.modalities:
            asked = (self.mask_tokens[name] + positions).expand(len(fused), -1, -1)
            if self.shortcuts:
                asked = asked + scatter_tokens(fused * ~padding[..., None], places, len(positions))
            decoded = self.decoders[name](torch.cat((known, asked), dim=1), src_key_padding_mask=ignored)
            made[name] = self.predictors[name](decoded[:, -len(positions) :])
        return made
