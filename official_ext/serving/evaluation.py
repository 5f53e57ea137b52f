"""Compares exported models with the trained one on all test images."""

import dataclasses
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from official_ext.dataloaders.in_memory import ImageData
from official_ext.errors import RunError
from official_ext.serving import export_lib, standalone
from official_ext.serving.trained_model import TrainedModel

_BATCH_SIZE = 500


@dataclasses.dataclass(frozen=True)
class Comparison:
  """How an exported model does beside the trained one.

  Attributes:
    name: File or folder; 'trained model' for the trained one itself.
    accuracy: Share of test images that are classified rightly, 0 to 1.
    agreement: Share of test images to which both give the same class, 0 to 1.
    max_difference: Largest difference in a probability.
    num_bytes: Size on disk; of the trained model, that of its weights.
  """

  name: str
  accuracy: float
  agreement: float
  max_difference: float
  num_bytes: int


def probabilities(trained: TrainedModel, images: tf.Tensor) -> np.ndarray:
  """Returns float32 `[count, num_classes]` of uint8 images, in batches."""
  logits = tf.function(trained.logits)
  return np.concatenate(
    [
      tf.nn.softmax(logits(images[start : start + _BATCH_SIZE])).numpy()
      for start in range(0, len(images), _BATCH_SIZE)
    ]
  )


def compare(
  trained: TrainedModel, export_dir: str, data: ImageData
) -> Iterator[Comparison]:
  """Runs the trained model, then each exported one in a process of its own.

  Args:
    trained: What was exported.
    export_dir: Where to.
    data: The test images.

  Raises:
    RunError: If an exported model does not run.
  """
  expected = probabilities(trained, data.images)
  labels = data.labels.numpy()

  def comparison(name: str, found: np.ndarray, num_bytes: int) -> Comparison:
    classes = found.argmax(axis=1)
    return Comparison(
      name,
      accuracy=float(np.mean(classes == labels)),
      agreement=float(np.mean(classes == expected.argmax(axis=1))),
      max_difference=float(np.abs(found - expected).max()),
      num_bytes=num_bytes,
    )

  weights = trained.model.weights
  num_bytes = sum(w.dtype.size * w.shape.num_elements() for w in weights)
  yield comparison('trained model', expected, num_bytes)
  with tempfile.TemporaryDirectory() as temp:
    images = pathlib.Path(temp) / 'images.npy'
    np.save(images, data.images.numpy())
    for name in (export_lib.SAVED_MODEL, *export_lib.TFLITE, export_lib.ONNX):
      path = pathlib.Path(export_dir) / name
      if path.exists():
        yield comparison(name, _run_alone(path, images), _size(path))


def _run_alone(model: pathlib.Path, images: pathlib.Path) -> np.ndarray:
  """Returns what a fresh process, without this package, computes."""
  result = images.with_name('probabilities.npy')
  arguments = map(str, (standalone.__file__, model, images, result))
  command = [sys.executable, *arguments]
  ended = subprocess.run(command, capture_output=True, text=True, check=False)
  if ended.returncode:
    reason = (ended.stderr.strip().splitlines() or ['no message'])[-1]
    raise RunError(f'{model} does not run by itself: {reason}.')
  return np.load(result)


def _size(path: pathlib.Path) -> int:
  files = path.rglob('*') if path.is_dir() else [path]
  return sum(file.stat().st_size for file in files if file.is_file())
