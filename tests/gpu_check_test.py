"""The check of the package on a GPU: what it runs, and the table of it."""

import json
import pathlib
import signal
import sys

import pytest
from helpers import example_records

from official_ext import benchmark, export, repeat, train
from official_ext.checkpoints import folder
from official_ext.command_line import cli
from studies import gpu_check, gpu_table, timed_commands

COMMANDS = {
  'official_ext.train': train,
  'official_ext.repeat': repeat,
  'official_ext.export': export,
  'official_ext.benchmark': benchmark,
}


def run_python(path, seconds, code, share=1.0):
  """Runs code in place of a module, which `-m` then finds in the folder."""
  (path / 'some_module.py').write_text(code)
  timed = timed_commands.Clock(seconds, path)
  found = {'PYTHONPATH': str(path)}
  arguments = 'name', 'some_module', '--x=1', '--y=/home'
  return timed.run(*arguments, share=share, environment=found)


def test_a_command_is_timed_and_logged_without_its_places(tmp_path):
  ended = run_python(tmp_path, 60, 'print("hello"); raise SystemExit(3)')
  assert ended['command'] == ['python', '-m', 'some_module', '--x=1', '--y=…']
  assert ended['status'] == 3
  assert 0 < ended['wall_seconds'] < 60
  assert (tmp_path / 'name.log').read_text() == 'hello\n'


def test_one_that_takes_too_long_is_told_to_stop(tmp_path, monkeypatch):
  monkeypatch.setattr(timed_commands, '_LEAST_SECONDS', 0.1)
  ended = run_python(tmp_path, 4, 'import time; time.sleep(60)', share=0.25)
  assert ended['status'] == -signal.SIGTERM
  assert 1 <= ended['wall_seconds'] < 4


def test_nothing_begins_when_the_time_is_over(tmp_path):
  ended = run_python(tmp_path, 60, 'print("hello")', share=0.1)
  assert (ended['status'], ended['wall_seconds']) == (None, 0)
  assert not (tmp_path / 'name.log').exists()


@pytest.fixture
def checked(tmp_path, monkeypatch):
  """Runs the check with commands that only leave the rows of a training."""
  ran, caches = [], []
  seconds = {'compile_seconds': 2.0, 'train_seconds': 3.5, 'test_seconds': 0.25}
  counts = {'step': 97, 'total_train_seconds': 3.5}
  record = example_records.record_of('a', 0, 0.94, **seconds, **counts)

  def run(self, name, module, *arguments, share=1.0, environment=()):
    ran.append((module, arguments))
    caches.append(dict(environment).get('XDG_CACHE_HOME', '').split('/')[-1])
    for argument in arguments:
      if argument.startswith('--model_dir=') and module.endswith('train'):
        run_dir = pathlib.Path(argument.partition('=')[2])
        run_dir.mkdir(parents=True)
        line = json.dumps(record['epochs'][0]) + '\n'
        (run_dir / 'epochs.jsonl').write_text(line)
    return {'command': [module], 'status': 0, 'wall_seconds': 20.0}

  monkeypatch.setattr(timed_commands.Clock, 'run', run)
  monkeypatch.setattr(folder, 'digests', lambda _: {'one': 'abc', 'two': 'de'})
  out = tmp_path / 'out'
  monkeypatch.setattr(
    gpu_check,
    'FLAGS',
    type('', (), {'data_dir': '/d', 'out': str(out), 'minutes': 12})(),
  )
  gpu_check.FLAGS.gin_params = ['run.epochs = 7']
  status = gpu_check.main()
  assert caches[:6] == [
    'deterministic0',
    'deterministic1',
    *['24_epochs'] * 2,
    *['10_epochs'] * 2,
  ]
  return out, status, ran


def test_it_trains_both_recipes_from_no_cache_and_from_a_full_one(checked):
  out, status, ran = checked
  assert status == 0
  found = json.loads((out / 'records/gpu_check/check.json').read_text())
  assert [(t['recipe'], t['cached']) for t in found['trainings']] == [
    (recipe, cached)
    for recipe in ('24_epochs', '10_epochs')
    for cached in ('cold', 'warm')
  ]
  assert found['deterministic']['equal'] is True
  assert [module for module, _ in ran].count('official_ext.train') == 6
  assert [module for module, _ in ran].count('official_ext.repeat') == 2


def test_its_commands_have_the_flags_that_it_gives_them(checked):
  """Each flag is one of the command's, or of Garden's."""
  *_, ran = checked
  for module, arguments in ran:
    source = pathlib.Path(
      COMMANDS[module.replace('studies', 'official_ext')].__file__
    ).read_text()
    source += pathlib.Path(cli.__file__).read_text()
    for argument in arguments:
      name = argument.removeprefix('--').partition('=')[0]
      garden = module.endswith(('train', 'benchmark')) and name in (
        'gin_file',
        'gin_params',
        'model_dir',
      )
      assert garden or f"'{name}'" in source, (module, name)


def test_its_table(checked):
  out, *_ = checked
  table = gpu_table.gpu(str(out / 'records' / 'gpu_check'))
  assert 'the same bits in all 2 tensors' in table
  lines = [line for line in table.splitlines() if line.startswith('| 24')]
  assert lines[0] == (
    '| 24 epochs | none at first | 2.0 | 3.5 | 0.2 | 20.0 | 94.00 |'
  )


def test_without_a_record_the_place_stays_empty(tmp_path):
  assert gpu_table.gpu(str(tmp_path)) == 'Not measured yet.\n'


def test_bits_that_differ_are_a_failure(checked, monkeypatch):
  out, *_ = checked
  found = json.loads((out / 'records/gpu_check/check.json').read_text())
  found['deterministic']['equal'] = False
  assert gpu_check._write(out, found) is False
  table = gpu_table.gpu(str(out / 'records' / 'gpu_check'))
  assert 'other bits' in table
  assert sys.executable not in json.dumps(found)
