"""What several tests share: a small data set on disk, and gin left clean."""

import contextlib
import fcntl
import os
import resource
import shutil
import signal

from official_ext.machine import environment

# Before TensorFlow is imported, as the commands do; and no look for a GPU.
environment.prepare()
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')

import gin
import pytest
import tf_keras
from tensorflow.python.framework import config as tf_config

# Of processes, mostly; by time.
_LONGEST = (
  'interrupt_test',
  'distribution_test',
  'train_test',
  'garden_tasks_test',
  'transfer_test',
  'repeat_test',
  'benchmark_test',
  'damage_test',
  'resume_test',
  'whole_recipe_test',
  'accelerator_test',
  'ten_epochs_test',
)


def pytest_collection_modifyitems(items):
  """Puts long modules first, so that none of them runs alone at the end."""
  rank = {name: place for place, name in enumerate(_LONGEST)}
  items.sort(key=lambda item: rank.get(item.module.__name__, len(rank)))


@contextlib.contextmanager
def _one_worker_at_a_time(tmp_path_factory, name):
  """Gives the folder of all workers; whoever is first fills a part of it."""
  folder = tmp_path_factory.getbasetemp()
  if 'PYTEST_XDIST_WORKER' in os.environ:
    folder = folder.parent
  with (folder / f'{name}.lock').open('w') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield folder / name


@pytest.fixture(scope='session')
def shapes_dir(tmp_path_factory):
  """A folder of TFDS data sets that holds `procedural_shapes`; to be read."""
  from official_ext.datasets import procedural_shapes

  with _one_worker_at_a_time(tmp_path_factory, 'tfds') as folder:
    builder = procedural_shapes.ProceduralShapes(data_dir=folder)
    builder.download_and_prepare()
  return str(folder)


@pytest.fixture(scope='session')
def trained_run(shapes_dir, tmp_path_factory):
  """The folder of a finished run of three epochs, not to be written to."""
  from helpers import tiny

  with _one_worker_at_a_time(tmp_path_factory, 'tiny') as folder:
    if not folder.exists():
      channels = 'resnet9.channels = [4, 8, 16, 16]'
      tiny.run(shapes_dir, folder.with_suffix('.new'), [channels])
      folder.with_suffix('.new').rename(folder)
  # An evaluation holds its folder, so each worker has one.
  own = tmp_path_factory.mktemp('runs') / 'tiny'
  return shutil.copytree(folder, own, symlinks=True)


@pytest.fixture
def full_disk():
  """Returns a function; after its call no file grows beyond a size.

  To who writes, this looks like a full disk.
  """
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

  def begin(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))

  yield begin
  resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture(autouse=True)
def clean_globals():
  """Leaves no gin binding, precision or determinism to the next test."""
  yield
  gin.clear_config()
  tf_keras.mixed_precision.set_global_policy('float32')
  # Of `run.deterministic`, which has no way back in TensorFlow's public parts.
  tf_config.disable_op_determinism()
