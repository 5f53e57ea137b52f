"""The nine-layer ResNet of davidcpage/cifar10-fast as a Garden backbone.

The network won the CIFAR-10 round of DAWNBench in 2018: `dawn.py` of
https://github.com/davidcpage/cifar10-fast, described in
https://myrtle.ai/learn/how-to-train-your-resnet-4-architecture/. Its options
are those of the ten-epoch recipe, `new_dawn.py` there, described in
https://myrtle.ai/learn/how-to-train-your-resnet-8-bag-of-tricks/.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
import tf_keras
from official.modeling import hyperparams, tf_utils
from official.vision.modeling.backbones import factory

from official_ext.modeling import (
  activations,  # noqa: F401
  initializers,
)
from official_ext.modeling.layers import (
  ghost_batch_norm,
  small_map_conv,
  whitened_conv,
)

layers = tf_keras.layers

_NON_DECREASING = frozenset(
  {
    'celu',
    'elu',
    'leaky_relu',
    'linear',
    'relu',
    'relu6',
    'selu',
    'sigmoid',
    'tanh',
  }
)

# What the first layer can be, by its name in a config.
FIRST_LAYERS = {
  'conv': small_map_conv.SmallMapConv2D,
  'whitening': whitened_conv.WhitenedConv2D,
}


@tf_keras.utils.register_keras_serializable(package='official_ext')
class ResNet9(tf_keras.Model):
  """ResNet9 up to, and without, the classifier's pooling.

  Input: `[batch, height, width, channels]`, normalised. Output: a dict of
  feature maps by level, each half the size of the one before: '1' after layer1
  and its residual, '2' after layer2, '3' after layer3 and its residual.
  """

  def __init__(
    self,
    input_specs: tf_keras.layers.InputSpec | None = None,
    channels: Sequence[int] = (64, 128, 256, 512),
    activation: str = 'relu',
    kernel_initializer: str = 'torch_uniform',
    kernel_regularizer: tf_keras.regularizers.Regularizer | None = None,
    use_sync_bn: bool = False,
    norm_momentum: float = 0.9,
    norm_epsilon: float = 1e-5,
    first_layer: str = 'conv',
    pool_before_norm: bool = False,
    norm_group_size: int = 0,
    norm_scale: bool = True,
    **kwargs: Any,
  ):
    """Builds the network.

    Args:
      input_specs: Shape of the input; 32×32 RGB images by default.
      channels: Filters of prep, layer1, layer2 and layer3.
      activation: Activation after each batch normalisation.
      kernel_initializer: See `official_ext.modeling.initializers`.
      kernel_regularizer: Regulariser of the convolutions' kernels.
      use_sync_bn: Whether batch statistics span all replicas.
      norm_momentum: Share of the old value in the moving statistics: 0.9 is
        PyTorch's default, which it calls momentum 0.1.
      norm_epsilon: Added to the variance; PyTorch's default.
      first_layer: 'conv', or 'whitening' for a convolution over whitened
        patches; see `whitened_conv` and `ops.whitening`.
      pool_before_norm: Whether layers 1 to 3 are pooled before their batch
        norm, which then sees the maxima only, and a quarter of the work.
      norm_group_size: Images that are normalised together in training; 0 for
        the whole batch. See `ghost_batch_norm`.
      norm_scale: Whether batch norm's scale is trained; otherwise it stays 1.
      **kwargs: Passed to `tf_keras.Model`.
    """
    input_specs = input_specs or layers.InputSpec(shape=[None, 32, 32, 3])
    self._config_dict = {
      'channels': list(channels),
      'activation': activation,
      'kernel_initializer': kernel_initializer,
      'kernel_regularizer': kernel_regularizer,
      'use_sync_bn': use_sync_bn,
      'norm_momentum': norm_momentum,
      'norm_epsilon': norm_epsilon,
      'first_layer': first_layer,
      'pool_before_norm': pool_before_norm,
      'norm_group_size': norm_group_size,
      'norm_scale': norm_scale,
    }

    norm_kwargs: dict[str, Any] = {
      'momentum': norm_momentum,
      'epsilon': norm_epsilon,
      'scale': norm_scale,
      'synchronized': use_sync_bn,
    }
    if norm_group_size:
      norm = functools.partial(
        ghost_batch_norm.GhostBatchNormalization, norm_group_size, **norm_kwargs
      )
    else:
      norm = functools.partial(layers.BatchNormalization, **norm_kwargs)
    # A function that does not decrease commutes with a maximum, and after the
    # pooling there is a quarter of it to do: the same numbers in less time.
    pool_at = 2 if activation not in _NON_DECREASING else 1
    if pool_before_norm:
      pool_at = 0

    def conv_bn(
      x: tf.Tensor,
      filters: int,
      name: str,
      pool: bool = False,
      conv: type[tf_keras.layers.Conv2D] = small_map_conv.SmallMapConv2D,
    ) -> tf.Tensor:
      x = conv(
        filters,
        kernel_size=3,
        padding='same',
        use_bias=False,
        kernel_initializer=initializers.get(kernel_initializer),
        kernel_regularizer=kernel_regularizer,
        name=f'{name}_conv',
      )(x)
      if norm_group_size and not (pool and pool_at == 1):
        steps = [norm(activation=activation, name=f'{name}_bn')]
      else:
        steps = [
          norm(name=f'{name}_bn'),
          tf_utils.get_activation(activation, use_keras_layer=True),
        ]
      if pool:
        max_pool = layers.MaxPooling2D(pool_size=2, name=f'{name}_pool')
        steps.insert(pool_at, max_pool)
      for step in steps:
        x = step(x)
      return x

    def residual(x: tf.Tensor, name: str) -> tf.Tensor:
      filters = x.shape[-1]
      y = conv_bn(x, filters, f'{name}_res1')
      y = conv_bn(y, filters, f'{name}_res2')
      return layers.Add(name=f'{name}_add')([x, y])

    prep, layer1, layer2, layer3 = channels
    inputs = tf_keras.Input(shape=input_specs.shape[1:])
    x = conv_bn(inputs, prep, 'prep', conv=FIRST_LAYERS[first_layer])
    x = conv_bn(x, layer1, 'layer1', pool=True)
    x = level1 = residual(x, 'layer1')
    x = level2 = conv_bn(x, layer2, 'layer2', pool=True)
    x = conv_bn(x, layer3, 'layer3', pool=True)
    level3 = residual(x, 'layer3')

    endpoints = {'1': level1, '2': level2, '3': level3}
    self._output_specs = {level: x.shape for level, x in endpoints.items()}
    super().__init__(inputs=inputs, outputs=endpoints, **kwargs)

  def get_config(self) -> dict[str, Any]:
    """Returns the constructor's arguments, as Garden's but `input_specs`."""
    return self._config_dict

  @classmethod
  def from_config(
    cls, config: dict[str, Any], custom_objects: Any = None
  ) -> 'ResNet9':
    """Builds a network from what `get_config` returned."""
    del custom_objects
    return cls(**config)

  @property
  def output_specs(self) -> Mapping[str, tf.TensorShape]:
    """Shape of each endpoint, by level."""
    return self._output_specs


@factory.register_backbone_builder('resnet9')
def build_resnet9(
  input_specs: tf_keras.layers.InputSpec,
  backbone_config: hyperparams.Config,
  norm_activation_config: hyperparams.Config,
  l2_regularizer: tf_keras.regularizers.Regularizer | None = None,
) -> tf_keras.Model:
  """Builds the backbone from a config, as Garden's backbone factory asks."""
  config = backbone_config.get()
  return ResNet9(
    input_specs=input_specs,
    channels=config.channels,
    activation=norm_activation_config.activation,
    kernel_initializer=config.kernel_initializer,
    kernel_regularizer=l2_regularizer,
    use_sync_bn=norm_activation_config.use_sync_bn,
    norm_momentum=norm_activation_config.norm_momentum,
    norm_epsilon=norm_activation_config.norm_epsilon,
    first_layer=config.first_layer,
    pool_before_norm=config.pool_before_norm,
    norm_group_size=config.norm_group_size,
    norm_scale=config.norm_scale,
  )
