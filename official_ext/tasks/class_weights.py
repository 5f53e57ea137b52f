"""Weights of images by their class, where classes are of unequal size."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from official_ext.configs.image_classification import BALANCED
from official_ext.dataloaders.in_memory import ImageData
from official_ext.errors import UserError

_PLACE = 'task.losses.class_weights'


def of(asked: str | Sequence[float], data: ImageData) -> np.ndarray:
  """Returns the weights, scaled so that their mean over the images is 1.

  So the learning rate keeps its meaning, and only ratios matter. Of balanced
  classes they are images / (classes × images of the class).

  Args:
    asked: As in `Losses.class_weights`, but for None.
    data: The training images.

  Returns:
    float32 `[num_classes]`.

  Raises:
    UserError: If there is not one number for each class, or a class that is to
      be balanced has no image.
  """
  counts = np.bincount(data.labels, minlength=data.info.num_classes)
  weights = _balanced(counts, data) if asked == BALANCED else np.array(asked)
  if len(weights) != len(counts):
    raise UserError(
      f'{_PLACE} has {len(weights)} numbers, but {data.info.name} has '
      f'{len(counts)} classes; give one for each.'
    )
  return np.float32(weights / np.average(weights, weights=counts))


def _balanced(counts: np.ndarray, data: ImageData) -> np.ndarray:
  lacking = [data.info.class_names[i] for i in np.flatnonzero(counts == 0)]
  if lacking:
    raise UserError(
      f"{_PLACE}='{BALANCED}' needs images of each class, but "
      f'{data.info.name} has none of {", ".join(lacking)}; add some, or give a '
      'list of one number for each class.'
    )
  return 1 / counts


def added(
  loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
  labels: tf.Tensor,
  logits: tf.Tensor,
  weights: np.ndarray,
) -> tf.Tensor:
  """Returns what weights add to a mean loss, in which each image counts once.

  It is the mean of (weight − 1) × loss over the images of the batch, whose
  number divides it, not their weights: batches then add up to the data set,
  and the parts of several replicas to the batch.

  Args:
    loss: What returns the mean over a batch, of its labels and logits.
    labels: Classes, int32 `[batch]`, or vectors, float32 `[batch, classes]`.
    logits: float32 `[batch, classes]`.
    weights: float32, one for each class.
  """

  def of_image(image: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    return loss(*(part[tf.newaxis] for part in image))

  losses = tf.vectorized_map(
    of_image, (labels, logits), fallback_to_while_loop=False
  )
  classes = labels if labels.shape.rank == 1 else tf.argmax(labels, axis=-1)
  return tf.reduce_mean(tf.gather(weights - 1, classes) * losses)
