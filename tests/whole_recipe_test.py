"""The ten-epoch recipe's techniques all at once: trained, loaded, exported."""

import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import interpreter as litert
from helpers import tiny
from official.core import task_factory

from official_ext import export as command
from official_ext.checkpoints import transfer
from official_ext.datasets import procedural_shapes
from official_ext.errors import UserError
from official_ext.progress import epoch_table
from official_ext.reporting import diagram
from official_ext.serving import export_lib, standalone, trained_model

ROOT = pathlib.Path(__file__).parents[1]

RECIPE = (
  # TFLite quantises kernels of 1,024 weights and more.
  'resnet9.channels = [4, 8, 16, 16]',
  "resnet9.first_layer = 'whitening'",
  'resnet9.pool_before_norm = True',
  "norm_activation.activation = 'celu'",
  'resnet9.norm_group_size = 10',
  'resnet9.norm_scale = False',
  'losses.label_smoothing = 0.2',
  "sgd_coupled_decay.lr_groups = [{'pattern': 'beta$', 'lr_multiplier': 8.0}]",
  'small_images.average = @moving_average()',
  'moving_average.average_decay = 0.9',
  'moving_average.interval = 2',
  'crop.stratified = True',
  'flip.stratified = True',
  'flip.alternating = True',
  "evaluation.views = ['mirror']",
  'triangular.final_learning_rate = 0.1',
  'triangular.flat_epochs = 1',
)


@pytest.fixture(scope='module')
def whole_run(shapes_dir, tmp_path_factory):
  folder = tmp_path_factory.mktemp('ten') / 'run'
  tiny.run(shapes_dir, folder, RECIPE)
  return folder


def last_row(run):
  return epoch_table.read(run / epoch_table.FILE_NAME)[-1]


def best_row(run):
  rows = epoch_table.read(run / epoch_table.FILE_NAME)
  return max(rows, key=lambda row: row['test_accuracy'])


def test_a_stopped_run_with_all_options_goes_on_as_if_it_had_not(
  whole_run, shapes_dir, tmp_path, capsys
):
  tiny.run(shapes_dir, tmp_path, RECIPE, override='trainer.train_steps=4')
  tiny.run(shapes_dir, tmp_path, RECIPE)
  row = last_row(whole_run)
  both = (row['test_accuracy'], row['test_accuracy_mirror'])
  told = '{:.2%}, {:.2%} with the mirror image, after '.format(*both)
  assert f'Test accuracy {told}' in capsys.readouterr().out
  whole, parts = (
    tf.train.load_checkpoint(str(folder)) for folder in (whole_run, tmp_path)
  )
  names = [
    name
    for name in whole.get_variable_to_shape_map()
    if name.startswith(('model/', 'backbone/', 'optimizer/'))
  ]
  assert any('whitening' in name for name in names)
  assert any('SLOT/optimizer/average' in name for name in names)
  for name in names:
    if name.endswith('VARIABLE_VALUE'):
      np.testing.assert_array_equal(
        whole.get_tensor(name), parts.get_tensor(name), err_msg=name
      )


@pytest.mark.parametrize('checkpoint', ['', 'best'])
def test_both_accuracies_are_in_the_table(whole_run, checkpoint):
  """They are those of the average, which is what is loaded and exported."""
  trained = trained_model.load_for_inference(str(whole_run), checkpoint)
  assert trained.averaged
  data = trained.task.data.load(trained.params.task.validation_data)
  logits = trained.logits(data.images).numpy()
  mirrored = trained.logits(data.images[:, :, ::-1]).numpy()
  row = (best_row if checkpoint else last_row)(whole_run)
  assert trained.step == row['step']
  keys = list(row)
  assert keys.index('test_accuracy_mirror') == keys.index('test_accuracy') + 1
  for key, values in (
    ('test_accuracy', logits),
    ('test_accuracy_mirror', (logits + mirrored) / 2),
  ):
    accuracy = np.mean(values.argmax(-1) == data.labels)
    assert row[key] == pytest.approx(accuracy, abs=1e-6)
  log_p = tf.nn.log_softmax(tf.cast(logits, tf.float64)).numpy()
  loss = -log_p[range(len(logits)), data.labels].mean()
  assert row['test_loss'] == pytest.approx(loss, rel=1e-5)


def test_what_is_exported_is_the_average(whole_run):
  """The checkpoint's averages, and not its weights."""
  trained = trained_model.load_for_inference(str(whole_run))
  reader = tf.train.load_checkpoint(str(whole_run))
  kernel = trained.model.get_layer('linear').kernel.numpy()
  value = '/.ATTRIBUTES/VARIABLE_VALUE'
  slot = '/.OPTIMIZER_SLOT/optimizer/average'
  (name,) = (
    key.removesuffix(slot + value)
    for key, shape in reader.get_variable_to_shape_map().items()
    if key.endswith(slot + value) and shape == list(kernel.shape)
  )
  np.testing.assert_array_equal(kernel, reader.get_tensor(name + slot + value))
  assert np.any(kernel != reader.get_tensor(name + value))


def test_the_average_is_not_left_behind(whole_run, shapes_dir):
  """Where another run begins with a run's weights, or its best is evaluated."""
  again = [*RECIPE, f"small_images.init_checkpoint = '{whole_run}'"]
  with pytest.raises(UserError, match='has the weights beside their moving av'):
    tiny.run(shapes_dir, whole_run.with_name('again'), again)
  best = whole_run / 'best'
  message = f'{best} holds the best checkpoint of the run in {whole_run}; name'
  for mode in ('eval', 'train'):
    with pytest.raises(UserError, match=message):
      tiny.run(shapes_dir, best, RECIPE, mode=mode)
  again[-1] = f"small_images.init_checkpoint = '{best}'"
  params = tiny.config(shapes_dir, again)
  task = task_factory.get_task(params.task)
  model = task.build_model()
  transfer.check(params.task, model)
  task.initialize(model)
  trained = trained_model.load_for_inference(str(whole_run), 'best')
  assert trained.averaged
  for ours, theirs in zip(
    model.backbone.weights, trained.model.backbone.weights, strict=True
  ):
    np.testing.assert_array_equal(ours, theirs)


def test_a_report_tells_what_the_norm_does_besides(whole_run):
  trained = trained_model.load_for_inference(str(whole_run))
  _, prep, layer1, *_ = diagram.blocks(trained.model)
  norm = 'batch norm of 10 images, celu'
  assert prep.words == ['whitening, conv 3×3, 4', norm]
  assert layer1.words == ['conv 3×3, 8', 'max pool 2×2', norm]


# Exported. Keras traces all layers, in training too, with a batch of any size,
# which a ghost norm cannot divide.


@pytest.fixture(scope='module')
def exported(whole_run, tmp_path_factory):
  """The folder that the command makes, and what it prints."""
  folder = tmp_path_factory.mktemp('work') / 'deep' / 'exported'
  flags = types.SimpleNamespace(
    model_dir=str(whole_run),
    export_dir=str(folder),
    checkpoint='',
    data_dir='',
    evaluate=True,
    onnx=False,
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


def test_each_export_agrees_with_the_trainers_evaluation(exported, whole_run):
  folder, output = exported
  rows = json.loads((folder / 'evaluation.json').read_text())
  by_name = {row['name']: row for row in rows}
  expected = last_row(whole_run)['test_accuracy']
  for name in ('trained model', 'saved_model', 'float32.tflite'):
    assert by_name[name]['accuracy'] == pytest.approx(expected, abs=1e-6)
    assert by_name[name]['agreement'] == 1
    assert by_name[name]['max_difference'] < 1e-5
  for name, limit in (('float16.tflite', 1e-2), ('dynamic_range.tflite', 0.1)):
    assert 1e-6 < by_name[name]['max_difference'] < limit
  for name, row in by_name.items():
    assert f'{name:22} {row["accuracy"]:8.2%}' in output


def test_the_saved_model_takes_any_batch(exported, whole_run):
  trained = trained_model.load_for_inference(str(whole_run))
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


def test_exported_models_refuse_what_is_no_byte(exported):
  scaled = np.zeros((1, 32, 32, 3), np.float32)
  loaded = tf.saved_model.load(str(exported[0] / 'saved_model'))
  serve = loaded.signatures['serving_default']
  with pytest.raises(tf.errors.InvalidArgumentError, match='to be a uint8 ten'):
    serve(inputs=tf.constant(scaled))
  for name in export_lib.TFLITE:
    interpreter = litert.Interpreter(str(exported[0] / name))
    serve = interpreter.get_signature_runner('serving_default')
    with pytest.raises(ValueError, match='FLOAT32 but expected type UINT8'):
      serve(inputs=scaled)


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


def test_nothing_is_written_over(exported, whole_run):
  trained = trained_model.load_for_inference(str(whole_run))
  before = sorted(exported[0].rglob('*'))
  with pytest.raises(UserError, match='exists already'):
    export_lib.export(trained, str(exported[0]))
  assert sorted(exported[0].rglob('*')) == before
