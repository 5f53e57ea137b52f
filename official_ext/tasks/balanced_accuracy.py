"""Accuracy in which each class counts alike, however many images it has."""

import numpy as np
import tensorflow as tf
import tf_keras

NAME = 'balanced_accuracy'


def says_more(images: np.ndarray) -> bool:
  """Whether it is another number than the accuracy.

  Args:
    images: How many there are of each class, `[num_classes]`.
  """
  return len(set(images[images > 0])) > 1


def of(counts: tf.Tensor) -> tf.Tensor:
  """Returns the mean, over the classes that there are, of their accuracies.

  Args:
    counts: A confusion matrix, `[num_classes, num_classes]`, true class ×
      predicted class.

  Returns:
    float64 scalar, 0 to 1; 0 of no image.
  """
  counts = tf.cast(counts, tf.float64)
  images = tf.reduce_sum(counts, axis=1)
  accuracies = tf.math.divide_no_nan(tf.linalg.diag_part(counts), images)
  there = tf.math.count_nonzero(images, dtype=tf.float64)
  return tf.math.divide_no_nan(tf.reduce_sum(accuracies), there)


class BalancedAccuracy(tf_keras.metrics.MeanIoU):
  """The same of batches; Keras counts the confusions."""

  def __init__(self, num_classes: int, one_hot: bool):
    """Takes how many logits there are, and whether labels are vectors."""
    super().__init__(
      num_classes, NAME, sparse_y_true=not one_hot, sparse_y_pred=False
    )

  def result(self) -> tf.Tensor:
    """Returns what `of` does."""
    return of(self.total_cm)
