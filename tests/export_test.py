"""A run's model loaded, exported, and run by those who have it alone."""

import contextlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from helpers import commands, tiny
from official.core import export_base

from official_ext import export as command
from official_ext.datasets import procedural_shapes
from official_ext.errors import RunError, UserError
from official_ext.serving import export_lib, standalone, trained_model

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


def test_averaged_weights_are_used(shapes_dir, tmp_path):
  tiny.run(
    shapes_dir,
    tmp_path,
    override='{trainer: {train_steps: 6, optimizer_config: {ema: '
    '{average_decay: 0.5, trainable_weights_only: false}}}}',
  )
  rows = rows_of(tmp_path)
  newest = trained_model.load_for_inference(str(tmp_path))
  assert newest.averaged
  assert_evaluates_like(newest, rows[-1])
  best = trained_model.load_for_inference(str(tmp_path), 'best')
  assert_evaluates_like(best, max(rows, key=lambda r: r['test_accuracy']))


@pytest.fixture(scope='module')
def exported(trained_run, tmp_path_factory):
  """The folder that the command makes, and what it prints."""
  folder = tmp_path_factory.mktemp('work') / 'deep' / 'exported'
  flags = types.SimpleNamespace(
    model_dir=str(trained_run),
    export_dir=str(folder),
    checkpoint='',
    data_dir='',
    evaluate=True,
  )
  output = io.StringIO()
  with (
    pytest.MonkeyPatch.context() as patch,
    contextlib.redirect_stdout(output),
  ):
    patch.setattr(command, 'FLAGS', flags)
    command.main()
  return folder, output.getvalue()


def test_what_is_exported(exported):
  folder, _ = exported
  assert sorted(os.listdir(folder.parent)) == ['exported']
  assert sorted(os.listdir(folder)) == [
    'class_names.txt',
    'dynamic_range.tflite',
    'evaluation.json',
    'float16.tflite',
    'float32.tflite',
    'params.yaml',
    'saved_model',
  ]
  names = (folder / 'class_names.txt').read_text().splitlines()
  assert names == list(procedural_shapes.CLASS_NAMES)


def test_each_export_agrees_with_the_trainers_evaluation(exported, trained_run):
  folder, output = exported
  rows = json.loads((folder / 'evaluation.json').read_text())
  by_name = {row['name']: row for row in rows}
  expected = rows_of(trained_run)[-1]['test_accuracy']
  for name in ('trained model', 'saved_model', 'float32.tflite'):
    assert by_name[name]['accuracy'] == pytest.approx(expected, abs=1e-6)
    assert by_name[name]['agreement'] == 1
    assert by_name[name]['max_difference'] < 1e-5
  for name, limit in (('float16.tflite', 1e-2), ('dynamic_range.tflite', 0.1)):
    assert 1e-6 < by_name[name]['max_difference'] < limit
  for name, row in by_name.items():
    assert f'{name:22} {row["accuracy"]:8.2%}' in output


def test_the_saved_model_takes_any_batch(exported, trained_run):
  trained = trained_model.load_for_inference(str(trained_run))
  loaded = tf.saved_model.load(str(exported[0] / 'saved_model'))
  serve = loaded.signatures['serving_default']
  for count in (1, 3):
    images = np.random.RandomState(count).randint(
      0, 256, (count, 32, 32, 3), np.uint8
    )
    outputs = serve(inputs=tf.constant(images))
    assert outputs.keys() == {'logits', 'probabilities', 'class_name'}
    logits = trained.logits(images).numpy()
    np.testing.assert_allclose(outputs['logits'], logits, rtol=1e-5, atol=1e-6)
    odds = np.exp(np.float64(logits))
    expected = odds / odds.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(outputs['probabilities'], expected, rtol=1e-5)
    names = [name.decode() for name in outputs['class_name'].numpy()]
    assert names == [trained.class_names[i] for i in logits.argmax(axis=1)]


def test_a_tflite_file_runs_where_the_package_cannot_be_imported(
  exported, tmp_path
):
  images = np.random.RandomState(0).randint(0, 256, (103, 32, 32, 3), np.uint8)
  np.save(tmp_path / 'images.npy', images)
  model = str(exported[0] / 'float32.tflite')
  arguments = ['', model, str(tmp_path / 'images.npy'), str(tmp_path / 'p.npy')]
  code = (
    f'import runpy, sys; sys.argv = {arguments};'
    f'runpy.run_path({standalone.__file__!r}, run_name="__main__");'
    'assert not any(name.startswith("official") for name, module in '
    'sys.modules.items() if module);'
    'import official_ext'
  )
  result = subprocess.run(
    [sys.executable, '-c', code],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert 'import of official_ext halted' in result.stderr
  probabilities = np.load(tmp_path / 'p.npy')
  assert probabilities.shape == (103, 10)
  np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_nothing_is_written_over(exported, trained_run):
  trained = trained_model.load_for_inference(str(trained_run))
  before = sorted(exported[0].rglob('*'))
  with pytest.raises(UserError, match='exists already'):
    export_lib.export(trained, str(exported[0]))
  assert sorted(exported[0].rglob('*')) == before


def test_a_full_disk_leaves_nothing(trained_run, tmp_path, monkeypatch):
  def fail(*_, **__):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(export_base, 'export', fail)
  trained = trained_model.load_for_inference(str(trained_run))
  with pytest.raises(RunError, match='No space left'):
    export_lib.export(trained, str(tmp_path / 'exported'))
  assert not list(tmp_path.iterdir())


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
