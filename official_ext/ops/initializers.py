"""Kernel initialisers by name."""

import math
from typing import Any

import tensorflow as tf
import tf_keras


def _torch_uniform() -> tf_keras.initializers.Initializer:
  """Returns PyTorch's default of convolution and dense kernels.

  Uniform in ±1/√fan_in: `kaiming_uniform_` with a = √5 in
  `torch.nn.modules.conv._ConvNd.reset_parameters`. Its gain √(2 / (1 + 5))
  makes the bound √3 · √(1/3) / √fan_in; Keras' `he_uniform` is √6 times wider.
  """
  return tf_keras.initializers.VarianceScaling(
    scale=1 / 3, mode='fan_in', distribution='uniform'
  )


def torch_bias(fan_in: int) -> tf_keras.initializers.Initializer:
  """Returns PyTorch's default of biases: as the kernel, ±1/√fan_in.

  Args:
    fan_in: Weights of a filter, which the shape of a bias does not tell.
  """
  bound = 1 / math.sqrt(fan_in)
  return tf_keras.initializers.RandomUniform(-bound, bound)


@tf_keras.utils.register_keras_serializable(package='official_ext')
class Dirac(tf_keras.initializers.Initializer):
  """Filters that hand their input on, as many as there are channels of it.

  Filter i is 1 at the centre of channel i and 0 elsewhere, as PyTorch's
  `torch.nn.init.dirac_` has it; filters beyond the channels are PyTorch's
  default. So a deep network begins with what it reads at its end, in airbench
  (https://arxiv.org/abs/2404.00498, section 3.3).
  """

  def __call__(
    self, shape: Any, dtype: Any = tf.float32, **kwargs: Any
  ) -> tf.Tensor:
    """Returns a kernel `[height, width, channels, filters]`."""
    kernel = _torch_uniform()(shape, dtype, **kwargs)
    *window, channels, filters = shape
    count = min(channels, filters)
    # The one to the right of the middle of an even side, as in PyTorch.
    centre = sum(
      side // 2 * math.prod(window[axis + 1 :])
      for axis, side in enumerate(window)
    )
    identity = tf.eye(channels, count, dtype=kernel.dtype)[tf.newaxis]
    before, behind = centre, math.prod(window) - 1 - centre
    identity = tf.pad(identity, [[before, behind], [0, 0], [0, 0]])
    identity = tf.reshape(identity, [*window, channels, count])
    return tf.concat([identity, kernel[..., count:]], axis=-1)


@tf_keras.utils.register_keras_serializable(package='official_ext')
class TorchUniformUnitStd(tf_keras.initializers.Initializer):
  """PyTorch's default, divided by the standard deviation of what was drawn.

  The deviation is the unbiased one, about the mean, as of `torch.std`. Of
  airbench's dense kernel (`airbench94_muon.py` of
  https://github.com/KellerJordan/cifar10-airbench).
  """

  def __call__(
    self, shape: Any, dtype: Any = tf.float32, **kwargs: Any
  ) -> tf.Tensor:
    """Returns a kernel of at least two weights."""
    kernel = _torch_uniform()(shape, dtype, **kwargs)
    count = math.prod(shape)
    std = tf.math.reduce_std(kernel) * math.sqrt(count / (count - 1))
    return kernel / std


_BY_NAME = {
  'torch_uniform': _torch_uniform,
  'torch_uniform_unit_std': TorchUniformUnitStd,
  'dirac': Dirac,
}
NAMES = tuple(_BY_NAME)


def get(name: str) -> tf_keras.initializers.Initializer:
  """Returns a new kernel initialiser.

  Args:
    name: `torch_uniform` for PyTorch's default of convolution and dense
      kernels, `torch_uniform_unit_std` for the same with a standard deviation
      of 1, `dirac` for filters that hand their input on. Any other name is
      looked up in `tf_keras.initializers`.

  Raises:
    ValueError: If nothing has that name.
  """
  if name in _BY_NAME:
    return _BY_NAME[name]()
  return tf_keras.initializers.get(name)


def is_known(name: str) -> bool:
  """Whether `get` has an initialiser of that name."""
  try:
    get(name)
  except ValueError:
    return False
  return True
