"""Writes a trained classifier as a SavedModel and as TFLite files."""

import contextlib
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator

import tensorflow as tf
import tf_keras
from official.core import export_base
from official.vision.serving import export_tflite_lib

from official_ext.errors import RunError, UserError, one_line
from official_ext.files import safe_yaml
from official_ext.serving import image_classification, onnx_file
from official_ext.serving.trained_model import TrainedModel

SAVED_MODEL = 'saved_model'
# Files, and what Garden's converter calls their kinds of numbers.
TFLITE = {
  'float32.tflite': None,
  'float16.tflite': 'fp16',
  'dynamic_range.tflite': 'default',
}
ONNX = 'float32.onnx'


def check_new(export_dir: str) -> None:
  """Raises if something is there already, which is never written over.

  Raises:
    UserError: If the folder exists.
  """
  if os.path.lexists(export_dir):
    raise UserError(
      f'--export_dir={export_dir} exists already; name a new folder.'
    )


def export(trained: TrainedModel, export_dir: str, onnx: bool = False) -> None:
  """Writes the folder, in full or not at all.

  It holds `saved_model`, the files of `TFLITE`, that of `ONNX` if asked for,
  `class_names.txt` (a line for each logit) and the run's `params.yaml`.

  Args:
    trained: What to export.
    export_dir: The folder, which does not exist.
    onnx: Whether to write an ONNX file too.

  Raises:
    UserError: If it exists, or the converter to ONNX does not.
    RunError: If it cannot be written.
  """
  check_new(export_dir)
  if onnx:
    onnx_file.check_installed()
  with (
    _made_whole(pathlib.Path(export_dir)) as folder,
    _frozen(trained.model),
  ):
    _save(trained, str(folder / SAVED_MODEL), class_names=True)
    with tempfile.TemporaryDirectory() as plain, _silenced():
      _save(trained, plain, class_names=False)
      for name, kind in TFLITE.items():
        content = export_tflite_lib.convert_tflite_model(
          saved_model_dir=plain, quant_type=kind
        )
        (folder / name).write_bytes(content)
      if onnx:
        onnx_file.write(plain, folder / ONNX)
    lines = ''.join(f'{name}\n' for name in trained.class_names)
    (folder / 'class_names.txt').write_text(lines, encoding='utf-8')
    params = safe_yaml.dump(trained.params.as_dict())
    (folder / 'params.yaml').write_text(params, encoding='utf-8')


def _save(trained: TrainedModel, folder: str, class_names: bool) -> None:
  export_base.export(
    image_classification.export_module(trained, class_names),
    function_keys=['image_tensor'],  # It becomes 'serving_default'.
    export_savedmodel_dir=folder,
    timestamped=False,
  )


@contextlib.contextmanager
def _frozen(model: tf_keras.Model) -> Iterator[None]:
  """Makes all layers infer, whether told to train or not.

  Keras traces each as in training too, with a batch of unknown size, which a
  ghost norm cannot divide into groups.
  """
  parts = [m for m in model.submodules if isinstance(m, tf_keras.layers.Layer)]
  before = [(layer, layer.trainable) for layer in (model, *parts)]
  model.trainable = False
  try:
    yield
  finally:
    for layer, trainable in before:  # Outer ones, which set inner ones, first.
      layer.trainable = trainable


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
  """Mutes the converter, which writes past Python; its errors are exceptions.

  https://github.com/tensorflow/tensorflow: `tf_tfl_flatbuffer_helpers.cc` warns
  of two options that no caller can leave out.
  """
  sys.stderr.flush()
  kept = os.dup(2)
  with open(os.devnull, 'w') as nowhere:
    os.dup2(nowhere.fileno(), 2)
  try:
    yield
  finally:
    os.dup2(kept, 2)
    os.close(kept)


@contextlib.contextmanager
def _made_whole(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """Gives a folder to fill, which takes its name when all is in it."""
  try:
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f'.{folder.name}.{os.getpid()}')
    unfinished.mkdir()
  except OSError as error:
    raise UserError(
      f'--export_dir={folder} cannot be made ({error.strerror}); name another.'
    ) from error
  try:
    yield unfinished
    unfinished.rename(folder)
  except (OSError, tf.errors.OpError) as error:
    reason = getattr(error, 'strerror', None) or one_line(error)
    raise RunError(
      f'--export_dir={folder} cannot be written to ({reason}).'
    ) from error
  finally:
    shutil.rmtree(unfinished, ignore_errors=True)
