"""Builds models from their configurations."""

import tf_keras
from official.vision.modeling.backbones import factory

from official_ext.configs import image_classification as exp_cfg
from official_ext.modeling import classification_model


def build_classification_model(
  model_config: exp_cfg.ImageClassificationModel,
  l2_regularizer: tf_keras.regularizers.Regularizer | None = None,
  several_sizes: bool = False,
) -> classification_model.ClassificationModel:
  """Builds a classifier on any backbone that Garden's factory knows.

  Args:
    model_config: The model's configuration.
    l2_regularizer: Regulariser of all kernels.
    several_sizes: Whether it takes images of other heights and widths, too.
  """
  shape: list[int | None] = [None, *model_config.input_size]
  if several_sizes:
    shape[1:3] = None, None
  input_specs = tf_keras.layers.InputSpec(shape=shape)
  backbone = factory.build_backbone(
    input_specs=input_specs,
    backbone_config=model_config.backbone,
    norm_activation_config=model_config.norm_activation,
    l2_regularizer=l2_regularizer,
  )
  return classification_model.ClassificationModel(
    backbone=backbone,
    num_classes=model_config.num_classes,
    input_specs=input_specs,
    kernel_regularizer=l2_regularizer,
    **model_config.head.as_dict(),
  )
