"""Bad input ends in one clear error that says what to do; nothing is passed over in silence."""

import struct
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import IterBasedTrainLoop
from mmengine.runner.checkpoint import load_state_dict

from mmrs_ssl.cli.config import override
from mmrs_ssl.cli.launch import set_precision
from mmrs_ssl.datasets.transforms import SpectralJitter, UnreadableImageError, read_image
from mmrs_ssl.engine.hooks import EpochSeedHook, ScheduleHook
from tests.conftest import build_cmid, cmid_config, make_batch


def test_a_header_that_asks_for_too_much(tmp_path):
    chunk = b'IHDR' + struct.pack('>IIBBBBB', 60000, 60000, 8, 2, 0, 0, 0)
    header = struct.pack('>I', 13) + chunk + struct.pack('>I', zlib.crc32(chunk))
    path = tmp_path / 'huge.png'
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + header + b'\0\0\0\0IEND\xaeB`\x82')
    with pytest.raises(UnreadableImageError, match=r'huge\.png'):
        read_image(path)


def test_negative_values_are_not_clipped_away():
    image = np.full((4, 4, 2), -3.0, np.float32)
    with pytest.raises(ValueError, match=r'SpectralJitter expects values from 0 to max_value, found -3\.0'):
        SpectralJitter(prob=1.0, max_value=10).transform(dict(img=image, rng=np.random.default_rng(0)))


def test_an_option_that_would_do_nothing():
    cfg = Config(dict(crop=96, train_dataloader=dict(batch_size=2)))
    with pytest.raises(KeyError, match="'crop' is a variable of the config file"):
        override(cfg, {'crop': 64})
    override(cfg, {'train_dataloader.batch_size': 4})
    assert cfg.train_dataloader.batch_size == 4


def test_precision_of_an_unknown_wrapper():
    with pytest.raises(ValueError, match='MyOptimWrapper'):
        set_precision(Config(dict(optim_wrapper=dict(type='MyOptimWrapper'))), amp=True)
    with pytest.raises(ValueError, match='no optim_wrapper'):
        set_precision(Config(dict(model=dict())), amp=False)


def test_loops_without_epochs():
    runner = SimpleNamespace(train_loop=object.__new__(IterBasedTrainLoop))
    with pytest.raises(ValueError, match='by_epoch=False'):
        ScheduleHook('teacher_temperature', 0.04, 0.07, 'linear', by_epoch=True).before_train(runner)
    with pytest.raises(ValueError, match='EpochBasedTrainLoop'):
        EpochSeedHook().before_train(runner)


def test_checkpoint_with_other_heads_or_of_a_backbone_alone():
    state = build_cmid().state_dict()
    config = cmid_config()
    with pytest.raises(ValueError, match=r'global_head\.queue is \(24, 16\), not \(48, 16\)'):
        load_state_dict(build_cmid(global_head={**config['global_head'], 'queue_length': 48}), state)
    alone = {key.removeprefix('backbone.'): value for key, value in state.items() if key.startswith('backbone.')}
    with pytest.raises(ValueError, match=r'model\.backbone\.init_cfg'):
        load_state_dict(build_cmid(), alone)


def test_decoder_of_another_stride():
    config = cmid_config('vit')
    model = build_cmid('vit', reconstruction_head={**config['reconstruction_head'], 'stride': 32})
    with pytest.raises(ValueError, match=r'reconstruction_head\.stride'):
        model.loss(**model.data_preprocessor(make_batch(), True))
