"""The networks of KellerJordan/cifar10-airbench as a Garden backbone.

By default that of `airbench94_muon.py`, with options for that of
`legacy/airbench96.py`: https://github.com/KellerJordan/cifar10-airbench,
described in https://arxiv.org/abs/2404.00498.
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
from official_ext.modeling.layers.fixed_whitening import FixedWhitening2D
from official_ext.modeling.layers.max_pool import MaxPool2D
from official_ext.modeling.layers.norm_activation import (
  activation_layer,
  norm_layer,
)
from official_ext.ops import initializers
from official_ext.schema import fields, parts
from official_ext.schema.fields import Tie

layers = tf_keras.layers


@parts.kind(Backbone, 'airbench')
@dataclasses.dataclass
class AirbenchConfig(Network):
  """Options of `Airbench`.

  Attributes:
    channels: Filters of the convolutions of each of the three groups;
      airbench96 has 128, 384 and 512.
    depth: Convolutions of a group; airbench96 has 3.
    residual: Whether what a group's first convolution gives is added to what
      its last one does, before the last activation; airbench96 does so.
    kernel_initializer: Initialiser of the 3×3 kernels: 'dirac' for filters that
      hand their input on, 'torch_uniform', or a name of Keras.
    whitening_size: Height and width of the patches that the first layer
      decorrelates by fixed filters, computed from the training images.
    whitening_padding: 'valid', which takes `whitening_size` − 1 pixels off
      height and width, or 'same', for tasks whose decoders need levels of half
      the size each.
    whitening_epsilon: Added to the variances that the filters bring to 1.
    whitening_images: How many training images the filters are computed from.
    whitening_bias: How the trained bias behind the filters begins:
      'torch_uniform', PyTorch's default of a bias, or 'zeros' as in airbench96.
  """

  channels: list[int] = fields.field(
    [64, 256, 256],
    fields.Rule(
      lambda v: len(v) == 3 and min(v) >= 1, 'three numbers of at least 1'
    ),
  )
  depth: int = fields.field(2, fields.AT_LEAST_1)
  residual: bool = False
  kernel_initializer: str = fields.field(
    'dirac', KERNEL_INITIALIZER, tied_to=Tie.RUN
  )
  whitening_size: int = fields.field(2, fields.AT_LEAST_1)
  whitening_padding: str = fields.field('valid', fields.one_of('valid', 'same'))
  whitening_epsilon: float = fields.field(5e-4, fields.ABOVE_0, tied_to=Tie.RUN)
  whitening_images: int = fields.field(
    5_000, fields.AT_LEAST_1, tied_to=Tie.RUN
  )
  whitening_bias: str = fields.field(
    'torch_uniform', fields.one_of('torch_uniform', 'zeros'), tied_to=Tie.RUN
  )

  last_level = 3  # Each of the three groups halves its maps.

  @property
  def needs_filters(self) -> bool:
    """The first layer whitens patches."""
    return True

  @property
  def least_side(self) -> int:
    """Pixels a side for the last map to have one."""
    return super().least_side + self._cut

  @property
  def _cut(self) -> int:
    return self.whitening_size - 1 if self.whitening_padding == 'valid' else 0

  def check_pyramid(self, place: str) -> None:
    """Raises where whitening cuts off what makes the sizes even."""
    if self._cut:
      raise UserError(
        f'{place}whitening_padding={self.whitening_padding!r} leaves levels '
        'that are not half the size of the one before, which the decoder '
        "needs; use 'same'."
      )

  def check_together(self, place: str) -> None:
    """Raises where a sum would have one and the same map twice."""
    if self.residual and self.depth == 1:
      raise UserError(
        f'{place}residual=True needs a convolution behind the first, but '
        f'{place}depth=1; use at least 2.'
      )


@tf_keras.utils.register_keras_serializable(package='official_ext')
class Airbench(levels.LevelsBackbone):
  """Airbench's network up to, and without, the classifier's pooling.

  Input: `[batch, height, width, channels]`, normalised. Output: a dict of
  feature maps by level, '1' to '3' after the three groups. Each is half the
  size of the one before, rounded down: 15×15, 7×7 and 3×3 of images of 32×32,
  of which the whitening leaves 31×31.
  """

  config_class = AirbenchConfig

  @staticmethod
  def endpoints(
    inputs: tf.Tensor,
    config: AirbenchConfig,
    norm: NormActivation,
    kernel_regularizer: tf_keras.regularizers.Regularizer | None,
  ) -> dict[str, tf.Tensor]:
    """Applies the layers; see `LevelsBackbone`."""

    def conv_bn(
      x: tf.Tensor, filters: int, name: str, pool: bool = False
    ) -> tf.Tensor:
      x = levels.conv3x3(
        filters, config.kernel_initializer, kernel_regularizer, name
      )(x)
      if pool:
        x = MaxPool2D(2, name=f'{name}_pool')(x)
      return norm_layer(norm, scale=False, name=f'{name}_bn')(x)

    def group(x: tf.Tensor, filters: int, name: str) -> tf.Tensor:
      x = conv_bn(x, filters, f'{name}_1', pool=True)
      x = first = activation_layer(norm)(x)
      for place in range(2, config.depth + 1):
        x = conv_bn(x, filters, f'{name}_{place}')
        if config.residual and place == config.depth:
          x = layers.Add(name=f'{name}_add')([first, x])
        x = activation_layer(norm)(x)
      return x

    x = _whitening(config, inputs.shape[-1])(inputs)
    x = activation_layer(norm)(x)
    endpoints = {}
    for level, filters in enumerate(config.channels, 1):
      x = endpoints[str(level)] = group(x, filters, f'group{level}')
    return endpoints


def _whitening(config: AirbenchConfig, channels: int) -> FixedWhitening2D:
  """Returns the first layer."""
  bias = initializers.torch_bias(config.whitening_size**2 * channels)
  return FixedWhitening2D(
    config.whitening_size,
    epsilon=config.whitening_epsilon,
    num_images=config.whitening_images,
    padding=config.whitening_padding,
    bias_initializer=bias if config.whitening_bias != 'zeros' else 'zeros',
    name='whitening',
  )


factory.register_backbone_builder('airbench')(levels.builder(Airbench))
