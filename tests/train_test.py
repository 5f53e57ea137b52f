"""The driver as its user meets it, on a few images and a narrow network."""

import json
import os
import pathlib
import re
import subprocess
import sys

import gin
import pytest
import tensorflow as tf
import yaml
from helpers import commands
from helpers.commands import ROOT
from helpers.small_garden import SMALL

from official_ext.configuration import gin_config


@pytest.fixture(scope='module')
def small_gin(tmp_path_factory, shapes_dir):
  """A gin file: two epochs of three steps, 50 test images."""
  file = tmp_path_factory.mktemp('gin') / 'small.gin'
  file.write_text(
    "include 'gin/resnet9_v100.gin'\n"
    "data.dataset = 'procedural_shapes'\n"
    f"data.data_dir = '{shapes_dir}'\n"
    "data.train_split = 'train[:100]'\n"
    "data.test_split = 'test[:50]'\n"
    'data.batch_size = 32\n'  # A group of batch norm.
    'data.eval_batch_size = 20\n'
    'resnet9.channels = [4, 8, 8, 8]\n'
    'run.epochs = 2\n'
    'triangular.peak_epoch = 1\n'
  )
  return str(file)


def train(*arguments, cwd=ROOT):
  return commands.run('train', *arguments, cwd=cwd)


@pytest.fixture(scope='module')
def finished(tmp_path_factory, small_gin):
  """A run of two epochs, started from a folder that is not the checkout."""
  folder = tmp_path_factory.mktemp('work')
  result = subprocess.run(
    [
      *(sys.executable, '-m', 'official_ext.train', '--gin_file', small_gin),
      # As a shell passes a line break.
      '--gin_params=resnet9.channels = [4, 8,\n8, 8]',
    ],
    cwd=folder,
    env=os.environ | {'PYTHONPATH': str(ROOT)},
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  (run,) = (folder / 'runs').iterdir()
  return run, result


def test_a_fresh_folder_is_named_after_the_gin_file(finished):
  run, _ = finished
  assert re.fullmatch(r'small-\d{8}-\d{6}', run.name)


def test_what_a_run_leaves_behind(finished):
  run, _ = finished
  assert {file.name for file in run.iterdir()} >= {
    'best',
    'checkpoint',
    'class_names.txt',
    'ckpt-6.index',
    'data.json',
    'epochs.jsonl',
    'params.yaml',
    'requested.gin',
    'train',
    'validation',
    'versions.json',
  }
  params = yaml.safe_load((run / 'params.yaml').read_text())
  assert params['task']['model']['backbone']['resnet9']['channels'] == [
    4,
    8,
    8,
    8,
  ]
  requested = (run / 'requested.gin').read_text()
  assert '--gin_file' in requested
  assert 'run.epochs = 2' in requested
  gin_config.parse([str(run / 'requested.gin')], [])
  assert gin.config_str() in requested
  assert json.loads((run / 'versions.json').read_text())['tensorflow']
  assert any(file.stat().st_size for file in (run / 'train').iterdir())


def test_the_table_has_a_line_an_epoch(finished):
  run, result = finished
  lines = result.stdout.splitlines()
  head = next(i for i, line in enumerate(lines) if 'train loss' in line)
  assert ' '.join(lines[head].split()) == (
    'epoch lr train loss train acc test loss test acc balanced seconds total'
  )
  text = (run / 'epochs.jsonl').read_text()
  rows = [json.loads(row) for row in text.splitlines()]
  assert [row['step'] for row in rows] == [3, 6]
  # Rates of the last step of each epoch: at the peak, and at the end.
  assert [row['learning_rate'] for row in rows] == pytest.approx([0.4, 0])
  assert rows[1]['total_train_seconds'] == pytest.approx(
    sum(row['train_seconds'] for row in rows)
  )
  for row, line in zip(rows, lines[head + 1 :], strict=False):
    cells = line.split()
    assert float(cells[0]) == row['epoch']
    assert float(cells[3]) == pytest.approx(row['train_accuracy'], abs=1e-4)
    assert float(cells[5]) == pytest.approx(row['test_accuracy'], abs=1e-4)


def test_it_says_where_on_what_and_what_next(finished):
  run, result = finished
  assert re.search(r'CPU × 1 \(one_device\), (float32|bfloat16)', result.stdout)
  assert '100 training images' in result.stdout
  assert '50 test images' in result.stdout
  assert f'tensorboard --logdir runs/{run.name}' in result.stdout
  assert 'Traceback' not in result.stderr
  warnings = re.findall('warning: .*', result.stderr)
  assert warnings == ['warning: no GPU is used, so this takes a while.']


def test_a_finished_run_says_so_and_is_not_harmed(finished, small_gin):
  run, _ = finished
  before = {f: f.stat().st_mtime_ns for f in run.rglob('ckpt*')}
  result = train('--gin_file', small_gin, '--model_dir', str(run))
  assert result.returncode == 0, result.stderr
  assert 'is finished, at step 6 of 6' in result.stdout
  assert {f: f.stat().st_mtime_ns for f in run.rglob('ckpt*')} == before


def test_evaluation_repeats_the_last_row(finished, small_gin):
  run, _ = finished
  row = json.loads((run / 'epochs.jsonl').read_text().splitlines()[-1])
  result = train(
    '--gin_file', small_gin, '--model_dir', str(run), '--mode', 'eval'
  )
  assert result.returncode == 0, result.stderr
  cells = result.stdout.splitlines()[-1].split()
  assert float(cells[4]) == pytest.approx(row['test_loss'], abs=1e-4)
  assert float(cells[5]) == pytest.approx(row['test_accuracy'], abs=1e-4)
  assert len((run / 'epochs.jsonl').read_text().splitlines()) == 2


def test_more_epochs_go_on_from_the_checkpoint(finished, small_gin, tmp_path):
  run, _ = finished
  copy = tmp_path / 'run'
  subprocess.run(['cp', '-r', str(run), str(copy)], check=True)
  result = train(
    *('--gin_file', small_gin, '--model_dir', str(copy)),
    *('--gin_params', 'run.epochs = 3'),
  )
  assert result.returncode == 0, result.stderr
  assert 'from step 6 of 9' in result.stdout
  rows = (copy / 'epochs.jsonl').read_text().splitlines()
  assert [json.loads(row)['step'] for row in rows] == [3, 6, 9]
  # What was asked for at first is kept beside what was asked for now.
  assert 'epochs: 2' in (copy / 'params.1.yaml').read_text()
  assert 'epochs: 3' in (copy / 'params.yaml').read_text()


def test_a_runs_own_params_repeat_it(finished, tmp_path):
  run, _ = finished
  again = tmp_path / 'again'
  result = train(
    '--config_file', str(run / 'params.yaml'), '--model_dir', str(again)
  )
  assert result.returncode == 0, result.stderr
  for file in ('params.yaml', 'checkpoint'):
    ours, theirs = ((path / file).read_text() for path in (again, run))
    assert re.sub('timestamp.*', '', ours) == re.sub('timestamp.*', '', theirs)
  # A best result of checkpoints that are gone is not compared with.
  for file in again.glob('ckpt-*'):
    file.unlink()
  (again / 'checkpoint').unlink()
  result = train(
    *('--config_file', str(run / 'params.yaml'), '--model_dir', str(again)),
    *('--mode', 'train'),
  )
  assert f'{again}/best is of an earlier run' in result.stdout
  assert (again / 'best.1' / 'info.json').exists()
  assert 'the best checkpoint' not in result.stdout


def assert_refused(result, message):
  assert result.returncode == 2
  assert re.search(message, result.stderr), result.stderr
  errors = [r for r in result.stderr.splitlines() if r.startswith('error: ')]
  assert errors == result.stderr.splitlines()[-1:]
  assert 'Traceback' not in result.stderr


def test_another_models_checkpoints_are_refused(finished, small_gin):
  run, _ = finished
  before = (run / 'params.yaml').read_text()
  result = train(
    *('--gin_file', small_gin, '--model_dir', str(run)),
    *('--gin_params', 'resnet9.channels = [4, 8, 8, 9]'),
  )
  assert_refused(
    result, f'{run} was trained with task.model.backbone.resnet9.ch'
  )
  assert (run / 'params.yaml').read_text() == before


def test_an_unwritable_folder_is_refused(small_gin):
  result = train('--gin_file', small_gin, '--model_dir', '/proc/run')
  assert_refused(result, '--model_dir=/proc/run cannot be written to')


def test_a_mistake_leaves_no_folder_and_a_trace_only_if_asked(
  small_gin, tmp_path
):
  wrong = ('--gin_file', small_gin, '--gin_params', 'run.epoch = 1')
  result = train(*wrong, cwd=tmp_path)
  assert_refused(result, r'Did you mean run\.epochs\?')
  assert list(tmp_path.iterdir()) == []
  result = train(*wrong, '--traceback', cwd=tmp_path)
  assert result.returncode != 0
  assert 'Traceback' in result.stderr


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--params_override=task.model.num_classes=5'], 'use 10'),
    (['--params_override=task.model.input_size=[8,8,3]'], r'input_size=\[8, 8'),
    (['--mode=predict'], 'flag --mode=predict: value should be one of'),
    (['--gin=x'], "Unknown command line flag 'gin'"),
    (['--mode=train_and_validate'], 'does not run here; use train_and_eval'),
    (['--mode=eval'], '--mode=eval needs the --model_dir of a run'),
    (['--model_dir=gs://bucket/run'], 'is no folder of this machine'),
  ],
)
def test_a_mistake_ends_in_one_line_and_leaves_nothing(
  small_gin, tmp_path, arguments, message
):
  result = train('--gin_file', small_gin, *arguments, cwd=tmp_path)
  assert_refused(result, message)
  assert not list(tmp_path.rglob('*-*'))


def test_evaluation_without_a_checkpoint_is_refused(small_gin, tmp_path):
  result = train(
    '--gin_file', small_gin, '--model_dir', str(tmp_path), '--mode', 'eval'
  )
  assert_refused(result, 'holds no checkpoint to evaluate')


# Those of Garden's tasks train in `garden_tasks_test`.
GIN_FILES = {f.name for f in (ROOT / 'gin').glob('*.gin')} - {
  f'{name}.gin' for name in SMALL
}


OF_GREY = {'small_data_fashion.gin'}


@pytest.mark.parametrize('file', sorted(GIN_FILES))
def test_every_gin_file_trains_a_step(file, small_gin, tmp_path):
  """The shipped file over the small data: one step, one evaluation."""
  data = [
    line
    for line in pathlib.Path(small_gin).read_text().splitlines()
    if re.search(r'data|split|batch', line)
  ]
  if file in OF_GREY:
    data += [
      'data.mean_rgb = [128.0, 128.0, 128.0]',
      'data.stddev_rgb = [64.0, 64.0, 64.0]',
    ]
  result = train(
    *('--gin_file', f'gin/{file}', '--model_dir', str(tmp_path)),
    *(f'--gin_params={line}' for line in data),
    '--params_override=trainer.train_steps=1',
    cwd=tmp_path,
  )
  assert result.returncode == 0, result.stderr
  (row,) = (tmp_path / 'epochs.jsonl').read_text().splitlines()
  assert json.loads(row)['step'] == 1
  assert tf.train.latest_checkpoint(tmp_path)
