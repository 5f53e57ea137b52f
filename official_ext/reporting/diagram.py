"""A network as a column of blocks, for a page to draw."""

import dataclasses

import tensorflow as tf
import tf_keras

from official_ext.modeling.layers import (
  fixed_whitening,
  ghost_batch_norm,
  whitened_conv,
)

layers = tf_keras.layers


@dataclasses.dataclass
class Block:
  """Layers that follow one another, begun by one with weights or a merge.

  A normalisation goes with what it normalises.

  Attributes:
    name: Of the first layer.
    words: What each layer is.
    shape: Of the last layer's output, without the batch.
    num_parameters: Trainable and other.
    inputs: Places in the column of the blocks that it reads.
  """

  name: str
  words: list[str]
  shape: str
  num_parameters: int
  inputs: list[int]


def blocks(model: tf_keras.Model) -> list[Block]:
  """Returns the blocks of a classifier, its backbone's first.

  Args:
    model: A `ClassificationModel`.
  """
  head = [x for x in model.layers if x is not model.backbone][1:]
  column: list[Block] = []
  # The block that a layer is in, and the layers that read it.
  place: dict[str, int] = {}
  sources = {x.name: _inputs(x, model.backbone) for x in model.backbone.layers}
  sources |= {x.name: _inputs(x, model.backbone) for x in head}
  readers = [name for inputs in sources.values() for name in inputs]
  for layer in [*model.backbone.layers, *head]:
    inputs = sources[layer.name]
    alone = len(inputs) == 1 and readers.count(inputs[0]) == 1
    follows = alone and place[inputs[0]] == len(column) - 1
    is_small = not layer.weights or 'Normalization' in type(layer).__name__
    if follows and is_small:
      column[-1].words.append(_words(layer))
    else:
      froms = [place[name] for name in inputs]
      column.append(Block(layer.name, [_words(layer)], '', 0, froms))
    place[layer.name] = len(column) - 1
    column[-1].shape = _shape(layer)
    column[-1].num_parameters += layer.count_params()
  return column


def _inputs(
  layer: tf_keras.layers.Layer, backbone: tf_keras.Model
) -> list[str]:
  """Returns the layers that a layer reads; none if it is not in a graph."""
  found = []
  for node in layer.inbound_nodes[:1]:
    for tensor in node.keras_inputs:
      source = tensor.node.layer
      if source is backbone:
        index = tensor._keras_history.tensor_index
        source = backbone.outputs[index].node.layer
      found.append(source.name)
  return [name for name in found if name != layer.name]


def _shape(layer: tf_keras.layers.Layer) -> str:
  shape = tf.nest.flatten(layer.get_output_at(0))[0].shape
  return '×'.join(map(str, shape[1:]))


def _words(layer: tf_keras.layers.Layer) -> str:
  """Returns what a layer is, in a word or two."""
  match layer:
    case layers.InputLayer():
      return 'normalised images'
    case whitened_conv.WhitenedConv2D():
      return f'whitening, conv {_size(layer.kernel_size)}, {layer.filters}'
    case fixed_whitening.FixedWhitening2D():
      return f'whitening {_size(layer.kernel_size)}, {layer.filters}, fixed'
    case layers.Conv2D():
      return f'conv {_size(layer.kernel_size)}, {layer.filters}'
    case ghost_batch_norm.GhostBatchNormalization():
      words = f'batch norm of {layer.group_size} images'
      fused = layer.activation
      return words if fused == 'linear' else f'{words}, {fused}'
    case layers.BatchNormalization():
      return 'batch norm'
    case layers.Activation():
      # Of some names Garden makes a function with its arguments.
      function = getattr(layer.activation, 'func', layer.activation)
      return function.__name__
    case layers.MaxPooling2D():
      return f'max pool {_size(layer.pool_size)}'
    case layers.AveragePooling2D():
      return f'average pool {_size(layer.pool_size)}'
    case layers.Dense():
      return f'dense, {layer.units}'
    case layers.Rescaling():
      return f'× {layer.scale}'
  return type(layer).__name__.lower()


def _size(size: tuple[int, int]) -> str:
  return f'{size[0]}×{size[1]}'
