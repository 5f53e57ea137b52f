"""Batch norm and the activation behind it, as a config has them."""

import tf_keras

from official_ext.configs.image_classification import NormActivation
from official_ext.modeling.layers import batch_norm
from official_ext.modeling.layers.ghost_batch_norm import (
  GhostBatchNormalization,
)
from official_ext.ops import activations

layers = tf_keras.layers

# A smaller one Keras' layer takes for about this one.
_KERAS_LEAST_EPSILON = 1e-5


def norm_layer(
  norm: NormActivation, scale: bool, name: str
) -> tf_keras.layers.Layer:
  """Returns batch norm over the batch of a replica, or of all of them.

  Args:
    norm: How it normalises.
    scale: Whether its scale is trained; otherwise it stays 1.
    name: Of the layer.
  """
  options = _options(norm, scale, name)
  if norm.norm_epsilon < _KERAS_LEAST_EPSILON:
    return batch_norm.BatchNormalization(**options)
  return layers.BatchNormalization(**options)


def activation_layer(norm: NormActivation) -> tf_keras.layers.Layer:
  """Returns the activation."""
  return activations.layer(norm.activation)


def norm_activation_layers(
  norm: NormActivation, scale: bool, group_size: int, name: str
) -> list[tf_keras.layers.Layer]:
  """Returns batch norm and activation, as two layers or as one.

  Args:
    norm: How it normalises, and the activation.
    scale: Whether batch norm's scale is trained; otherwise it stays 1.
    group_size: Images that are normalised together; 0 for all of them, in two
      layers.
    name: Of batch norm.
  """
  if not group_size:
    return [norm_layer(norm, scale, name), activation_layer(norm)]
  options = _options(norm, scale, name)
  return [
    GhostBatchNormalization(group_size, activation=norm.activation, **options)
  ]


def _options(norm: NormActivation, scale: bool, name: str) -> dict[str, object]:
  return {
    'momentum': norm.norm_momentum,
    'epsilon': norm.norm_epsilon,
    'scale': scale,
    'synchronized': norm.use_sync_bn,
    'name': name,
  }
