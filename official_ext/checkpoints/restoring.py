"""Restores a checkpoint, reading each of its tensors once."""

from typing import Any

import tensorflow as tf

from official_ext.checkpoints import folder
from official_ext.checkpoints.folder import Checkpoints
from official_ext.errors import UserError, reason

# Of Keras' `LossScaleOptimizer`.
_LOSS_SCALE = 'current_loss_scale'


def restore(
  checkpoint: tf.train.Checkpoint, there: Checkpoints, repair: bool
) -> int:
  """Restores the newest good checkpoint in a folder.

  To restore is to read, and TensorFlow looks at the checksum of what it reads.
  What finds no object, such as the momentum where a run is evaluated, is read
  besides, so that a checkpoint is good as a whole or not used. Nothing is read
  twice if all objects are there before: an optimizer makes its variables only
  at its first step, or when it is told to.

  Args:
    checkpoint: The objects, `global_step` among them.
    there: The checkpoints of a folder.
    repair: Whether to make the list of checkpoints end with the one restored,
      and to remove what a killed process had not finished writing. For the
      process that trains in the folder.

  Returns:
    The step of the checkpoint; 0 if there is none.

  Raises:
    UserError: If it is the checkpoint of another model or of no float16, where
      that is asked for, or none is good.
  """
  path = there.first_good(
    lambda path: restore_file(checkpoint, path, there.model_dir)
  )
  if path is None:
    return 0
  if repair:
    there.go_on_from(path)
  return int(checkpoint.global_step.numpy())


def restore_file(
  checkpoint: tf.train.Checkpoint, path: str, model_dir: str
) -> str:
  """Restores one checkpoint, and returns its path.

  Args:
    checkpoint: As of `restore`.
    path: Of the checkpoint.
    model_dir: The run's folder, for errors.

  Raises:
    UserError: If it is the checkpoint of another model.
    Exception: Of the types of `folder.DAMAGE`, if it is not whole, or gone.
  """
  try:
    status = checkpoint.restore(path).assert_existing_objects_matched()
    status.expect_partial()  # Inference needs the weights alone.
  except (ValueError, AssertionError) as error:
    raise _of_another(checkpoint, path, model_dir, error) from error
  folder.read_all(path, _unmatched(status))
  return path


def _unmatched(status: Any) -> list[str]:
  """Returns the names of what a restored checkpoint has and no object takes."""
  restored = status._checkpoint
  return [
    attribute.checkpoint_key
    for number, node in enumerate(restored.object_graph_proto.nodes)
    if number not in restored.matched_proto_ids
    for attribute in node.attributes
  ]


def _of_another(
  checkpoint: tf.train.Checkpoint, path: str, model_dir: str, error: Exception
) -> UserError:
  optimizer = getattr(checkpoint, 'optimizer', None)
  optimizer = getattr(optimizer, 'inner', optimizer)  # Of a moving average.
  names = tf.train.load_checkpoint(path).get_variable_to_shape_map()
  if hasattr(optimizer, 'loss_scale') and not any(
    _LOSS_SCALE in name for name in names
  ):
    return UserError(
      f'--model_dir={model_dir} was not trained in float16, which would go '
      'on from a loss scale; use the runtime.mixed_precision_dtype of before '
      '(gin: run.precision).'
    )
  return UserError(
    f'--model_dir={model_dir} holds a checkpoint of another model or optimizer '
    f'({reason(error)}). Name another folder, or give the options that it was '
    'trained with.'
  )
