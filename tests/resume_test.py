"""A run that stops anywhere goes on as if it had not."""

import json

import numpy as np
import pytest
import tensorflow as tf
from experiment_test import Flags

from official_ext.core import epoch_table, experiment, gin_config, train_lib


@pytest.fixture
def run(shapes_dir):
  """Returns a function that trains to a step, in epochs of three steps."""

  def train(model_dir, last_step, mode='train_and_eval'):
    gin_config.parse(
      [],
      [
        "resnet9_cifar10.dataset = 'procedural_shapes'",
        f"resnet9_cifar10.data_dir = '{shapes_dir}'",
        "resnet9_cifar10.train_split = 'train[:100]'",
        "resnet9_cifar10.test_split = 'test[:50]'",
        'resnet9_cifar10.batch_size = 30',
        'resnet9_cifar10.eval_batch_size = 20',
        'resnet9_cifar10.channels = [4, 8, 8, 8]',
        "resnet9_cifar10.precision = 'float32'",
        'resnet9_cifar10.epochs = 3',
        'resnet9_cifar10.peak_epoch = 1',
      ],
    )
    params = experiment.parse(
      Flags(params_override=f'trainer.train_steps={last_step}')
    )
    train_lib.run(params, mode, str(model_dir))
    return {
      name: tf.train.load_variable(str(model_dir), name)
      for name, _ in tf.train.list_variables(str(model_dir))
      if name.endswith('VARIABLE_VALUE') and 'save_counter' not in name
    }

  return train


@pytest.mark.parametrize('stop', [2, 3, 4])
def test_a_stopped_run_ends_with_the_same_weights(run, tmp_path, stop):
  straight = run(tmp_path / 'straight', 6)
  run(tmp_path / 'stopped', stop)
  resumed = run(tmp_path / 'stopped', 6)
  assert straight.keys() == resumed.keys()
  for name, value in straight.items():
    np.testing.assert_allclose(
      resumed[name], value, rtol=1e-4, atol=1e-6, err_msg=name
    )


def test_epochs_end_where_they_would_have(run, tmp_path):
  run(tmp_path, 4)
  run(tmp_path, 9)
  rows = epoch_table.read(tmp_path / epoch_table.FILE_NAME)
  assert [row['step'] for row in rows] == [3, 4, 6, 9]


def test_a_row_without_its_checkpoint_is_written_again(run, tmp_path):
  """As after a kill between the row of an epoch and its checkpoint."""
  run(tmp_path, 3)
  path = tmp_path / epoch_table.FILE_NAME
  (row,) = epoch_table.read(path)
  with path.open('a') as file:
    file.write(json.dumps(row | {'step': 6, 'test_accuracy': 7.0}) + '\n')
  run(tmp_path, 6)
  rows = epoch_table.read(path)
  assert [row['step'] for row in rows] == [3, 6]
  assert rows[1]['test_accuracy'] <= 1
  assert rows[0] == row


def test_training_alone_has_rows_without_test_columns(run, tmp_path, capsys):
  run(tmp_path, 6, mode='train')
  rows = epoch_table.read(tmp_path / epoch_table.FILE_NAME)
  assert [row['step'] for row in rows] == [3, 6]
  assert {row['test_accuracy'] for row in rows} == {None}
  lines = capsys.readouterr().out.splitlines()
  assert sum(' - ' in line for line in lines) == 2
