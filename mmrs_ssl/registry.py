"""Registries of mmrs_ssl: children of mmengine's root, scope ``mmrs_ssl``.

A registry nested under mmpretrain's could not be seen from mmseg or mmdet, so each parent here is mmengine's root:
``type='mmrs_ssl.CMID'`` then resolves under any library's default scope.
"""

from mmengine import registry as root
from mmengine.registry import Registry

SCOPE = 'mmrs_ssl'


def _child(name: str, parent: Registry, location: str) -> Registry:
    return Registry(name, parent=parent, scope=SCOPE, locations=[location])


MODELS = _child('model', root.MODELS, 'mmrs_ssl.models')
DATASETS = _child('dataset', root.DATASETS, 'mmrs_ssl.datasets')
DATA_SAMPLERS = _child('data sampler', root.DATA_SAMPLERS, 'mmrs_ssl.datasets')
TRANSFORMS = _child('transform', root.TRANSFORMS, 'mmrs_ssl.datasets')
LOOPS = _child('loop', root.LOOPS, 'mmrs_ssl.engine')
HOOKS = _child('hook', root.HOOKS, 'mmrs_ssl.engine')
OPTIMIZERS = _child('optimizer', root.OPTIMIZERS, 'mmrs_ssl.engine')
PARAM_SCHEDULERS = _child('parameter scheduler', root.PARAM_SCHEDULERS, 'mmrs_ssl.engine')
OPTIM_WRAPPERS = _child('optim_wrapper', root.OPTIM_WRAPPERS, 'mmrs_ssl.engine')
MODEL_WRAPPERS = _child('model_wrapper', root.MODEL_WRAPPERS, 'mmrs_ssl.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child('optimizer wrapper constructor', root.OPTIM_WRAPPER_CONSTRUCTORS, 'mmrs_ssl.engine')
