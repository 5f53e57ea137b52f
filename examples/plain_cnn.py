"""A network of one's own for `small_images`: all of it is in this file.

Two convolutions and a pool a level, with batch norm: small, and no more than an
example. `examples/plain_cnn.gin` trains it::

  python -m official_ext.train --gin_file examples/plain_cnn.gin
"""

import dataclasses

import tf_keras
from official.modeling import tf_utils
from official.vision.modeling.backbones import factory

from official_ext.configs.backbones import Backbone, Network
from official_ext.schema import fields, parts

layers = tf_keras.layers


@parts.kind(Backbone, 'plain_cnn')  # Its part, @plain_cnn() in gin.
@dataclasses.dataclass
class PlainCnnConfig(Network):
  """Options of `PlainCnn`.

  Attributes:
    filters: Filters of the first level; each further one has twice as many.
    kernel_size: Side of the convolutions' kernels, in pixels.
  """

  filters: int = fields.field(16, fields.AT_LEAST_1)
  kernel_size: int = fields.field(3, fields.one_of(1, 3, 5))

  last_level = 2


class PlainCnn(tf_keras.Model):
  """Two levels of two convolutions; endpoints '1' and '2', by their stride."""

  def __init__(self, input_specs, config, norm, kernel_regularizer=None):
    """Builds the network."""

    def convolve(x, filters):
      x = layers.Conv2D(
        filters,
        config.kernel_size,
        padding='same',
        use_bias=False,
        kernel_regularizer=kernel_regularizer,
      )(x)
      x = layers.BatchNormalization(
        momentum=norm.norm_momentum, epsilon=norm.norm_epsilon
      )(x)
      return tf_utils.get_activation(norm.activation, use_keras_layer=True)(x)

    x = inputs = tf_keras.Input(shape=input_specs.shape[1:])
    endpoints = {}
    for level in range(1, config.last_level + 1):
      x = convolve(x, config.filters * 2 ** (level - 1))
      x = convolve(x, config.filters * 2 ** (level - 1))
      x = endpoints[str(level)] = layers.MaxPooling2D(2)(x)
    super().__init__(inputs=inputs, outputs=endpoints)
    # Garden's decoders ask for it.
    self.output_specs = {level: x.shape for level, x in endpoints.items()}


@factory.register_backbone_builder('plain_cnn')
def build_plain_cnn(
  input_specs, backbone_config, norm_activation_config, l2_regularizer=None
):
  """Builds the backbone, as Garden's backbone factory asks."""
  return PlainCnn(
    input_specs, backbone_config.get(), norm_activation_config, l2_regularizer
  )
