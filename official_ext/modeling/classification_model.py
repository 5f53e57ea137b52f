"""An image classifier with the head of cifar10-fast."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras

from official_ext.modeling.layers import global_pool
from official_ext.ops import initializers

layers = tf_keras.layers


@tf_keras.utils.register_keras_serializable(package='official_ext')
class ClassificationModel(tf_keras.Model):
  """A backbone, pooling over its last endpoint, a dense layer and a scale.

  Garden's `ClassificationModel` averages and adds a bias; the original takes
  the maximum, has no bias and multiplies the logits by 0.125, "a rough manual
  optimisation" that makes up for batch-norm scales that start at 1
  (https://myrtle.ai/learn/how-to-train-your-resnet-4-architecture/).

  Input: `[batch, height, width, channels]`, normalised. Output: float32 logits
  `[batch, num_classes]`.
  """

  def __init__(
    self,
    backbone: tf_keras.Model,
    num_classes: int,
    input_specs: tf_keras.layers.InputSpec | None = None,
    pooling: str = 'max',
    dropout_rate: float = 0.0,
    use_bias: bool = False,
    logit_scale: float = 0.125,
    kernel_initializer: str = 'torch_uniform',
    kernel_regularizer: tf_keras.regularizers.Regularizer | None = None,
    **kwargs: Any,
  ):
    """Builds the model.

    Args:
      backbone: A network whose outputs are feature maps by level.
      num_classes: Number of logits.
      input_specs: Shape of the input; 32×32 RGB images by default.
      pooling: 'max' or 'avg', over the whole of the last feature map.
      dropout_rate: Share of the pooled features dropped in training.
      use_bias: Whether the dense layer has a bias.
      logit_scale: Factor on the logits.
      kernel_initializer: See `official_ext.ops.initializers`.
      kernel_regularizer: Regulariser of the dense kernel.
      **kwargs: Passed to `tf_keras.Model`.
    """
    input_specs = input_specs or layers.InputSpec(shape=[None, 32, 32, 3])
    self._config_dict = {
      'backbone': backbone,
      'num_classes': num_classes,
      'input_specs': input_specs,
      'pooling': pooling,
      'dropout_rate': dropout_rate,
      'use_bias': use_bias,
      'logit_scale': logit_scale,
      'kernel_initializer': kernel_initializer,
      'kernel_regularizer': kernel_regularizer,
    }

    inputs = tf_keras.Input(shape=input_specs.shape[1:])
    endpoints = backbone(inputs)
    x = _global_pooling(pooling)(endpoints[max(endpoints)])
    x = layers.Flatten()(x)
    if dropout_rate:
      x = layers.Dropout(dropout_rate)(x)
    # float32 even under a mixed precision policy: the layer takes no time, and
    # eight bits of mantissa would round the logits.
    x = layers.Dense(
      num_classes,
      use_bias=use_bias,
      kernel_initializer=initializers.get(kernel_initializer),
      kernel_regularizer=kernel_regularizer,
      dtype='float32',
      name='linear',
    )(x)
    x = layers.Rescaling(logit_scale, dtype='float32', name='logits')(x)
    super().__init__(inputs=inputs, outputs=x, **kwargs)
    self._backbone = backbone

  @property
  def backbone(self) -> tf_keras.Model:
    """The network without the head."""
    return self._backbone

  @property
  def checkpoint_items(self) -> Mapping[str, tf_keras.Model]:
    """What to checkpoint under a name of its own, beside the whole model."""
    return {'backbone': self.backbone}

  def get_config(self) -> dict[str, Any]:
    """Returns the constructor's arguments."""
    return self._config_dict

  @classmethod
  def from_config(
    cls, config: dict[str, Any], custom_objects: Any = None
  ) -> 'ClassificationModel':
    """Builds a model from what `get_config` returned."""
    del custom_objects
    return cls(**config)


def _global_pooling(pooling: str) -> Any:
  """Returns a function that pools a feature map to `[batch, 1, 1, channels]`.

  Windowed pooling, not a reduction: where several values share the maximum,
  its gradient goes to one of them, as the original's does, while a reduction's
  is spread over all.
  """

  def apply(x: tf.Tensor) -> tf.Tensor:
    if None in x.shape[1:3]:  # Of a model for images of several sizes.
      return global_pool.GlobalPool2D(pooling, name='head_pool')(x)
    pool = global_pool.POOLS[pooling]
    return pool(pool_size=x.shape[1:3], name='head_pool')(x)

  return apply
