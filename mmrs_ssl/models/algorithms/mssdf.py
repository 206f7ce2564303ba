"""MSSDF: modality-shared self-supervised distillation (Wang et al., https://arxiv.org/abs/2506.09327)."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmpretrain.models import BaseSelfSupervisor, VisionTransformer
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmrs_ssl.aliases import accept_old_options
from mmrs_ssl.models.backbones.modality_embeds import common_bands, embed_modality, other_patch_embeds
from mmrs_ssl.models.backbones.packed_vit import packed_layers, refuse_other_layers
from mmrs_ssl.models.backbones.pooling import summaries
from mmrs_ssl.models.backbones.tokens import sincos_positions
from mmrs_ssl.models.data_preprocessor import ModalityPreprocessor, eight_bit_modalities, with_bands
from mmrs_ssl.models.following import following
from mmrs_ssl.models.heads.modalities import ModalityStep, term_configs
from mmrs_ssl.models.losses.alignment import same_places
from mmrs_ssl.models.masks.cross_modal import ModalityMasks
from mmrs_ssl.models.masks.information import patch_information
from mmrs_ssl.models.protocol import Monitored, Passes
from mmrs_ssl.models.teachers.student_teacher import StudentTeacher
from mmrs_ssl.models.tiles import Picture, masked_row
from mmrs_ssl.options import Number, check_numbers
from mmrs_ssl.registry import MODELS

Modalities = dict[str, Tensor]


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
    predicts the teacher's patch tokens of each modality everywhere.

    Args:
        backbone: mmpretrain's VisionTransformer with class token and ``out_type='featmap'``.
        data_preprocessor: :class:`ModalityPreprocessor`; its modalities and their bands are the model's.
        masking: options of :class:`ModalityMasking`.
        targets: options of :class:`TokenTargets`.
        fusion: options of :class:`ModalityFusion`.
        decoder: options of :class:`ModalityDecoder`.
        terms: options of :class:`MaskedTokenTerm` (``reconstruction``), :class:`AlignmentTerm` (``alignment``),
            :class:`IndependenceTerm` (``independence``) and :class:`ModalityClassificationTerm` (``modality``); a term
            of weight 0 is not computed. A single modality has the first alone.
        compared_places: how many places of a batch at most are compared between modalities.
        share_patch_embed: one patch embedding, the backbone's, for all modalities, for which single bands are repeated;
            otherwise the first modality's is the backbone's and the others' are ``patch_embeds``. By default where the
            numbers of bands allow it.
        teacher_momentum: weight of the teacher's old value; ``TeacherMomentumHook`` raises it to 1.

    Each of the parts may name another ``type``. Differs from the official code, which does not run: positions are
    two-dimensional, the teacher follows the student slowly, the number of substituted patches is fixed, and batches are
    decoded as a whole.
    """

    backbone: VisionTransformer
    data_preprocessor: ModalityPreprocessor
    positions: Tensor

    def __init__(
        self,
        backbone: dict,
        data_preprocessor: dict,
        masking: dict | None = None,
        targets: dict | None = None,
        fusion: dict | None = None,
        decoder: dict | None = None,
        terms: Mapping[str, dict] | None = None,
        compared_places: int = 512,
        share_patch_embed: bool | None = None,
        teacher_momentum: float = 0.996,
        init_cfg: dict | None = None,
    ) -> None:
        check_numbers(self, Number(2, whole=True), compared_places=compared_places)
        preprocessor = MODELS.build(data_preprocessor)
        bands = preprocessor.bands
        common = common_bands(bands, share_patch_embed)
        super().__init__(
            backbone=with_bands(backbone, 'in_channels', common or next(iter(bands.values()))),
            data_preprocessor=preprocessor,
            init_cfg=init_cfg,
        )
        refuse_other_layers(self.backbone, out_type='featmap')
        self.patch = self.backbone.patch_embed.projection.kernel_size[0]
        self.backbone.pos_embed.requires_grad_(False)  # before a data-parallel wrapper asks
        self.patch_embeds = other_patch_embeds(self.backbone, bands, common)

        names, width = tuple(bands), self.backbone.embed_dims
        named, wide = (names, 'the modalities are'), (width, 'the width of the encoder is')
        self.masking = part('masking', 'ModalityMasking', masking, modalities=named)
        self.targets = part('targets', 'TokenTargets', targets)
        self.fusion = part('fusion', 'ModalityFusion', fusion, in_channels=wide)
        narrow = self.fusion.channels, 'the width of the fusion is'
        self.decoder = part('decoder', 'ModalityDecoder', decoder, modalities=named, channels=narrow, out_channels=wide)
        positions = sincos_positions(self.backbone.patch_resolution, self.fusion.channels)
        self.register_buffer('positions', positions, persistent=False)
        self.terms = nn.ModuleDict(
            {
                name: part(f'terms.{name}', '', config, modalities=named, channels=wide)
                for name, config in term_configs(terms or {}, names).items()
            }
        )
        self.compared_places = compared_places
        self.make_teacher(('backbone', 'patch_embeds'), teacher_momentum)

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
        """Compute the terms of one batch.

        Args:
            inputs: modality -> (B, C, H, W), normalized, on one grid.
            data_samples: as the data preprocessor returns them.

        Returns:
            ``loss_reconstruction``, ``loss_alignment``, ``loss_independence`` and ``loss_modality``, weighted scalars.
        """
        self.require_teacher_updates()
        self.check_patches(inputs)
        information, masks, places = self.draw_masks(inputs, data_samples)
        teacher = self.targets(self.teacher.module, inputs)
        classes, tokens = self.visible_tokens(inputs, places)
        positions = self.decoder_positions(inputs)
        fused = self.fusion(classes, tokens, places, masks, positions)
        predictions = self.decoder(fused, positions)

        sampled = same_places(predictions, self.compared_places)
        step = ModalityStep(masks, classes, predictions, teacher.tokens, sampled)
        made = summaries('student', classes, tokens) | summaries('teacher', teacher.classes, teacher.tokens)
        self.monitored = Monitored(made)
        if self.recording:
            shown = {name: each.detach() for name, each in predictions.items()}
            self.kept = MSSDFStep(inputs, information, masks, shown, teacher.tokens)
        terms: Any = self.terms
        return {f'loss_{name}': term.weight * term(step) for name, term in terms.items()}

    def check_patches(self, inputs: Modalities) -> None:
        """Refuse images that are no whole number of patches.

        Raises:
            ValueError: saying which sizes are.
        """
        height, width = next(iter(inputs.values())).shape[-2:]
        if height % self.patch or width % self.patch or not min(height, width):
            near = max(round(width / self.patch), 1) * self.patch
            raise ValueError(
                f'MSSDF: images of {height} x {width} pixels are no whole number of patches of {self.patch}: crop to '
                f'{near} (the size in train_dataloader.dataset.pipeline), or set model.backbone.patch_size'
            )

    def monitor(self) -> Monitored:
        """Return class tokens and averaged patch tokens of every modality, (B, D) of student and teacher."""
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
        """List the layers of encoder, teacher, fusion and decoder, for as many random tokens as images have.

        All that the masks show of one modality is a batch; the teacher sees all modalities in one, as a shared decoder
        does. Fused are the places that the image with most of them has, no padding beyond.
        """
        _, masks, places = self.draw_masks(**data)
        batch, patches = next(iter(masks.values())).shape
        visible = [each.shape[1] for each in places.values()]
        fused = int(torch.stack([~mask for mask in masks.values()]).any(dim=0).sum(dim=1).max())
        dim, width = self.backbone.embed_dims, self.fusion.channels
        tokens = partial(torch.randn, device=self.positions.device, requires_grad=True)
        encoder, averaged = (nn.Sequential(*vit.layers) for vit in (self.backbone, self.teacher.module['backbone']))
        student: Passes = [(encoder, tokens(batch, 1 + count, dim)) for count in visible]
        student.append((self.fusion.transformer, tokens(batch, sum(visible) + fused, width)))
        decoders = self.decoder.transformers.values()
        each = batch * len(visible) // len(decoders)
        student += [(decoder, tokens(each, fused + patches, width)) for decoder in decoders]
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
        return self.masking({name: patch_information(image, self.patch) for name, image in images.items()})

    def visible_tokens(self, inputs: Modalities, places: Modalities) -> tuple[Modalities, Modalities]:
        """Compute the student's class tokens (B, D), and its patch tokens (B, V, D) of the visible places (B, V)."""
        backbone, own = self.backbone, self.patch_embeds
        sequences = [embed_modality(backbone, own, name, image, places[name]) for name, image in inputs.items()]
        encoded = [self.backbone.ln1(each) for each in packed_layers(self.backbone, sequences)]
        classes = {name: each[:, 0] for name, each in zip(inputs, encoded, strict=True)}
        return classes, {name: each[:, 1:] for name, each in zip(inputs, encoded, strict=True)}


def part(name: str, default: str, config: Mapping[str, Any] | None, **given: Any) -> Any:
    """Build a part of the model, by default of this type; ``given`` are sizes that follow from other parts."""
    return MODELS.build(following({'type': f'mmrs_ssl.{default}', **(config or {})}, name, given))
