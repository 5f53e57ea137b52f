"""All that registers itself: Garden's vision parts, and this package's.

Importing this module is enough to use `resnet9` and `resnet9_cifar10` from any
program built on Garden.
"""

# ruff: noqa: F401
from official.vision import registry_imports

from official_ext.configs import image_classification as _configs
from official_ext.datasets import procedural_shapes
from official_ext.experiments import (
  garden_classification,
  maskrcnn,
  retinanet,
  semantic_segmentation,
)
from official_ext.modeling.backbones import resnet9
from official_ext.modeling.optimization import lr_schedule, sgd
from official_ext.tasks import garden_tasks
from official_ext.tasks import image_classification as _tasks
