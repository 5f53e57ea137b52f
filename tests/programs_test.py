"""Which runs of a process share what is compiled."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from helpers import runs, tiny
from helpers.flags import Flags

from official_ext.configuration import experiment, gin_config
from official_ext.training import programs, session
from official_ext.training import shared as shared_runs
from official_ext.training.trainer import Trainer

BINDINGS = [
  'run.deterministic = True',
  'small_images.average = @moving_average()',
  'evaluation.views = ["mirror"]',
]


def traced(function, *arguments):
  return tf.function(function).get_concrete_function(*arguments)


def looping(times):
  """A program with a function, a loop and a choice in it."""
  inner = tf.function(lambda x: x + 1.0)

  def program(x):
    for _ in tf.range(times):
      x = inner(x) if tf.reduce_sum(x) > 0 else -x
    return x

  return traced(program, tf.ones([2]))


def test_names_that_are_counted_do_not_matter():
  one, other = looping(3), looping(3)
  assert one.name != other.name
  assert programs.digest(one) == programs.digest(other)


@pytest.mark.parametrize(
  'other',
  [
    lambda x: tf.sin(x) * 3.0,
    lambda x: tf.cos(x) * 2.0,
    lambda x: 2.0 * tf.sin(x),
    lambda x: tf.sin(x * 2.0),
    lambda x: (tf.sin(x) * 2.0, x)[0] + 0.0,
    lambda x: tf.sin(tf.ones_like(x)) * 2.0,
  ],
)
def test_what_computes_something_else_is_another_program(other):
  def program(x):
    return tf.sin(x) * 2.0

  x = tf.ones([2])
  assert programs.digest(traced(program, x)) == programs.digest(
    traced(lambda y: tf.sin(y) * 2.0, x)
  )
  assert programs.digest(traced(program, x)) != programs.digest(
    traced(other, x)
  )


def test_a_difference_inside_of_a_function_is_seen():
  assert programs.digest(looping(3)) != programs.digest(looping(4))


def test_dropout_draws_with_a_seed_of_the_run():
  dropout = tf_keras.layers.Dropout(0.5)
  x = tf.ones([2, 3])
  assert programs.draws(traced(lambda x: dropout(x, training=True), x))
  assert not programs.draws(traced(lambda x: dropout(x, training=False), x))


def test_images_on_a_device_are_told_from_others():
  images = [tf.constant(np.zeros(999)), tf.constant(np.zeros(999))]
  weight = tf.Variable(1.0)

  def constants_with(image):
    program = traced(lambda: (image + 1.0, weight + 1.0))
    return programs.constants(program)

  found = [constants_with(images[number]) for number in (0, 0, 1)]
  assert found[0] == found[1] == [id(images[0])]
  assert found[0] != found[2]


@pytest.fixture(scope='module')
def series(shapes_dir, tmp_path_factory):
  """Five runs of one process, and whether each of them was compiled."""
  folder, shared = tmp_path_factory.mktemp('series'), shared_runs.Shared()
  compiled, compile_step = [], Trainer._compile

  def count(trainer):
    compiled.append(True)
    compile_step(trainer)

  found = {}
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(Trainer, '_compile', count)
    for name, change in CHANGES.items():
      parse(shapes_dir, change)
      asked = experiment.parse(Flags(), shared.store)
      compiled.clear()
      path = str(folder / name)
      session.run(asked, 'train_and_eval', path, ['--x'], shared)
      found[name] = bool(compiled)
  return folder, found


CHANGES = {
  'first': [],
  'seed': ['run.seed = 7'],
  'initializer': ["resnet9.kernel_initializer = 'he_uniform'"],
  'no_nesterov': ['sgd_coupled_decay.nesterov = False'],
  'back': ['run.seed = 8'],
}


def parse(shapes_dir, change):
  place = f"data.data_dir = '{shapes_dir}'"
  gin_config.parse([], [*tiny.BINDINGS, *BINDINGS, place, *change])


def test_what_leaves_the_programs_alone_compiles_nothing(series):
  assert series[1] == {
    'first': True,
    'seed': False,
    'initializer': False,
    'no_nesterov': True,
    'back': False,
  }


@pytest.mark.parametrize('name', ['seed', 'initializer', 'back'])
def test_each_is_as_in_a_process_of_its_own(shapes_dir, series, name, tmp_path):
  parse(shapes_dir, CHANGES[name])
  asked = experiment.parse(Flags())
  session.run(asked, 'train_and_eval', str(tmp_path))
  runs.assert_same_run(tmp_path, series[0] / name)


def test_a_run_is_gone_on_with_by_another_runs_programs(
  shapes_dir, series, tmp_path
):
  """One that was stopped, after one that was not."""
  shared = shared_runs.Shared()
  for change, folder, override in (
    (['run.seed = 8'], tmp_path / 'stopped', 'trainer.train_steps=4'),
    (['run.seed = 7'], tmp_path / 'other', ''),
    (['run.seed = 8'], tmp_path / 'stopped', ''),
  ):
    parse(shapes_dir, change)
    asked = experiment.parse(Flags(params_override=override), shared.store)
    session.run(asked, 'train_and_eval', str(folder), ['--x'], shared)
  ours, theirs = (
    runs.variables(path) for path in (tmp_path / 'stopped', series[0] / 'back')
  )
  for key, value in theirs.items():
    if 'train_metrics' not in key:
      np.testing.assert_array_equal(ours[key], value, err_msg=key)
  requested = (tmp_path / 'stopped' / 'requested.gin').read_text()
  assert requested.startswith('# python -m official_ext.train --x\n')
