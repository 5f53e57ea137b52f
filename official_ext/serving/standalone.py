"""Runs an exported model as its users do: without this package.

Usage, with a path, since `-m` would import the package::

  python standalone.py MODEL IMAGES PROBABILITIES

MODEL is a SavedModel's folder, a .tflite or an .onnx file, IMAGES an .npy file
of uint8 `[count, height, width, channels]`, and PROBABILITIES the .npy file to
write.
"""

import os
import sys
from collections.abc import Callable

import numpy as np

_BATCH_SIZE = 100


def main(model: str, images: str, probabilities: str) -> None:
  """Classifies all images in batches, the last of which may be smaller."""
  # Any import of the package fails from here on.
  sys.modules['official_ext'] = None  # type: ignore[assignment]
  loaders = {'.tflite': _load_tflite, '.onnx': _load_onnx}
  load = loaders.get(os.path.splitext(model)[1], _load_saved_model)
  classify = load(model)
  data = np.load(images, mmap_mode='r')
  starts = range(0, len(data), _BATCH_SIZE)
  batches = [classify(data[start : start + _BATCH_SIZE]) for start in starts]
  np.save(probabilities, np.concatenate(batches))


def _load_saved_model(path: str) -> Callable[[np.ndarray], np.ndarray]:
  import tensorflow as tf

  loaded = tf.saved_model.load(path)
  serve = loaded.signatures['serving_default']

  def classify(images: np.ndarray) -> np.ndarray:
    return serve(inputs=tf.constant(images))['probabilities'].numpy()

  # The function holds `loaded`, without which its weights would be freed.
  classify.loaded = loaded  # type: ignore[attr-defined]
  return classify


def _load_tflite(path: str) -> Callable[[np.ndarray], np.ndarray]:
  from ai_edge_litert import interpreter as litert

  interpreter = litert.Interpreter(path, num_threads=os.cpu_count())
  serve = interpreter.get_signature_runner('serving_default')
  # It takes any batch, and keeps the interpreter alive.
  return lambda images: serve(inputs=images)['probabilities']


def _load_onnx(path: str) -> Callable[[np.ndarray], np.ndarray]:
  import onnxruntime

  session = onnxruntime.InferenceSession(path)
  return lambda images: session.run(['probabilities'], {'inputs': images})[0]


if __name__ == '__main__':
  main(*sys.argv[1:])
