"""Garden's tasks, with a normalisation and a moving average of their own."""

from typing import Any

import tf_keras
from official.core import task_factory
from official.vision.tasks import (
  image_classification,
  maskrcnn,
  retinanet,
  semantic_segmentation,
)

from official_ext.experiments import garden_classification
from official_ext.experiments import maskrcnn as maskrcnn_cfg
from official_ext.experiments import retinanet as retinanet_cfg
from official_ext.experiments import semantic_segmentation as segmentation_cfg
from official_ext.tasks.input_normalization import InputNormalization
from official_ext.tasks.weight_averaging import WeightAveraging


@task_factory.register_task_cls(garden_classification.ClassificationTask)
class ClassificationTask(
  InputNormalization,
  WeightAveraging,
  image_classification.ImageClassificationTask,
):
  """Garden's image classification."""


@task_factory.register_task_cls(segmentation_cfg.SemanticSegmentationTask)
class SemanticSegmentationTask(
  WeightAveraging, semantic_segmentation.SemanticSegmentationTask
):
  """Garden's semantic segmentation, which can normalise by itself."""

  def build_model(self) -> tf_keras.Model:
    """Builds the model, with a backbone that may keep its weights."""
    model = super().build_model()
    model.backbone.trainable = not self.task_config.freeze_backbone
    return model


@task_factory.register_task_cls(retinanet_cfg.RetinaNetTask)
class RetinaNetTask(
  InputNormalization, WeightAveraging, retinanet.RetinaNetTask
):
  """Garden's RetinaNet."""


@task_factory.register_task_cls(maskrcnn_cfg.MaskRCNNTask)
class MaskRCNNTask(InputNormalization, WeightAveraging, maskrcnn.MaskRCNNTask):
  """Garden's Mask R-CNN."""

  def validation_step(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Evaluates a batch; there is no loss, for which Garden gives 0."""
    logs = super().validation_step(*args, **kwargs)
    logs.pop(self.loss)
    return logs
