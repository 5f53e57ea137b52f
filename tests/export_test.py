"""A run's model loaded, exported, and run by those who have it alone."""

import json
import pathlib
import shutil

import gin
import numpy as np
import pytest
import tf_keras
from helpers import commands
from official.core import export_base

from official_ext.configuration import gin_config
from official_ext.datasets import procedural_shapes
from official_ext.errors import RunError, UserError
from official_ext.serving import (
  evaluation,
  export_lib,
  onnx_file,
  trained_model,
)

ROOT = pathlib.Path(__file__).parents[1]


def rows_of(run):
  lines = (run / 'epochs.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


def loss_and_accuracy(trained):
  """Computed apart from the trainer, from the logits of all test images."""
  data = trained.task.data.load(trained.params.task.validation_data)
  logits = np.float64(trained.logits(data.images))
  labels = data.labels.numpy()
  log_sums = np.log(np.exp(logits).sum(axis=1))
  losses = log_sums - logits[np.arange(len(labels)), labels]
  return losses.mean(), np.mean(logits.argmax(axis=1) == labels)


def assert_evaluates_like(trained, row):
  loss, accuracy = loss_and_accuracy(trained)
  assert trained.step == row['step']
  assert loss == pytest.approx(row['test_loss'], rel=1e-5)
  assert accuracy == pytest.approx(row['test_accuracy'], abs=1e-6)


def test_a_loaded_model_evaluates_like_the_trainer(trained_run):
  tf_keras.mixed_precision.set_global_policy('mixed_bfloat16')
  trained = trained_model.load_for_inference(str(trained_run))
  assert_evaluates_like(trained, rows_of(trained_run)[-1])
  assert not trained.averaged
  assert trained.class_names == list(procedural_shapes.CLASS_NAMES)
  assert tf_keras.mixed_precision.global_policy().name == 'mixed_bfloat16'


def test_a_run_is_loaded_whatever_gin_binds(trained_run):
  """As in a notebook, which goes on to another recipe."""
  lines = ['head.logit_scale = 0', 'small_images.augmentations = [@crop()]']
  gin_config.parse([], lines)
  trained = trained_model.load_for_inference(str(trained_run))
  assert trained.params.task.model.head.logit_scale == 0.125
  steps = trained.params.task.train_data.augmentations
  assert [one.type for one in steps] == ['crop', 'flip', 'cutout']
  assert gin.query_parameter('head.logit_scale') == 0


def test_any_checkpoint_can_be_named(trained_run):
  first, *_ = rows = rows_of(trained_run)
  best = max(rows, key=lambda row: row['test_accuracy'])
  named = {'ckpt-6': rows[1], 'best': best}
  for name, row in named.items():
    trained = trained_model.load_for_inference(str(trained_run), name)
    assert_evaluates_like(trained, row)
  with pytest.raises(UserError, match='ckpt-3 is no whole checkpoint'):
    # Two are kept.
    trained_model.load_for_inference(str(trained_run), f'ckpt-{first["step"]}')


def test_a_full_disk_leaves_nothing(trained_run, tmp_path, monkeypatch):
  def fail(*_, **__):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(export_base, 'export', fail)
  trained = trained_model.load_for_inference(str(trained_run))
  layers = trained.model.backbone.layers
  before = [layer.trainable for layer in layers]
  with pytest.raises(RunError, match='No space left'):
    export_lib.export(trained, str(tmp_path / 'exported'))
  assert not list(tmp_path.iterdir())
  # They were frozen for the export.
  assert [layer.trainable for layer in layers] == before
  assert any(before)


@pytest.mark.parametrize(
  ('file', 'text', 'message'),
  [
    ('params.yaml', None, 'holds no params.yaml'),
    ('params.yaml', 'a: [', 'params.yaml is damaged'),
    ('params.yaml', 'task: {head: 1}', 'not of a run of small_images'),
    ('params.yaml', '7', 'not of a run of small_images'),
    ('checkpoint', None, 'holds no checkpoint'),
  ],
)
def test_a_folder_that_is_no_runs_is_refused(
  trained_run, tmp_path, file, text, message
):
  run = tmp_path / 'run'
  run.mkdir()
  shutil.copy(trained_run / 'params.yaml', run)
  (run / 'params.yaml').touch()
  if text:
    (run / file).write_text(text)
  elif (run / file).exists():
    (run / file).unlink()
  with pytest.raises(UserError, match=message) as caught:
    trained_model.load_for_inference(str(run))
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize('keeps_names', [True, False])
def test_classes_where_the_data_is_gone(
  trained_run, tmp_path, capsys, keeps_names
):
  for file in trained_run.glob('ckpt-*'):
    shutil.copy(file, tmp_path)
  if keeps_names:
    shutil.copy(trained_run / 'class_names.txt', tmp_path)
  text = (trained_run / 'params.yaml').read_text()
  renamed = text.replace('tfds_name: procedural_shapes', 'tfds_name: gone')
  (tmp_path / 'params.yaml').write_text(renamed)
  trained = trained_model.load_for_inference(str(tmp_path))
  if keeps_names:
    assert trained.class_names == list(procedural_shapes.CLASS_NAMES)
    assert 'classes have no names' not in capsys.readouterr().err
  else:
    assert trained.class_names == [str(i) for i in range(10)]
    assert 'classes have no names' in capsys.readouterr().err


@pytest.mark.parametrize(
  'arguments', [[], ['--model_dir=run', '--noevaluate'], ['--export_dir=new']]
)
def test_a_mistake_ends_in_one_line(arguments):
  result = commands.run('export', *arguments)
  assert result.returncode == 2
  assert result.stderr == (
    'error: give --model_dir and --export_dir; see --help.\n'
  )


def test_an_onnx_file_computes_what_was_trained(trained_run, tmp_path):
  """In ONNX Runtime, without this package, on batches of two sizes."""
  trained = trained_model.load_for_inference(str(trained_run))
  folder = tmp_path / 'exported'
  export_lib.export(trained, str(folder), onnx=True)
  data = trained.task.data.load(trained.params.task.validation_data)
  rows = {
    row.name: row for row in evaluation.compare(trained, str(folder), data)
  }
  row = rows[export_lib.ONNX]
  assert row.agreement == 1
  assert row.max_difference < 1e-5
  assert row.num_bytes == (folder / 'float32.onnx').stat().st_size


def test_onnx_without_its_converter(trained_run, tmp_path, monkeypatch):
  """It is told before anything is made."""
  monkeypatch.setattr(onnx_file.importlib.util, 'find_spec', lambda name: None)
  trained = trained_model.load_for_inference(str(trained_run))
  with pytest.raises(UserError, match="--onnx needs tf2onnx; pip install 'off"):
    export_lib.export(trained, str(tmp_path / 'exported'), onnx=True)
  assert not list(tmp_path.iterdir())
