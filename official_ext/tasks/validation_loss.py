"""The loss of an evaluation."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras


class ValidationLoss(tf_keras.metrics.Mean):
  """Mean of a loss over images.

  Garden's trainer has the mean over batches, which is another where the last
  batch is smaller.
  """

  def __init__(self, loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]):
    """Takes what returns the mean loss of a batch, of its labels and logits."""
    super().__init__(name='validation_loss')
    self._loss = loss

  def update_state(self, labels: tf.Tensor, logits: tf.Tensor) -> Any:
    """Adds a batch.

    Args:
      labels: As the loss takes them; `[batch]`, or with more axes.
      logits: `[batch, num_classes]`.
    """
    count = tf.shape(labels)[0]
    return super().update_state(self._loss(labels, logits), sample_weight=count)
