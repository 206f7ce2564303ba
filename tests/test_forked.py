"""A program that is forked from a test ends there, whatever it leaves behind."""

import os

from tests.forked import Run


def test_a_child_that_cannot_flush_does_not_come_back(tmp_path):
    tool = tmp_path / 'tool.py'
    tool.write_text(
        'import sys\nclass Broken:\n    def flush(self):\n        raise RuntimeError\nsys.stderr = Broken()\n'
    )
    test = os.getpid()
    try:
        run = Run(tmp_path / 'log', str(tool))
    finally:
        if os.getpid() != test:  # it would go on as a second test process
            os._exit(99)
    assert run.wait() == [0]
