"""A student and its teacher in one model: how they start, and which checkpoints fit them."""

import pytest
import torch
from mmengine.runner.checkpoint import load_state_dict

from tests.conftest import build_cmid, cmid_config


def test_teacher_starts_from_initialised_student():
    model = build_cmid()
    for key, value in model.student_parts().state_dict().items():
        assert torch.equal(model.teacher.module.state_dict()[key], value), key


def test_checkpoint_with_other_heads_or_of_a_backbone_alone():
    state = build_cmid().state_dict()
    config = cmid_config()
    with pytest.raises(ValueError, match=r'global_head\.queue is \(24, 16\), not \(48, 16\)'):
        load_state_dict(build_cmid(global_head={**config['global_head'], 'queue_length': 48}), state)
    alone = {key.removeprefix('backbone.'): value for key, value in state.items() if key.startswith('backbone.')}
    with pytest.raises(ValueError, match=r'model\.backbone\.init_cfg'):
        load_state_dict(build_cmid(), alone)
