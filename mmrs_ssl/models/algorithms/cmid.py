"""CMID: contrastive mask image distillation (Muhtar et al., IEEE TGRS 2023, https://arxiv.org/abs/2304.09670)."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from mmpretrain.models import BaseSelfSupervisor
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmrs_ssl.models.backbones.pooling import averaged
from mmrs_ssl.models.data_preprocessor import BandPreprocessor, with_bands
from mmrs_ssl.models.following import Found, OutputSize, build_backbone, following, shape_given
from mmrs_ssl.models.losses import PrototypeCenter, soft_cross_entropy
from mmrs_ssl.models.mask_token import MaskToken, entrance_of
from mmrs_ssl.models.masks.blocks import block_grid, block_mask, fill_with_mean, upsample_mask
from mmrs_ssl.models.matching import boxes_overlap, cell_centers, gather_cells, nearest_cells
from mmrs_ssl.models.protocol import Monitored, Passes, last_output
from mmrs_ssl.models.teachers.student_teacher import StudentTeacher
from mmrs_ssl.models.tiles import Matches, Picture, PictureTile, View
from mmrs_ssl.options import COUNT, POSITIVE, PROPER_SHARE, check_numbers, merged_weights
from mmrs_ssl.registry import MODELS

TERMS = ('loss_spatial', 'loss_spectral', 'loss_global', 'loss_local')


class CMIDStep(NamedTuple):
    """A step's tensors for pictures; V = 2 views."""

    views: list[Tensor]  # V (B, C, H, W)
    masked: list[Tensor]
    reconstructions: list[Tensor]
    matches: tuple[Tensor, Tensor]  # (B, k) cells of view 1 and view 2
    grid: tuple[int, int]


@MODELS.register_module()
class CMID(StudentTeacher, BaseSelfSupervisor):
    """A student sees two masked views, a momentum teacher the same two unmasked.

    Three objectives on the last feature map: reconstruction of the masked pixels, a global branch between averaged
    vectors (MoCo or BYOL) and a local branch between cells that show the same ground.

    Args:
        backbone: mmpretrain's ResNet, ConvNeXt, SwinTransformer or VisionTransformer (``out_type='featmap'``).
        neck: projector of the global branch with average pooling, e.g. ``MoCoV2Neck`` (MoCo) or ``NonLinearNeck``
            (BYOL).
        global_head: :class:`QueueContrastHead` (MoCo) or :class:`PredictionHead` (BYOL).
        local_head: :class:`PrototypeHead`.
        reconstruction_head: :class:`PixelReconstructionHead`. Where they are not given, ``in_channels`` of these four
            follow the backbone, as this one's ``stride`` does, and the global head's width follows the neck.
        data_preprocessor: :class:`BandPreprocessor`; its number of bands is the backbone's and the reconstruction's.
        mask_block: side of a mask block in pixels.
        mask_ratio: share of blocks masked in each view.
        mask_token_mode: ``'add'`` the learned token at masked positions or ``'replace'`` the features by it.
        num_matches: pairs of cells per image and direction in the local branch.
        student_temperature, teacher_temperature: of the local branch; a ``ScheduleHook`` on ``teacher_temperature``
            raises it from 0.04 to 0.07.
        teacher_momentum: weight of the teacher's old value; ``TeacherMomentumHook`` raises it to 1.
        loss_weights: factors of ``loss_spatial``, ``loss_spectral``, ``loss_global`` and ``loss_local``, by default 1.

    Differs from the official code: positions in pixels (see ``matching.py``), masks drawn on the device, two images
    per sample travel instead of four.
    """

    data_preprocessor: BandPreprocessor

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        global_head: dict,
        local_head: dict,
        reconstruction_head: dict,
        data_preprocessor: dict,
        mask_block: int = 32,
        mask_ratio: float = 0.6,
        mask_token_mode: str = 'add',
        num_matches: int = 20,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        teacher_momentum: float = 0.996,
        loss_weights: dict[str, float] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        preprocessor = MODELS.build(data_preprocessor)
        encoder, output = build_backbone(backbone, preprocessor.bands)
        feature_map = map_size(output, type(encoder).__name__)
        projector = MODELS.build(following(neck, 'neck', feature_map))
        super().__init__(backbone=encoder, neck=projector, data_preprocessor=preprocessor, init_cfg=init_cfg)
        self.mask_token = MaskToken(entrance_of(self.backbone)[1], mask_token_mode)
        self.global_head = MODELS.build(fed_by_neck(global_head, projector, feature_map['in_channels']))
        self.local_head = MODELS.build(following(local_head, 'local_head', feature_map))
        decoder = with_bands(reconstruction_head, 'bands', preprocessor.bands)
        self.reconstruction_head = MODELS.build(following(decoder, 'reconstruction_head', feature_map))
        self.center = PrototypeCenter(self.local_head.num_prototypes)
        self.mask_block = mask_block
        self.mask_ratio = mask_ratio
        self.num_matches = num_matches
        self.student_temperature = student_temperature
        self.teacher_temperature = teacher_temperature
        self.loss_weights = merged_weights('a term of loss_weights', dict.fromkeys(TERMS, 1.0), loss_weights)
        self.check_options()
        self.make_teacher(('backbone', 'neck', 'local_head'), teacher_momentum)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs

    def check_options(self) -> None:
        """Refuse values that leave nothing to learn from.

        Raises:
            ValueError: saying what is expected.
        """
        check_numbers(self, COUNT, mask_block=self.mask_block, num_matches=self.num_matches)
        check_numbers(self, PROPER_SHARE, mask_ratio=self.mask_ratio)
        temperatures = dict(student_temperature=self.student_temperature, teacher_temperature=self.teacher_temperature)
        check_numbers(self, POSITIVE, **temperatures)

    def loss(self, inputs: list[Tensor], data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Compute the three objectives of one batch.

        Args:
            inputs: two views (B, C, H, W), normalized.
            data_samples: B samples with ``boxes`` (2, 4) and ``flips`` (2,), where the views came from.

        Returns:
            ``loss_spatial``, ``loss_spectral``, ``loss_global`` and ``loss_local``, weighted scalars.
        """
        self.require_teacher_updates()
        check_pair(inputs)
        boxes = torch.stack([sample.boxes for sample in data_samples], dim=1)  # (2, B, 4)
        flips = torch.stack([sample.flips for sample in data_samples], dim=1)  # (2, B)
        boxes, flips = (each.to(inputs[0].device, non_blocking=True) for each in (boxes, flips))

        grid = block_grid(inputs[0].shape[2], inputs[0].shape[3], self.mask_block)
        masks = [block_mask(len(view), grid, self.mask_ratio, view.device) for view in inputs]
        pixel_masks = [upsample_mask(mask, view.shape[-2:]) for mask, view in zip(masks, inputs, strict=True)]
        masked = [fill_with_mean(view, mask) for view, mask in zip(inputs, pixel_masks, strict=True)]

        student_maps = [self.student_map(view, mask) for view, mask in zip(masked, masks, strict=True)]
        with torch.no_grad():
            teacher_maps = [last_map(self.teacher.module['backbone'], view) for view in inputs]

        losses, reconstructions = self.reconstruction_branch(student_maps, inputs, pixel_masks)
        losses['loss_global'] = self.global_branch(student_maps, teacher_maps)
        losses['loss_local'], matches = self.local_branch(student_maps, teacher_maps, boxes, flips)

        self.monitored = Monitored(dict(student=averaged(student_maps), teacher=averaged(teacher_maps)))
        if self.recording:
            rows, columns = student_maps[0].shape[-2:]
            self.kept = CMIDStep(inputs, masked, reconstructions, matches, (rows, columns))
        return {name: value * self.loss_weights[name] for name, value in losses.items()}

    def monitor(self) -> Monitored:
        """Return the averaged features of both views, of student and teacher: (2 * B, D) each."""
        return self.monitored

    def visualize(self, samples: int = 4) -> dict[str, Picture]:
        """Show per sample a row for each view (view, masked view, reconstruction), beside them the matched cells."""
        kept: CMIDStep = self.release_kept()
        return {f'sample_{i}': self.picture(kept, i) for i in range(min(samples, len(kept.views[0])))}

    def picture(self, kept: CMIDStep, sample: int) -> Picture:
        """Lay out one sample's picture of what the last step kept."""
        mean, std = self.data_preprocessor.mean, self.data_preprocessor.std
        rows = []
        for number, view in enumerate(kept.views):
            own, name = view[sample], f'view {number + 1}'
            masked, rebuilt = kept.masked[number][sample], kept.reconstructions[number][sample]
            rows.append(
                [
                    PictureTile(name, View(own, mean, std)),
                    PictureTile(f'{name}, masked', View(masked, mean, std, like=own)),
                    PictureTile(f'{name}, reconstructed', View(rebuilt, mean, std, like=own)),
                ]
            )
        left, right = (View(view[sample], mean, std) for view in kept.views)
        pairs = kept.matches[0][sample], kept.matches[1][sample]
        title = f'{len(pairs[0])} matched cells of view 1 (left) and view 2'
        return [rows, [[PictureTile(title, Matches(left, right, pairs, kept.grid))]]]

    def bare_passes(self, data: dict[str, Any]) -> tuple[Passes, Passes]:
        """List both views through the student's backbone and through the teacher's."""
        own, other = (partial(last_output, net) for net in (self.backbone, self.teacher.module['backbone']))
        student: Passes = [(own, view) for view in data['inputs']]
        teacher: Passes = [(other, view) for view in data['inputs']]
        return student, teacher

    def student_map(self, masked_view: Tensor, mask: Tensor) -> Tensor:
        """Compute the student's last map (B, D, N, M) of a view (B, C, H, W), masked by ``mask`` (B, gh, gw)."""
        with self.mask_token.applied(self.backbone, mask):
            feature_map = last_map(self.backbone, masked_view)
        if feature_map.requires_grad:  # three branches return gradients of mixed layouts; convolutions want one
            feature_map.register_hook(lambda grad: grad.contiguous(memory_format=torch.channels_last))
        return feature_map

    def reconstruction_branch(
        self, student_maps: list[Tensor], views: list[Tensor], pixel_masks: list[Tensor]
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Return losses averaged over the views, and the reconstructions (B, C, H, W) of each."""
        preds = self.reconstruction_head(torch.cat(student_maps)).chunk(len(views))
        terms = [self.reconstruction_head.loss(*each) for each in zip(preds, views, pixel_masks, strict=True)]
        losses = {name: torch.stack([term[name] for term in terms]).mean() for name in terms[0]}
        return losses, [pred.detach() for pred in preds]

    def global_branch(self, student_maps: list[Tensor], teacher_maps: list[Tensor]) -> Tensor:
        """Compare each view's averaged student vector with the other view's teacher vector."""
        students = [self.neck((feature_map,))[0] for feature_map in student_maps]
        with torch.no_grad():
            teachers = [self.teacher.module['neck']((feature_map,))[0] for feature_map in teacher_maps]
        return self.global_head.loss(students, teachers)

    def local_branch(
        self, student_maps: list[Tensor], teacher_maps: list[Tensor], boxes: Tensor, flips: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Compare each view's student cells with the nearest teacher cells of the other view.

        Returns:
            The loss, and the first direction's pairs: two (B, k) indices into the cells of view 1 and view 2.
        """
        size = student_maps[0].shape[-2:]
        centers = [cell_centers(box, flip, size) for box, flip in zip(boxes, flips, strict=True)]
        overlap = boxes_overlap(*boxes).float()  # (B,): views that share no ground have nothing to match
        students, teachers, pairs = [], [], []
        for i, j in ((0, 1), (1, 0)):
            own, partner = nearest_cells(centers[i], centers[j], self.num_matches)
            students.append(gather_cells(student_maps[i].flatten(2).mT, own).flatten(0, 1))  # (B * k, D)
            teachers.append(gather_cells(teacher_maps[j].flatten(2).mT, partner).flatten(0, 1))
            pairs.append((own, partner))
        scores = self.local_head(torch.cat(students), groups=2).chunk(2)  # (B * k, K) of each direction
        with torch.no_grad():
            targets = self.teacher.module['local_head'](torch.cat(teachers), groups=2).chunk(2)
        losses = [self.local_loss(*direction, overlap) for direction in zip(scores, targets, strict=True)]
        return torch.stack(losses).mean(), pairs[0]

    def local_loss(self, student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
        """Compute the cross-entropy of matched scores (B * k, K) where ``weight`` (B,) is 1; then move the center."""
        entropy = soft_cross_entropy(
            student, teacher, self.center.value, self.student_temperature, self.teacher_temperature
        )
        per_image = entropy.view(len(weight), -1).mean(dim=1)
        self.center.update(teacher)
        return (per_image * weight).sum() / weight.sum().clamp(min=1)


def check_pair(views: Sequence[Tensor]) -> None:
    """Refuse other than two views (B, C, H, W) of one size.

    Raises:
        ValueError: saying how many there are, and of which sizes.
    """
    sizes = [f'{view.shape[-2]} x {view.shape[-1]}' for view in views]
    if len(sizes) != 2 or sizes[0] != sizes[1]:
        raise ValueError(
            f'CMID compares two views of one size, the pipeline makes {len(sizes)} ({", ".join(sizes)} pixels): give '
            'train_dataloader.dataset.pipeline mmrs_ssl.CMIDViews, or Views of two lists that crop to one size'
        )


def last_map(backbone: nn.Module, view: Tensor) -> Tensor:
    """Return the last output of a backbone, a map (B, D, N, M)."""
    feature_map: Tensor = backbone(view)[-1]
    return feature_map


def map_size(size: OutputSize | None, kind: str) -> dict[str, Found]:
    """Return the channels of a backbone's last map and its stride as options of the parts that it feeds.

    Args:
        size: None where it could not be found out.
        kind: the backbone's class, for messages.

    Raises:
        ValueError: if it gives no map (B, D, N, M).
    """
    if size is None:
        return dict(in_channels=None, stride=None)
    if size.stride is None:
        raise ValueError(
            f'CMID needs a feature map (B, D, N, M) from {kind}, which returns {size.shape}: set '
            "backbone.out_type='featmap' (ViT) or backbone.gap_before_final_norm=False (ConvNeXt)"
        )
    return dict(
        in_channels=(size.channels, f'the channels of the last map of {kind} are'),
        stride=(size.stride, f'the stride of the last map of {kind} is'),
    )


def fed_by_neck(head: dict, neck: nn.Module, channels: Found) -> dict:
    """Fill in what the global head's config takes from the neck: width of the queue, or of the predictor's ends."""
    shape = shape_given(neck, (2, channels[0], 2, 2), in_tuple=True) if channels else None
    width = (shape[-1], 'the width of what the neck gives is') if shape else None
    filled = following(head, 'global_head', dict(channels=width))
    if isinstance(predictor := head.get('predictor'), dict):
        ends = dict(in_channels=width, out_channels=width)
        filled['predictor'] = following(predictor, 'global_head.predictor', ends)
    return filled
