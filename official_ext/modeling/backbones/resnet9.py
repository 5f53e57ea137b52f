"""The nine-layer ResNet of davidcpage/cifar10-fast as a Garden backbone.

The network won the CIFAR-10 round of DAWNBench in 2018: `dawn.py` of
https://github.com/davidcpage/cifar10-fast, described in
https://myrtle.ai/learn/how-to-train-your-resnet-4-architecture/. Its options
are those of the ten-epoch recipe, `new_dawn.py` there, described in
https://myrtle.ai/learn/how-to-train-your-resnet-8-bag-of-tricks/.
"""

import dataclasses

import tensorflow as tf
import tf_keras
from official.vision.modeling.backbones import factory

from official_ext.configs.backbones import Backbone, Network
from official_ext.configs.image_classification import (
  KERNEL_INITIALIZER,
  NormActivation,
)
from official_ext.errors import UserError
from official_ext.modeling.backbones import levels
from official_ext.modeling.layers.max_pool import MaxPool2D
from official_ext.modeling.layers.norm_activation import (
  norm_activation_layers,
)
from official_ext.modeling.layers.small_map_conv import SmallMapConv2D
from official_ext.modeling.layers.whitened_conv import WhitenedConv2D
from official_ext.ops import activations
from official_ext.schema import fields, parts
from official_ext.schema.fields import Tie

layers = tf_keras.layers

# What the first layer can be, by its name in a config.
FIRST_LAYERS = {'conv': SmallMapConv2D, 'whitening': WhitenedConv2D}


@parts.kind(Backbone, 'resnet9')
@dataclasses.dataclass
class ResNet9Config(Network):
  """Options of `ResNet9`.

  Attributes:
    channels: Filters of the layers prep, layer1, layer2 and layer3.
    kernel_initializer: Initialiser of the convolutions' kernels:
      'torch_uniform', PyTorch's default, 'dirac' for filters that hand their
      input on, or a name of Keras.
    first_layer: 'conv', or 'whitening' for a convolution over 3×3 patches that
      are decorrelated by filters computed from the training images.
    pool_before_norm: Whether layers 1 to 3 are pooled before their batch norm,
      which then sees the maxima only, and a quarter of the work.
    norm_group_size: Images that batch norm normalises together in training; 0
      for the whole batch of a replica.
    norm_scale: Whether batch norm's scale is trained; otherwise it stays 1.
  """

  channels: list[int] = fields.field(
    [64, 128, 256, 512],
    fields.Rule(
      lambda v: len(v) == 4 and min(v) >= 1, 'four numbers of at least 1'
    ),
  )
  kernel_initializer: str = fields.field(
    'torch_uniform', KERNEL_INITIALIZER, tied_to=Tie.RUN
  )
  first_layer: str = fields.field('conv', fields.one_of(*FIRST_LAYERS))
  pool_before_norm: bool = False
  norm_group_size: int = fields.field(0, fields.AT_LEAST_0, tied_to=Tie.RUN)
  norm_scale: bool = True

  last_level = 3  # Its feature maps are halved three times.

  @property
  def needs_filters(self) -> bool:
    """Whether the first layer whitens patches."""
    return self.first_layer == 'whitening'

  def check_batch(
    self, place: str, batch_size: int, num_replicas: int, use_sync_bn: bool
  ) -> None:
    """Raises where batch norm's groups do not divide the batch."""
    size = self.norm_group_size
    if size and use_sync_bn:
      raise UserError(
        f'{place}norm_group_size={size} and '
        'task.model.norm_activation.use_sync_bn=True exclude each other; '
        'choose one.'
      )
    if size and batch_size % (size * num_replicas):
      raise UserError(
        f'{place}norm_group_size={size} does not divide the batch of '
        f'{batch_size} images on {num_replicas} device(s); use a divisor.'
      )


@tf_keras.utils.register_keras_serializable(package='official_ext')
class ResNet9(levels.LevelsBackbone):
  """ResNet9 up to, and without, the classifier's pooling.

  Input: `[batch, height, width, channels]`, normalised. Output: a dict of
  feature maps by level, each half the size of the one before: '1' after layer1
  and its residual, '2' after layer2, '3' after layer3 and its residual.
  """

  config_class = ResNet9Config

  @staticmethod
  def endpoints(
    inputs: tf.Tensor,
    config: ResNet9Config,
    norm: NormActivation,
    kernel_regularizer: tf_keras.regularizers.Regularizer | None,
  ) -> dict[str, tf.Tensor]:
    """Applies the layers; see `LevelsBackbone`."""
    pool_at = 0 if config.pool_before_norm else _pool_at(norm.activation)

    def conv_bn(
      x: tf.Tensor,
      filters: int,
      name: str,
      pool: bool = False,
      conv: type[tf_keras.layers.Conv2D] = SmallMapConv2D,
    ) -> tf.Tensor:
      x = levels.conv3x3(
        filters, config.kernel_initializer, kernel_regularizer, name, conv
      )(x)
      steps = norm_activation_layers(
        norm, config.norm_scale, config.norm_group_size, f'{name}_bn'
      )
      if pool:
        steps.insert(pool_at, MaxPool2D(2, name=f'{name}_pool'))
      for step in steps:
        x = step(x)
      return x

    def residual(x: tf.Tensor, name: str) -> tf.Tensor:
      y = conv_bn(x, x.shape[-1], f'{name}_res1')
      y = conv_bn(y, x.shape[-1], f'{name}_res2')
      return layers.Add(name=f'{name}_add')([x, y])

    first_layer = FIRST_LAYERS[config.first_layer]
    prep, layer1, layer2, layer3 = config.channels
    x = conv_bn(inputs, prep, 'prep', conv=first_layer)
    x = conv_bn(x, layer1, 'layer1', pool=True)
    x = level1 = residual(x, 'layer1')
    x = level2 = conv_bn(x, layer2, 'layer2', pool=True)
    x = conv_bn(x, layer3, 'layer3', pool=True)
    level3 = residual(x, 'layer3')
    return {'1': level1, '2': level2, '3': level3}


def _pool_at(activation: str) -> int:
  """Returns the place of the pooling among batch norm and activation.

  A function that does not decrease commutes with a maximum, and after the
  pooling there is a quarter of it to do: the same numbers in less time.
  """
  return 1 if activation in activations.NON_DECREASING else 2


factory.register_backbone_builder('resnet9')(levels.builder(ResNet9))
