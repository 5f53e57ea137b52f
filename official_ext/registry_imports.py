"""All that registers itself: Garden's vision parts, and this package's.

Importing this module is enough to use the networks `resnet9` and `airbench`,
the experiment `small_images`, and all others, from any program built on Garden.
"""

# ruff: noqa: F401
from official.vision import registry_imports

from official_ext.datasets import procedural_shapes
from official_ext.experiments import (
  garden_classification,
  maskrcnn,
  retinanet,
  semantic_segmentation,
  small_images,
)
from official_ext.tasks import garden_tasks, image_classification
