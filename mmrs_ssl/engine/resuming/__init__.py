"""Go on from a checkpoint: what must fit, what a changed config changes, and where the training stands."""

from mmrs_ssl.engine.resuming.guard import CheckpointGuard

__all__ = ['CheckpointGuard']
