"""A model of a student and a teacher."""

import torch

from tests.conftest import build_cmid


def test_teacher_starts_from_initialised_student():
    model = build_cmid()
    for key, value in model.student_parts().state_dict().items():
        assert torch.equal(model.teacher.module.state_dict()[key], value), key
