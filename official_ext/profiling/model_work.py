"""What a model computes for an image, counted from its layers."""

import math
from collections.abc import Iterator

import tf_keras

_LAYERS = (tf_keras.layers.Conv2D, tf_keras.layers.Dense)


def why_not(model: tf_keras.Model) -> str | None:
  """Returns why the layers cannot be counted; None if they can.

  Those inside layers of Garden's do not know the size of their output.
  """
  for layer in _layers(model):
    if not hasattr(layer, 'output_shape'):
      return f'the size of the output of {layer.name} is not known'
  return None


def count_macs(model: tf_keras.Model) -> int:
  """Returns the multiply-adds of an image on its way forward.

  Those of convolutions and dense layers: all weights of the kernel at each
  position of the output. A step of training has three times as many, forward
  and for the gradients of inputs and kernels, and each is two operations.
  """
  return sum(
    math.prod(layer.kernel.shape) * math.prod(layer.output_shape[1:-1])
    for layer in _layers(model)
  )


def matrix_products(
  model: tf_keras.Model, batch_size: int
) -> list[tuple[int, int, int]]:
  """Returns each convolution as a matrix product, without repetitions.

  Returns:
    (rows, inner, columns): positions of the output in a batch, weights of a
    filter, filters.
  """
  shapes = []
  for layer in _layers(model):
    if isinstance(layer, tf_keras.layers.Conv2D):
      *inner, columns = layer.kernel.shape
      rows = batch_size * math.prod(layer.output_shape[1:-1])
      shapes.append((rows, math.prod(inner), columns))
  return list(dict.fromkeys(shapes))


def _layers(model: tf_keras.Model) -> Iterator[tf_keras.layers.Layer]:
  for layer in model.submodules:
    if isinstance(layer, _LAYERS):
      yield layer
