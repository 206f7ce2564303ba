"""mmrs_ssl: self-supervised pre-training on remote-sensing imagery, as a plugin to OpenMMLab.

Importing the package registers every module under the scope ``mmrs_ssl`` and lets ``torch.load(weights_only=True)``
read mmengine's own checkpoints; those behind addresses are read in the same way. What is not installed is named before
that, with the line that brings it.
"""

# ruff: noqa: E402 (checked before anything else is imported)
from mmrs_ssl.installation import check_installation

check_installation()

# isort: split
from mmrs_ssl import datasets, engine, models  # noqa: F401  (imported to register their modules)
from mmrs_ssl.aliases import register_old_names
from mmrs_ssl.shipped_configs import get_config
from mmrs_ssl.transfer.addresses import read_addresses_as_data
from mmrs_ssl.transfer.safe_types import allow_checkpoint_types
from mmrs_ssl.version import __version__

allow_checkpoint_types()
read_addresses_as_data()
register_old_names()

__all__ = ['__version__', 'get_config']
