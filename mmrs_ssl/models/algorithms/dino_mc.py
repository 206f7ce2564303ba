"""DINO-MC and DINO-TP: self-distillation between crops of many sizes, and of several dates.

Wanyan et al., Extending global-local view alignment for self-supervised learning with remote sensing imagery,
https://arxiv.org/abs/2303.06670, on DINO (Caron et al., https://arxiv.org/abs/2104.14294).
"""

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import torch
from mmengine.logging import print_log
from mmpretrain.models import BaseSelfSupervisor, SwinTransformer, VisionTransformer
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmrs_ssl.aliases import accept_old_options
from mmrs_ssl.models.backbones.initial import from_file, start_truncated
from mmrs_ssl.models.backbones.packed_vit import packed_class_tokens, refuse_other_layers
from mmrs_ssl.models.backbones.padded_swin import PaddedSwinTransformer
from mmrs_ssl.models.backbones.pooling import pooled
from mmrs_ssl.models.data_preprocessor import BandPreprocessor
from mmrs_ssl.models.following import build_backbone, following
from mmrs_ssl.models.heads import PrototypeHead
from mmrs_ssl.models.heads.sizing import HeadSize, head_size
from mmrs_ssl.models.losses import PrototypeCenter, balancing_center, cross_view_entropy
from mmrs_ssl.models.protocol import Monitored, Passes, last_output
from mmrs_ssl.models.teachers.student_teacher import StudentTeacher
from mmrs_ssl.models.tiles import Picture, PictureTile, View
from mmrs_ssl.options import BELOW_ONE, COUNT, POSITIVE, check_numbers, check_switches, or_none
from mmrs_ssl.registry import MODELS

TILES_IN_A_ROW = 4


class DINOStep(NamedTuple):
    """A step's tensors for pictures."""

    views: list[Tensor]  # V (B, C, H, W), the teacher's first
    choices: Tensor  # probabilities (T, B, K) of its views


@MODELS.register_module()
@accept_old_options
class DINOMC(StudentTeacher, BaseSelfSupervisor):
    """A student sees all crops of a scene, a momentum teacher the global ones; both say which prototypes they show.

    What the views are is the pipeline's business: crops of one image (``MultiSizeCrops``, DINO-MC) or of three dates
    (``TemporalCrops``, DINO-TP, with ``num_global=3``).

    Args:
        backbone: mmpretrain's VisionTransformer (``out_type='cls_token'``), ResNet, SwinTransformer or any other that
            returns a map (B, D, h, w), which is averaged, or a vector (B, D).
        head: :class:`PrototypeHead`; ``num_prototypes`` and ``in_channels`` are filled in if they are not given.
        data_preprocessor: :class:`BandPreprocessor`; its number of bands is the backbone's.
        num_global: how many of the first views the teacher sees.
        num_images: size of the data set, by which ``head.num_prototypes`` and ``teacher_temperature`` are chosen where
            they are not given (see :func:`mmrs_ssl.models.heads.sizing.head_size`); ``tools/train.py`` counts it.
        student_temperature: T_s.
        teacher_temperature: T_t; a ``ScheduleHook`` on ``teacher_temperature`` may warm it up.
        teacher_momentum: weight of the teacher's old value; ``TeacherMomentumHook`` raises it to 1.
        teacher_drop_path: let the teacher drop paths too, as the published program's Swin does.
        center_momentum: weight of the old center; it does not count where choices are balanced.
        balanced: make the teacher's choices for a batch use all prototypes equally often, in the place of the running
            center, with which a teacher on few images may use a few prototypes alone.
        init_std: start the backbone's linear and convolution layers, class token and positions from a truncated normal
            distribution of this width and biases from 0, as the published program's ViT (0.02); by default as
            mmpretrain does.
        packed: of a ViT compute all sizes in one pass, see :mod:`mmrs_ssl.models.backbones.packed_vit`.

    Differs from the official code: the teacher is updated after the optimizer's step whatever is accumulated, and the
    head's size follows the data set's unless it is given; ``balanced`` is DINOv2's.
    """

    data_preprocessor: BandPreprocessor
    head: PrototypeHead
    evaluated = 'teacher'

    def __init__(
        self,
        backbone: dict,
        head: dict,
        data_preprocessor: dict,
        num_global: int = 2,
        num_images: int | None = None,
        student_temperature: float = 0.1,
        teacher_temperature: float | None = None,
        teacher_momentum: float = 0.996,
        teacher_drop_path: bool = False,
        center_momentum: float = 0.9,
        balanced: bool = False,
        init_std: float | None = None,
        packed: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        preprocessor = MODELS.build(data_preprocessor)
        size = head_size(num_images)
        encoder, output = build_backbone(backbone, preprocessor.bands)
        width = (output.channels, f'the width of what {type(encoder).__name__} gives is') if output else None
        super().__init__(
            backbone=encoder,
            head=following({'num_prototypes': size.num_prototypes, **head}, 'head', dict(in_channels=width)),
            data_preprocessor=preprocessor,
            init_cfg=init_cfg,
        )
        self.packed = packed and isinstance(self.backbone, VisionTransformer)
        if self.packed:
            refuse_other_layers(self.backbone)
        self.num_global = num_global
        self.student_temperature = student_temperature
        self.teacher_temperature = size.teacher_temperature if teacher_temperature is None else teacher_temperature
        self.init_std = init_std
        self.balanced = balanced
        check_switches(self, packed=packed, teacher_drop_path=teacher_drop_path, balanced=balanced)
        self.check_options(backbone, center_momentum)
        self.center = PrototypeCenter(self.head.num_prototypes, center_momentum)
        self.make_teacher(('backbone', 'head'), teacher_momentum, teacher_drop_path)
        self.log_head_size(size, given=('num_prototypes' in head, teacher_temperature is not None))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs

    def init_student(self) -> None:
        """Initialize as mmpretrain does, then the backbone as ``init_std`` says; weights of a file stay."""
        super().init_student()
        settings = self.init_cfg, getattr(self.backbone, 'init_cfg', None)
        if self.init_std is not None and not any(from_file(each) for each in settings):
            start_truncated(self.backbone, self.init_std)

    def check_options(self, backbone: dict, center_momentum: float) -> None:
        """Refuse impossible values, and backbones that would treat small crops otherwise than published.

        Raises:
            ValueError: saying what is expected.
        """
        temperatures = dict(student_temperature=self.student_temperature, teacher_temperature=self.teacher_temperature)
        check_numbers(self, COUNT, num_global=self.num_global)
        check_numbers(self, POSITIVE, **temperatures)
        check_numbers(self, BELOW_ONE, center_momentum=center_momentum)  # at 1 nothing is centered
        check_numbers(self, or_none(POSITIVE), init_std=self.init_std)
        plain = isinstance(self.backbone, SwinTransformer) and not isinstance(self.backbone, PaddedSwinTransformer)
        if plain and not backbone.get('pad_small_map'):
            raise ValueError(
                'small crops have maps smaller than a window of Swin: set '
                "backbone.type='mmrs_ssl.PaddedSwinTransformer', which pads them as published (or pad_small_map=True, "
                'which also shifts windows there)'
            )
        if isinstance(self.backbone, VisionTransformer) and self.backbone.patch_embed.adaptive_padding is not None:
            raise ValueError(
                'this ViT pads crops that are no multiple of its patch at one corner: set backbone.patch_cfg='
                'dict(padding=0), which leaves their last rows and columns out'
            )

    def log_head_size(self, size: HeadSize, given: tuple[bool, bool]) -> None:
        """Print the number of prototypes and the teacher's temperature, and why they are what they are."""
        found = (f'{self.head.num_prototypes:,} prototypes', f'teacher temperature {self.teacher_temperature:.4g}')
        for text, from_config in zip(found, given, strict=True):
            print_log(f'DINOMC: {text} ({"from the config" if from_config else size.reason})', logger='current')

    def loss(self, inputs: list[Tensor], data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Compute the cross-entropy between the teacher's global crops and the student's other crops.

        Args:
            inputs: V views (B, C, H, W), normalized, the global ones first; sizes may differ.
            data_samples: unused.

        Returns:
            ``loss``, a scalar.
        """
        self.require_teacher_updates()
        self.check_views(inputs)
        batch = len(inputs[0])
        with torch.no_grad():
            teacher_features = self.encode(self.teacher.module['backbone'], inputs[: self.num_global])
            teacher = self.teacher.module['head'](teacher_features).unflatten(0, (-1, batch))  # (T, B, K)
        if self.training and self.balanced:
            self.center.value.copy_(balancing_center(teacher, self.teacher_temperature))
        student_features = self.encode(self.backbone, inputs)
        student = self.head(student_features).unflatten(0, (-1, batch))  # (V, B, K)
        loss = cross_view_entropy(
            student, teacher, self.center.value, self.student_temperature, self.teacher_temperature
        )
        self.teacher_scores = teacher, self.center.value.clone()
        if self.recording:
            self.kept = DINOStep(inputs, self.teacher_choices().unflatten(0, (-1, batch)))
        if self.training and not self.balanced:
            self.center.update(teacher)
        own = student_features[: len(teacher_features)].detach().float()
        self.monitored = Monitored(dict(student=own, teacher=teacher_features.float()))
        return dict(loss=loss)

    def monitor(self) -> Monitored:
        """Return student's and teacher's features (T * B, D) of the teacher's views, and what the teacher chose."""
        return self.monitored._replace(choices=self.teacher_choices())

    def visualize(self, samples: int = 4) -> dict[str, Picture]:
        """Show per sample all crops, the teacher's first, with what it chose for them.

        Crops of one image that the teacher sees should agree on a prototype, those of other images not.
        """
        kept: DINOStep = self.release_kept()
        return {f'sample_{i}': self.picture(kept, i) for i in range(min(samples, len(kept.views[0])))}

    def picture(self, kept: DINOStep, sample: int) -> Picture:
        """Lay out one sample's picture of what the last step kept."""
        mean, std = self.data_preprocessor.mean, self.data_preprocessor.std
        tiles = []
        for number, view in enumerate(kept.views):
            choices = kept.choices[number, sample] if number < len(kept.choices) else None
            title = f'crop {number + 1}, {view.shape[-1]} px'
            tiles.append(PictureTile(title, View(view[sample].float(), mean, std), choices))
        return [[tiles[start : start + TILES_IN_A_ROW] for start in range(0, len(tiles), TILES_IN_A_ROW)]]

    def bare_passes(self, data: dict[str, Any]) -> tuple[Passes, Passes]:
        """List all crops of each size through the student's backbone, the global ones through the teacher's."""
        views = data['inputs']
        student: Passes = [(partial(last_output, self.backbone), batch) for batch in by_size(views)]
        averaged = partial(last_output, self.teacher.module['backbone'])
        return student, [(averaged, batch) for batch in by_size(views[: self.num_global])]

    def teacher_choices(self) -> Tensor:
        """Return the teacher's probabilities (T * B, K) for its views of the last batch."""
        scores, center = self.teacher_scores
        return ((scores - center) / self.teacher_temperature).softmax(dim=-1).flatten(0, 1)

    def encode(self, backbone: nn.Module, views: Sequence[Tensor]) -> Tensor:
        """Compute pooled features of V views (B, C, H, W): (V * B, D); neighbors of one size go through together."""
        if self.packed:
            return torch.cat(packed_class_tokens(backbone, views))
        return torch.cat([pooled(backbone(batch)[-1]) for batch in by_size(views)])

    def check_views(self, views: list[Tensor]) -> None:
        """Refuse too few views, and crops smaller than a patch.

        Raises:
            ValueError: saying what is needed.
        """
        if len(views) < max(2, self.num_global):
            raise ValueError(
                f'{len(views)} views, but the teacher sees num_global={self.num_global} of at least two: give the '
                'pipeline MultiSizeCrops (num_global=2) or TemporalCrops (num_global=3)'
            )
        patch = patch_size(self.backbone)
        for number, view in enumerate(views):
            if min(view.shape[-2:]) < patch:
                raise ValueError(
                    f'view {number} has {view.shape[-2]} x {view.shape[-1]} pixels, less than a patch of {patch}; make '
                    "the crops larger (global_size, local_sizes) or the backbone's patch_size smaller"
                )


def by_size(views: Sequence[Tensor]) -> list[Tensor]:
    """Join views (B, C, H, W) of one size that follow each other to one batch each."""
    return [torch.cat(list(group)) for _, group in groupby(views, key=lambda view: view.shape[-2:])]


def patch_size(backbone: nn.Module) -> int:
    """Return the side of a patch in pixels; 1 for networks without."""
    embedding = getattr(backbone, 'patch_embed', None)
    return embedding.projection.kernel_size[0] if embedding is not None else 1
