"""What a report says: counts, pictures and texts of a run."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from official_ext.progress import epoch_table
from official_ext.reporting import classes, diagram, figures
from official_ext.reporting.never_right import NeverRight
from official_ext.serving import evaluation
from official_ext.serving.trained_model import TrainedModel

_SHEET_COLUMNS, _SHEET_ROWS = 12, 4
_MAX_MISTAKES = 24  # Pictures of either kind.


@dataclasses.dataclass(frozen=True)
class Mistake:
  """A test image that was classified wrongly, by this model or by others.

  Attributes:
    picture: The image, a data URI.
    name: Its class.
    predicted: The class that it was taken for by this one.
    probability: Of the latter.
  """

  picture: str
  name: str
  predicted: str
  probability: float


def gather(
  trained: TrainedModel, never_right: NeverRight | None = None
) -> dict[str, Any]:
  """Returns the variables of the page's template.

  Args:
    trained: A run's model; its test and training images are read.
    never_right: The test images that no one of several runs gets right, if such
      runs are known.

  Raises:
    UserError: If the images are not there or do not fit the model.
  """
  data = trained.load(trained.params.task.validation_data)
  images, labels = data.images.numpy(), data.labels.numpy()
  probabilities = evaluation.probabilities(trained, data.images)
  counts = classes.confusion(
    labels, probabilities.argmax(axis=1), probabilities.shape[1]
  )
  folder = pathlib.Path(trained.model_dir)
  rows = epoch_table.read(folder / epoch_table.FILE_NAME)

  def told(wrong: np.ndarray) -> list[Mistake]:
    return _mistakes(wrong, images, labels, probabilities, trained.class_names)

  return {
    'title': folder.resolve().name,
    'description': trained.describe(),
    'data': data.info,
    'accuracy': counts.trace() / counts.sum(),
    'balanced_accuracy': classes.balanced(counts),
    'rows': rows,
    'curves': figures.uri(figures.curves(rows)) if rows else None,
    'confusion': figures.uri(figures.confusion(counts, trained.class_names)),
    'classes': classes.results(counts, trained.class_names),
    'mistakes': told(np.flatnonzero(probabilities.argmax(axis=1) != labels)),
    'never_right': never_right,
    'never_right_pictures': told(never_right.images) if never_right else [],
    'sheet': figures.sheet(_augmented(trained), _SHEET_COLUMNS),
    'blocks': diagram.blocks(trained.model),
    'versions': json.loads(_text(folder / 'versions.json') or '{}'),
    'texts': {
      name: _text(folder / name) for name in ('requested.gin', 'params.yaml')
    },
  }


def _mistakes(
  wrong: np.ndarray,
  images: np.ndarray,
  labels: np.ndarray,
  probabilities: np.ndarray,
  class_names: list[str],
) -> list[Mistake]:
  """Returns those of some images, the most confident ones first."""
  predicted = probabilities.argmax(axis=1)
  confidence = probabilities.max(axis=1)
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
