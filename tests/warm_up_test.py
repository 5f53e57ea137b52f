"""Compiling before the clock starts: what it leaves, and who is told."""

import os
import pathlib
import time

import numpy as np
import pytest
import tensorflow as tf
from helpers import tiny
from helpers.commands import CONTEXT

from official_ext.machine import compile_cache, gpus
from official_ext.ops import placement
from official_ext.progress import bar, epoch_table
from official_ext.training import optimizers, session, start, trainer, warm_up

AVERAGE = [
  'small_images.average = @moving_average()',
  'moving_average.interval = 2',
]


def test_variables_are_what_they_were():
  module = tf.Module()
  module.inner, lone = tf.Variable([1.0, 2.0]), tf.Variable(3)

  def change():
    module.inner.assign([5.0, 6.0])
    lone.assign_add(1)
    raise ValueError('in the middle')

  with pytest.raises(ValueError, match='in the middle'):
    warm_up.without_trace([module, lone], change)
  np.testing.assert_array_equal(module.inner, [1.0, 2.0])
  assert lone.numpy() == 3


def test_a_trained_step_leaves_no_trace(shapes_dir, tmp_path, monkeypatch):
  """Weights, momentum, averages, counts and metrics, and those of the bar."""
  compile_step, seen = trainer.Trainer._compile, []

  def state(self):
    variables = optimizers.all_variables(self.optimizer)
    variables += [*self.model.variables, self.global_step]
    variables += [v for m in self._epoch_metrics() for v in m.variables]
    return [variable.numpy() for variable in variables]

  def compile_and_compare(self):
    before = state(self)
    compile_step(self)
    after = state(self)
    assert len(before) > 60
    for one, other in zip(before, after, strict=True):
      np.testing.assert_array_equal(one, other)
    seen.append(int(self.global_step))

  monkeypatch.setattr(trainer.Trainer, '_compile', compile_and_compare)
  tiny.run(shapes_dir, tmp_path, AVERAGE)
  assert seen == [0]


def test_the_time_of_compiling_is_apart(shapes_dir, tmp_path, capsys):
  tiny.run(shapes_dir, tmp_path)
  rows = epoch_table.read(tmp_path / 'epochs.jsonl')
  first, *others = (row['compile_seconds'] for row in rows)
  assert first > 0
  assert others == [0, 0]
  # To trace a step takes longer than a step of this network.
  assert first > rows[0]['train_seconds']
  assert f'Compiling took {first:.1f} s' in capsys.readouterr().out
  walls = [row['wall_seconds'] for row in rows]
  assert walls == sorted(walls)
  each = ('train_seconds', 'test_seconds', 'compile_seconds')
  assert walls[-1] > sum(row[key] for row in rows for key in each)


def test_a_run_that_is_gone_on_with_counts_both_commands(shapes_dir, tmp_path):
  took = 0.0
  for epochs in (2, 3):
    asked = tiny.experiment_of(shapes_dir, [f'run.epochs = {epochs}'])
    begin = time.monotonic()
    session.run(asked, 'train_and_eval', str(tmp_path), arguments=[])
    took += time.monotonic() - begin
    wall = epoch_table.read(tmp_path / 'epochs.jsonl')[-1]['wall_seconds']
    # After the last row it says what came out; less than a command takes.
    assert 0.6 * took < wall < took


def train_by_xla(shapes_dir, folder, results):
  """Runs `tiny.run` as on a GPU; puts what was traced and compiled."""
  cache = folder / 'cache'
  cache.mkdir(exist_ok=True)
  compile_cache.os.environ['TF_XLA_FLAGS'] = (
    f'--tf_xla_persistent_cache_directory={cache}'
  )
  built, start_build = [], start._build

  def build(team, *args):
    # By this, Garden decides whether XLA compiles.
    vars(team.request.params.runtime)['num_gpus'] = 1
    built.append(start_build(team, *args))
    return built[-1]

  start._build = build
  with placement.as_on_accelerator():
    tiny.run(shapes_dir, folder / 'run', AVERAGE)
  (made,) = built
  traced = [
    function.experimental_get_tracing_count()
    for function in (made._run_steps, made._run_eval)
  ]
  results.put((traced, sorted(path.name for path in cache.iterdir())))


def test_one_program_trains_and_one_a_shape_evaluates(shapes_dir, tmp_path):
  """Over a run of three epochs: 50 test images are in batches of 20."""
  results = CONTEXT.SimpleQueue()
  process = CONTEXT.Process(
    target=train_by_xla, args=(shapes_dir, tmp_path, results)
  )
  process.start()
  process.join(200)
  assert process.exitcode == 0
  traced, compiled = results.get()
  assert traced == [1, 1]
  assert len(compiled) == 3


def test_a_gpus_chunks_are_the_same_run(shapes_dir, tmp_path, monkeypatch):
  """Of two steps, in epochs of three, on images that are resident."""
  told = []
  steps_end = bar.Progress.steps_end

  def listening(self, count):
    if self._name == 'train':
      told.append(count)
    steps_end(self, count)

  monkeypatch.setattr(bar.Progress, 'steps_end', listening)
  monkeypatch.setattr(trainer, '_CHUNK', 2)
  tiny.run(shapes_dir, tmp_path / 'cpu', ['run.deterministic = False'])
  assert told == [1] * 9
  told.clear()
  with placement.as_on_accelerator():
    tiny.run(shapes_dir, tmp_path / 'gpu')
  assert told == [2, 1] * 3
  ours, theirs = (
    [row['train_loss'] for row in epoch_table.read(path / 'epochs.jsonl')]
    for path in (tmp_path / 'cpu', tmp_path / 'gpu')
  )
  # Rounded in another order, which training amplifies.
  np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
  np.testing.assert_allclose(ours, theirs, rtol=1e-3)


@pytest.fixture
def cache(monkeypatch, tmp_path):
  """The folder on a machine with two GPUs of a kind."""
  for number in range(2):
    gpu = tmp_path / 'gpus' / str(number)
    gpu.mkdir(parents=True)
    (gpu / 'information').write_text('Model: \t NVIDIA H200\nIRQ:   1\n')
  monkeypatch.setattr(gpus, '_FOLDER', tmp_path / 'gpus')
  for variable in ('TF_XLA_FLAGS', 'XLA_FLAGS'):
    monkeypatch.delenv(variable, raising=False)
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.setattr(compile_cache, '_allowed', [True])
  return compile_cache.folder()


def test_only_a_command_turns_it_on(cache, monkeypatch):
  monkeypatch.setattr(compile_cache, '_allowed', [])
  compile_cache.turn_on()
  assert compile_cache.in_use() is None
  compile_cache.allow()
  compile_cache.turn_on()
  assert compile_cache.in_use() == cache


def test_deterministic_programs_are_kept_apart(cache):
  """Though TensorFlow's own keys do not tell them from others."""
  compile_cache.turn_on(deterministic=True)
  assert compile_cache.in_use() == cache.with_name(
    f'{cache.name}-deterministic'
  )


@pytest.mark.parametrize('hindrance', ['no room', 'not a folder', 'read-only'])
def test_a_folder_of_no_use_is_done_without(cache, monkeypatch, hindrance):
  if hindrance == 'no room':
    monkeypatch.setattr(compile_cache, '_LEAST_FREE_BYTES', 2**80)
  elif hindrance == 'not a folder':
    cache.parent.mkdir()
    cache.touch()
  else:

    def refuse(_):
      raise OSError(30, 'Read-only file system')

    monkeypatch.setattr(compile_cache.whole, 'make_writable', refuse)
  compile_cache.turn_on()
  assert compile_cache.in_use() is None


def test_the_oldest_programs_go_where_there_are_too_many(cache, monkeypatch):
  monkeypatch.setattr(compile_cache, '_MOST_BYTES', 25)
  cache.mkdir(parents=True)
  for age, name in enumerate(['new', 'newer', 'old', 'oldest']):
    (cache / name).write_bytes(b'0123456789')
    os.utime(cache / name, (1000 - age, 1000 - age))
  compile_cache.turn_on()
  assert sorted(path.name for path in cache.iterdir()) == [
    'new',
    'new.sha256',
    'newer',
    'newer.sha256',
  ]


def test_there_is_no_cache_without_a_gpu(cache, monkeypatch):
  monkeypatch.setattr(gpus, '_FOLDER', cache / 'none')
  compile_cache.turn_on()
  assert compile_cache.in_use() is None
  assert not cache.exists()


def test_the_cache_is_the_users_this_gpus_and_this_tensorflows(cache, tmp_path):
  compile_cache.turn_on()
  name = f'xla-{tf.__version__}-NVIDIA_H200'
  assert cache == tmp_path / 'official_ext' / name
  assert cache.is_dir()
  flags = compile_cache.os.environ
  assert flags['TF_XLA_FLAGS'] == (
    f'--tf_xla_persistent_cache_directory={cache}'
  )
  assert compile_cache.in_use() == cache
  compile_cache.turn_on()
  assert flags['TF_XLA_FLAGS'].count('=') == 1


def test_flags_of_the_users_own_stay(cache, monkeypatch):
  own = '--tf_xla_persistent_cache_directory=/mine'
  monkeypatch.setenv('TF_XLA_FLAGS', own)
  monkeypatch.setenv('XLA_FLAGS', '--xla_dump_to=/there')
  compile_cache.turn_on()
  flags = compile_cache.os.environ
  assert flags['TF_XLA_FLAGS'] == own
  assert flags['XLA_FLAGS'].startswith('--xla_dump_to=/there --xla_gpu_')


def test_a_file_that_changed_is_removed(cache):
  compile_cache.turn_on()
  one, other = cache / 'one.pb', cache / 'other.pb'
  one.write_bytes(b'compiled')
  other.write_bytes(b'compiled too')
  compile_cache.turn_on()
  other.write_bytes(b'')
  compile_cache.turn_on()
  assert sorted(path.name for path in cache.iterdir()) == [
    'one.pb',
    'one.pb.sha256',
  ]


def compile_twice(folder, results):
  """Puts what lies in a cache after each of two programs are compiled."""
  compile_cache.os.environ['TF_XLA_FLAGS'] = (
    f'--tf_xla_persistent_cache_directory={folder}'
  )
  for scale in (2.0, 3.0):
    program = tf.function(lambda x, by=scale: by * x, jit_compile=True)
    assert program(tf.constant(1.0)).numpy() == scale
  results.put(sorted(path.name for path in folder.iterdir()))


def test_a_second_process_compiles_nothing(tmp_path):
  """By XLA on the CPU, which keeps what it compiles in the same way."""
  results, found = CONTEXT.SimpleQueue(), []
  for _ in range(2):
    process = CONTEXT.Process(target=compile_twice, args=(tmp_path, results))
    process.start()
    process.join()
    found.append(results.get())
  assert len(found[0]) == 2
  assert found[0] == found[1]


def test_a_folder_that_cannot_be_made_is_done_without(
  cache, monkeypatch, tmp_path
):
  (tmp_path / 'file').touch()
  monkeypatch.setenv('XDG_CACHE_HOME', str(pathlib.Path(tmp_path, 'file')))
  compile_cache.turn_on()
  assert 'TF_XLA_FLAGS' not in compile_cache.os.environ


def test_an_average_is_written_once_an_evaluation(shapes_dir, tmp_path):
  tiny.run(shapes_dir, tmp_path, AVERAGE)
  checkpoints = {path.parent.name for path in tmp_path.rglob('*.index')}
  assert checkpoints == {tmp_path.name, 'best'}
