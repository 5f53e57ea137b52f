"""Kernel initialisers by name."""

import tf_keras


def get(name: str) -> tf_keras.initializers.Initializer:
  """Returns a new kernel initialiser.

  Args:
    name: `torch_uniform` for PyTorch's default of convolution and dense
      kernels, uniform in ±1/√fan_in: `kaiming_uniform_` with a = √5 in
      `torch.nn.modules.conv._ConvNd.reset_parameters`. Its gain √(2 / (1 + 5))
      makes the bound √3 · √(1/3) / √fan_in; Keras' `he_uniform` is √6 times
      wider. Any other name is looked up in `tf_keras.initializers`.

  Raises:
    ValueError: If nothing has that name.
  """
  if name == 'torch_uniform':
    return tf_keras.initializers.VarianceScaling(
      scale=1 / 3, mode='fan_in', distribution='uniform'
    )
  return tf_keras.initializers.get(name)


def is_known(name: str) -> bool:
  """Whether `get` has an initialiser of that name."""
  try:
    get(name)
  except ValueError:
    return False
  return True
