"""Nothing is logged for a while, and everything afterwards."""

import logging

import pytest
from mmengine.logging import MMLogger

from mmrs_ssl.models.quiet import quiet


class Kept(logging.Handler):
    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


@pytest.mark.parametrize('name', ['new', 'mmengine'])
def test_what_is_logged_meanwhile_is_dropped_and_no_more(name):
    logger = (
        MMLogger.get_instance(f'quiet_{name}', log_level='INFO') if name == 'new' else MMLogger.get_current_instance()
    )
    logger.addHandler(kept := Kept())
    logger.setLevel('INFO')
    with quiet():
        logger.info('one')
        logger.warning('two')
        with quiet(logging.WARNING):
            logger.warning('three')
        logger.info('four')
        logger.warning('five')
    logger.info('six')
    logger.removeHandler(kept)
    assert kept.texts == ['two', 'five', 'six']
