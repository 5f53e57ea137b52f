"""What a report says: counts, pictures and texts of a run."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from official_ext.progress import epoch_table
from official_ext.reporting import diagram, figures
from official_ext.serving import evaluation
from official_ext.serving.trained_model import TrainedModel

_SHEET_COLUMNS, _SHEET_ROWS = 12, 4
_MAX_MISTAKES = 24


@dataclasses.dataclass(frozen=True)
class ClassResult:
  """How the images of a class were classified.

  Attributes:
    name: The class.
    num_images: Test images of it.
    num_right: Those of them that were classified rightly.
    confused_with: The wrong class that most others were taken for, if any.
  """

  name: str
  num_images: int
  num_right: int
  confused_with: str


@dataclasses.dataclass(frozen=True)
class Mistake:
  """A test image that was classified wrongly.

  Attributes:
    picture: The image, a data URI.
    name: Its class.
    predicted: The class that it was taken for.
    probability: Of the latter.
  """

  picture: str
  name: str
  predicted: str
  probability: float


def gather(trained: TrainedModel) -> dict[str, Any]:
  """Returns the variables of the page's template.

  Args:
    trained: A run's model; its test and training images are read.

  Raises:
    UserError: If the images are not there or do not fit the model.
  """
  data = trained.load(trained.params.task.validation_data)
  images, labels = data.images.numpy(), data.labels.numpy()
  probabilities = evaluation.probabilities(trained, data.images)
  counts = _confusion(labels, probabilities)
  folder = pathlib.Path(trained.model_dir)
  rows = epoch_table.read(folder / epoch_table.FILE_NAME)
  return {
    'title': folder.resolve().name,
    'description': trained.describe(),
    'data': data.info,
    'accuracy': counts.trace() / counts.sum(),
    'rows': rows,
    'curves': figures.curves(rows) if rows else None,
    'confusion': figures.confusion(counts, trained.class_names),
    'classes': _class_results(counts, trained.class_names),
    'mistakes': _mistakes(images, labels, probabilities, trained.class_names),
    'sheet': figures.sheet(_augmented(trained), _SHEET_COLUMNS),
    'blocks': diagram.blocks(trained.model),
    'versions': json.loads(_text(folder / 'versions.json') or '{}'),
    'texts': {
      name: _text(folder / name) for name in ('requested.gin', 'params.yaml')
    },
  }


def _confusion(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
  """Returns int `[num_classes, num_classes]`, true × predicted."""
  num_classes = probabilities.shape[1]
  pairs = labels * num_classes + probabilities.argmax(axis=1)
  counts = np.bincount(pairs, minlength=num_classes**2)
  return counts.reshape(num_classes, num_classes)


def _class_results(
  counts: np.ndarray, class_names: list[str]
) -> list[ClassResult]:
  results = []
  for label, row in enumerate(counts):
    wrong = row.copy()
    wrong[label] = 0
    most = class_names[wrong.argmax()] if wrong.any() else ''
    results.append(
      ClassResult(class_names[label], int(row.sum()), int(row[label]), most)
    )
  return results


def _mistakes(
  images: np.ndarray,
  labels: np.ndarray,
  probabilities: np.ndarray,
  class_names: list[str],
) -> list[Mistake]:
  """Returns the most confident ones first."""
  predicted = probabilities.argmax(axis=1)
  confidence = probabilities.max(axis=1)
  wrong = np.flatnonzero(predicted != labels)
  order = wrong[np.argsort(-confidence[wrong], kind='stable')]
  return [
    Mistake(
      figures.picture(images[i]),
      class_names[labels[i]],
      class_names[predicted[i]],
      float(confidence[i]),
    )
    for i in order[:_MAX_MISTAKES]
  ]


def _augmented(trained: TrainedModel) -> np.ndarray:
  """Returns the first images that the run trained on, as uint8 again."""
  params = trained.params.task.train_data
  trained.load(params)
  params = params.replace(preprocess_on_device=False)
  batch, _ = next(iter(trained.task.build_inputs(params)))
  normalized = tf.cast(batch[: _SHEET_COLUMNS * _SHEET_ROWS], tf.float32)
  images = normalized.numpy() * params.stddev_rgb + params.mean_rgb
  return images.round().clip(0, 255).astype(np.uint8)


def _text(path: pathlib.Path) -> str:
  """Returns a file of the run's folder; nothing where it has been removed."""
  return path.read_text(encoding='utf-8') if path.exists() else ''
