"""What this package's backbones have in common, as Garden asks it of them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
import tf_keras
from official.modeling import hyperparams

from official_ext.configs.backbones import Network
from official_ext.configs.image_classification import NormActivation
from official_ext.modeling.layers.small_map_conv import SmallMapConv2D
from official_ext.ops import initializers


class LevelsBackbone(tf_keras.Model):
  """A network from images to feature maps by level.

  A subclass says which class its config is, and applies its layers.

  Attributes:
    config_class: Of the config of its options.
  """

  config_class: type[Network]

  def __init__(
    self,
    input_specs: tf_keras.layers.InputSpec | None = None,
    kernel_regularizer: tf_keras.regularizers.Regularizer | None = None,
    name: str | None = None,
    **options: Any,
  ):
    """Builds the network.

    Args:
      input_specs: Shape of the input; 32×32 RGB images by default.
      kernel_regularizer: Regulariser of the convolutions' kernels.
      name: Of the model.
      **options: Fields of the config, and of `NormActivation` for what follows
        each convolution.
    """
    self._options = options | {'kernel_regularizer': kernel_regularizer}
    own = {f.name for f in dataclasses.fields(self.config_class)}
    config = self.config_class(**{k: options[k] for k in own & options.keys()})
    norm = NormActivation(**{k: options[k] for k in options.keys() - own})
    shape = input_specs.shape[1:] if input_specs else (32, 32, 3)
    inputs = tf_keras.Input(shape=shape)
    endpoints = self.endpoints(inputs, config, norm, kernel_regularizer)
    self._output_specs = {level: x.shape for level, x in endpoints.items()}
    super().__init__(inputs=inputs, outputs=endpoints, name=name)

  @staticmethod
  def endpoints(
    inputs: tf.Tensor,
    config: Any,
    norm: NormActivation,
    kernel_regularizer: tf_keras.regularizers.Regularizer | None,
  ) -> dict[str, tf.Tensor]:
    """Applies the layers.

    Args:
      inputs: `[batch, height, width, channels]`, normalised images.
      config: Of `config_class`.
      norm: What follows each convolution.
      kernel_regularizer: Regulariser of the convolutions' kernels.

    Returns:
      Feature maps by level, '1', '2' and so on.
    """
    raise NotImplementedError

  def get_config(self) -> dict[str, Any]:
    """Returns the constructor's arguments, as Garden's but `input_specs`."""
    # Keras puts lists into classes of its own, which a config cannot copy.
    return {
      key: list(value) if isinstance(value, list) else value
      for key, value in self._options.items()
    }

  @classmethod
  def from_config(
    cls, config: dict[str, Any], custom_objects: Any = None
  ) -> 'LevelsBackbone':
    """Builds a network from what `get_config` returned."""
    del custom_objects
    return cls(**config)

  @property
  def output_specs(self) -> Mapping[str, tf.TensorShape]:
    """Shape of each endpoint, by level."""
    return self._output_specs


def conv3x3(
  filters: int,
  kernel_initializer: str,
  kernel_regularizer: tf_keras.regularizers.Regularizer | None,
  name: str,
  layer: type[tf_keras.layers.Conv2D] = SmallMapConv2D,
) -> tf_keras.layers.Layer:
  """Returns the convolution that batch norm follows: as wide, without bias.

  Args:
    filters: Channels of its output.
    kernel_initializer: A name, as in configs.
    kernel_regularizer: Of the kernel.
    name: Of what it is a part of.
    layer: Its class.
  """
  return layer(
    filters,
    kernel_size=3,
    padding='same',
    use_bias=False,
    kernel_initializer=initializers.get(kernel_initializer),
    kernel_regularizer=kernel_regularizer,
    name=f'{name}_conv',
  )


def builder(
  network: type[LevelsBackbone],
) -> Callable[..., tf_keras.Model]:
  """Returns what builds a network from a config, for Garden's factory."""

  def build(
    input_specs: tf_keras.layers.InputSpec,
    backbone_config: hyperparams.OneOfConfig,
    norm_activation_config: hyperparams.Config,
    l2_regularizer: tf_keras.regularizers.Regularizer | None = None,
  ) -> tf_keras.Model:
    return network(
      input_specs=input_specs,
      kernel_regularizer=l2_regularizer,
      **backbone_config.get().as_dict(),
      **norm_activation_config.as_dict(),
    )

  return build
