"""Compiling while the images are read."""

import os
import signal
import threading
import weakref

import numpy as np
import pytest
import tensorflow as tf
from helpers import runs, tiny

from official_ext.dataloaders import in_memory, resident
from official_ext.dataloaders.data_sets import DataSets
from official_ext.errors import Stopped, UserError
from official_ext.ops import placement
from official_ext.tasks.image_classification import ImageClassificationTask
from official_ext.training.trainer import Trainer

BINDINGS = ['run.deterministic = True']
ON_HOST = ['data.preprocess_on_device = False']
SIZES = [
  'small_images.resizing = @progressive_resizing()',
  'progressive_resizing.sides = [16, 24]',
  'progressive_resizing.until = [0.2, 0.5]',
]


@pytest.fixture
def late_images(monkeypatch):
  """Training images that are there only once the step has been compiled.

  Returns what happens, in its order.
  """
  events, compiled = [], threading.Event()
  load, compile_step = in_memory.load, Trainer._compile

  def load_late(source):
    if source.split.startswith('train'):
      assert compiled.wait(120)
    data = load(source)
    events.append(source.split)
    return data

  def compile_first(self):
    compile_step(self)
    events.append('compiled')
    compiled.set()

  monkeypatch.setattr(in_memory, 'load', load_late)
  # As where reading takes longer still.
  monkeypatch.setattr(DataSets, 'has_loaded', lambda *_: False)
  monkeypatch.setattr(Trainer, '_compile', compile_first)
  return events


@pytest.mark.parametrize('bindings', [[], SIZES, ON_HOST])
def test_a_run_is_the_same_when_its_images_are_late(
  shapes_dir, tmp_path, request, monkeypatch, bindings
):
  """Where images live on a device, and where the host sends them."""
  bindings = [*BINDINGS, *bindings]
  with placement.as_on_accelerator():
    tiny.run(shapes_dir, tmp_path / 'in_time', bindings)
    events, made = request.getfixturevalue('late_images'), []
    await_images = Trainer.await_images
    monkeypatch.setattr(
      Trainer,
      'await_images',
      lambda self: (made.append(self), await_images(self)),
    )
    tiny.run(shapes_dir, tmp_path / 'late', bindings)
  assert events == ['test[:50]', 'compiled', 'train[:100]']
  (trainer,) = made
  # No image has made TensorFlow trace anew.
  assert trainer._run_steps.experimental_get_tracing_count() == len(
    trainer._sizes()
  )
  ours, theirs = (
    runs.variables(tmp_path / name) for name in ('late', 'in_time')
  )
  assert len(ours) > 60
  assert ours.keys() == theirs.keys()
  for name, value in ours.items():
    np.testing.assert_array_equal(theirs[name], value, err_msg=name)


def test_what_a_program_depends_on_is_waited_for(shapes_dir):
  """Weights of classes are constants of the step."""
  plain = tiny.experiment_of(shapes_dir).build_task()
  train = plain.task_config.train_data
  assert plain.waits_for(train)
  assert not plain.waits_for(plain.task_config.validation_data)
  plain.data.load(train)
  assert not plain.waits_for(train)
  weighted = ["losses.class_weights = 'balanced'"]
  task = tiny.experiment_of(shapes_dir, weighted).build_task()
  assert not task.waits_for(task.task_config.train_data)


def test_damaged_images_are_told_before_there_is_a_run(
  shapes_dir, tmp_path, monkeypatch, request
):
  load = in_memory.load

  def damaged(source):
    if source.split.startswith('train'):
      raise UserError('task.train_data: it is damaged.')
    return load(source)

  monkeypatch.setattr(in_memory, 'load', damaged)
  events = request.getfixturevalue('late_images')
  told = pytest.raises(UserError, match=r'^task\.train_data: it is damaged\.$')
  with placement.as_on_accelerator(), told:
    tiny.run(shapes_dir, tmp_path / 'run')
  assert events == ['test[:50]', 'compiled']
  assert not list(tmp_path.iterdir())


def test_images_that_the_model_cannot_read_are_told_first(
  shapes_dir, tmp_path, late_images
):
  told = pytest.raises(UserError, match=r'^task\.train_data: the images of ')
  size = 'task: {model: {input_size: [32, 32, 1]}}'
  with placement.as_on_accelerator(), told:
    tiny.run(shapes_dir, tmp_path / 'run', override=size, mode='train')
  assert not list(tmp_path.iterdir())
  assert 'compiled' not in late_images


def test_a_signal_while_it_compiles_is_heeded(
  shapes_dir, tmp_path, monkeypatch, request
):
  compile_step = Trainer._compile

  def interrupted(self):
    os.kill(os.getpid(), signal.SIGINT)
    compile_step(self)

  monkeypatch.setattr(Trainer, '_compile', interrupted)
  request.getfixturevalue('late_images')
  stopped = pytest.raises(Stopped, match='Stopped after step 0 of 9')
  with placement.as_on_accelerator(), stopped:
    tiny.run(shapes_dir, tmp_path / 'run')
  assert (tmp_path / 'run' / 'params.yaml').exists()


def test_a_compilation_that_fails_leaves_nothing(
  shapes_dir, tmp_path, monkeypatch, request
):
  def fail(self):
    raise tf.errors.ResourceExhaustedError(None, None, 'out of memory')

  monkeypatch.setattr(Trainer, '_compile', fail)
  request.getfixturevalue('late_images')
  failed = pytest.raises(tf.errors.ResourceExhaustedError)
  with placement.as_on_accelerator(), failed:
    tiny.run(shapes_dir, tmp_path / 'run')
  assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures('late_images')
def test_a_device_holds_the_images_once(shapes_dir, tmp_path, monkeypatch):
  copies, blank, held, was_blank = resident.copies, resident.blank, [], []

  def make_blank(*args):
    made = blank(*args)
    held.append(weakref.ref(made[0]))
    was_blank.append(True)
    return made

  def copy(*args):
    held[:] = [each for each in held if each() is not None]
    return copies(*args)

  monkeypatch.setattr(resident, 'blank', make_blank)
  monkeypatch.setattr(resident, 'copies', copy)
  with placement.as_on_accelerator():
    tiny.run(shapes_dir, tmp_path / 'run')
  assert was_blank
  assert not held


def test_a_cpu_has_its_cores_for_decoding(shapes_dir, tmp_path, monkeypatch):
  """There the step that is compiled would wait for them, too."""
  blank = []
  monkeypatch.setattr(DataSets, 'has_loaded', lambda *_: False)
  monkeypatch.setattr(
    ImageClassificationTask,
    'build_blank_inputs',
    lambda *_: blank.append(None),
  )
  tiny.run(shapes_dir, tmp_path / 'run')
  assert not blank
