"""Whether a checkpoint's backbone fits the model that is to begin with it."""

import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
import tf_keras
from official.core import config_definitions as cfg
from official.vision.ops import preprocess_ops
from tensorflow.core.protobuf import trackable_object_graph_pb2

from official_ext.checkpoints import average, compatibility
from official_ext.configs import validation
from official_ext.errors import UserError
from official_ext.runs import recorded_config
from official_ext.runs.recorded_config import MISSING, look_up
from official_ext.schema import comparison
from official_ext.schema.fields import Tie

_CHECKPOINT_GRAPH = '_CHECKPOINTABLE_OBJECT_GRAPH'


def check(
  task: cfg.TaskConfig, model: tf_keras.Model, class_names: Sequence[str] = ()
) -> None:
  """Raises where `task.init_checkpoint` does not fit the model's backbone.

  Garden would stop in a trace at some of it, and pass over the rest: weights
  that the checkpoint alone has, and settings that are no weights. What the run
  of the checkpoint was trained with is read from its `params.yaml`, if that is
  there.

  Args:
    task: A task that begins with a checkpoint's backbone, or all of its model;
      any other passes.
    model: Its model.
    class_names: One for each label; none where they are not known.

  Raises:
    UserError: At the first setting, class, or else weight, that does not fit.
  """
  if not validation.begins_with_backbone(task):
    return
  path = task.init_checkpoint
  place = f"task.init_checkpoint='{path}'"
  file = tf.train.latest_checkpoint(path) if tf.io.gfile.isdir(path) else path
  folder = pathlib.Path(os.path.abspath(file)).parent
  of_run = recorded_config.read(folder)
  _check_average(place, folder, of_run)
  # `best` lies in a run's folder.
  trained = look_up(of_run or recorded_config.read(folder.parent), 'task')
  trained = trained if isinstance(trained, Mapping) else {}
  _check_settings(place, trained, task)
  _check_normalization(place, trained, task)
  if 'all' in task.init_checkpoint_modules:
    _check_classes(place, folder, class_names)
  _check_weights(place, file, model)


def _check_classes(
  place: str, folder: pathlib.Path, class_names: Sequence[str]
) -> None:
  """Raises where a logit would be that of another class."""
  told = compatibility.told_of_classes(average.run_of(folder), class_names)
  if told:
    raise UserError(
      f'{place} was {told}; use data of the same classes, or '
      "task.init_checkpoint_modules='backbone'."
    )


def _check_average(
  place: str, folder: pathlib.Path, of_run: Mapping[str, Any]
) -> None:
  """Raises where weights would be read that were never evaluated.

  A run keeps its moving average beside the weights, but in its best checkpoint,
  which is written while the average is evaluated, the average is the weights.
  """
  averages = [
    name
    for place, name in average.PLACES.items()
    if look_up(of_run, place) not in (MISSING, None)
  ]
  if not average.is_beside(folder, averages):
    return
  subdir = look_up(of_run, 'trainer.best_checkpoint_export_subdir')
  mend = (
    f'name {folder / str(subdir)}, where it is the weights'
    if subdir not in (MISSING, None, '')
    else 'which alone is in a best checkpoint, so train it again with '
    'trainer.best_checkpoint_export_subdir and best_checkpoint_eval_metric'
  )
  raise UserError(
    f'{place} has the weights beside their {averages[0]}, which the run '
    f'evaluates; {mend}.'
  )


def _check_settings(
  place: str, trained: Mapping[str, Any], task: cfg.TaskConfig
) -> None:
  """Raises where the backbone's weights would compute something else."""
  for part in ('backbone', 'norm_activation'):
    ours = getattr(task.model, part, None)
    theirs = look_up(trained, f'model.{part}')
    if ours is None or not isinstance(theirs, Mapping):
      continue
    for difference in comparison.differences(
      theirs, ours, Tie.WEIGHTS, f'task.model.{part}.'
    ):
      told = compatibility.told(difference)
      raise UserError(f'{place} was {told}; use the same.')


def _check_normalization(
  place: str, trained: Mapping[str, Any], task: cfg.TaskConfig
) -> None:
  theirs, ours = _normalization(trained), _normalization(task.as_dict())
  for (key, value), (name, own) in zip(theirs, ours, strict=False):
    if not _close(value, own):
      raise UserError(
        f'{place} was trained with {key}={list(value)}, but here {name}='
        f'{[round(number, 3) for number in own]}; use the same numbers (gin: '
        f'data.{name.rpartition(".")[2]}).'
      )


def _normalization(
  task: Mapping[str, Any],
) -> list[tuple[str, Sequence[float]]]:
  """Returns place and value of mean and deviation; nothing if not known."""
  if not task:
    return []
  for mean, stddev in (
    ('normalization.mean_rgb', 'normalization.stddev_rgb'),
    ('train_data.mean_rgb', 'train_data.stddev_rgb'),
    ('train_data.image_feature.mean', 'train_data.image_feature.stddev'),
  ):
    if look_up(task, mean) is not MISSING:
      return [(f'task.{key}', look_up(task, key)) for key in (mean, stddev)]
  return [
    ("the mean of Garden's parser", preprocess_ops.MEAN_RGB),
    ("the deviation of Garden's parser", preprocess_ops.STDDEV_RGB),
  ]


def _close(a: Sequence[float], b: Sequence[float]) -> bool:
  return len(a) == len(b) and all(
    abs(x - y) < 0.01 for x, y in zip(a, b, strict=True)
  )


def _check_weights(place: str, file: str, model: tf_keras.Model) -> None:
  """Compares the weights as TensorFlow is going to match them, by the graph."""
  reader = tf.train.load_checkpoint(file)
  shapes = reader.get_variable_to_shape_map()
  graph = trackable_object_graph_pb2.TrackableObjectGraph()
  graph.ParseFromString(reader.get_tensor(_CHECKPOINT_GRAPH))
  root = {c.local_name: c.node_id for c in graph.nodes[0].children}
  if 'backbone' not in root:
    raise UserError(
      f'{place} has no backbone; name a run or checkpoint of a classifier.'
    )
  theirs = dict(_saved(graph, root['backbone'], ''))
  for name, variable in _variables(model.backbone, ''):
    key = theirs.pop(name, None)
    if key is None:
      raise UserError(f'{place} lacks {variable.name}; {_MEND}')
    if list(variable.shape) != shapes[key]:
      raise UserError(
        f'{place} has {variable.name} of {shapes[key]}, but here it is of '
        f'{variable.shape.as_list()}; {_MEND}'
      )
  if theirs:
    name = sorted(theirs)[0].replace('layer_with_weights-', 'layer ')
    raise UserError(
      f'{place} has {name} in its backbone, which has no place here; {_MEND}'
    )


_MEND = 'use the task.model.backbone that it was trained with.'


def _saved(graph: Any, node_id: int, prefix: str) -> Iterator[tuple[str, str]]:
  """Yields path and checkpoint key of each weight below a saved layer."""
  node = graph.nodes[node_id]
  for attribute in node.attributes:
    if attribute.name == 'VARIABLE_VALUE':
      yield prefix, attribute.checkpoint_key
  for child in node.children:
    if not prefix and not child.local_name.startswith('layer_with_weights-'):
      continue
    path = f'{prefix}/{child.local_name}' if prefix else child.local_name
    yield from _saved(graph, child.node_id, path)


def _variables(root: Any, prefix: str) -> Iterator[tuple[str, tf.Variable]]:
  """Yields path and weight of each layer, as `_saved` names them."""
  for name, child in tf.train.TrackableView.children(root).items():
    if not prefix and not name.startswith('layer_with_weights-'):
      continue
    path = f'{prefix}/{name}' if prefix else name
    if isinstance(child, tf.Variable):
      yield path, child
    else:
      yield from _variables(child, path)
