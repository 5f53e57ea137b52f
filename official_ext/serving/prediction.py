"""The classes of image files, with probabilities."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from official_ext.errors import UserError
from official_ext.serving import image_files
from official_ext.serving.trained_model import TrainedModel

_BATCH_SIZE = 100
_RUNNERS_UP = 2


@dataclasses.dataclass(frozen=True)
class Guess:
  """A class and its probability."""

  class_name: str
  probability: float


@dataclasses.dataclass(frozen=True)
class Prediction:
  """What a file shows.

  Attributes:
    file: Its path.
    guesses: The most probable classes, the best first.
    changes: What was done to bring the image to the network's size.
  """

  file: str
  guesses: list[Guess]
  changes: list[str]


def predict(
  trained: TrainedModel, paths: Sequence[str]
) -> tuple[list[Prediction], dict[str, str]]:
  """Classifies image files.

  Args:
    trained: The classifier.
    paths: The files; one may come several times.

  Returns:
    A prediction for each of the paths whose file can be read, and for each
    other file why it cannot.
  """
  predictions: list[Prediction] = []
  skipped: dict[str, str] = {}
  for start in range(0, len(paths), _BATCH_SIZE):
    read = []
    for path in paths[start : start + _BATCH_SIZE]:
      try:
        read.append((path, *image_files.read(path, trained.image_shape)))
      except UserError as error:
        skipped[path] = str(error)
    predictions += _predict_batch(trained, read)
  return predictions, skipped


def _predict_batch(
  trained: TrainedModel, read: Sequence[tuple[str, np.ndarray, list[str]]]
) -> list[Prediction]:
  if not read:
    return []
  images = np.stack([image for _, image, _ in read])
  probabilities = tf.nn.softmax(trained.logits(images)).numpy()
  order = np.argsort(-probabilities, axis=1)[:, : 1 + _RUNNERS_UP]
  return [
    Prediction(
      path,
      [Guess(trained.class_names[i], float(row[i])) for i in best],
      changes,
    )
    for (path, _, changes), row, best in zip(
      read, probabilities, order, strict=True
    )
  ]
