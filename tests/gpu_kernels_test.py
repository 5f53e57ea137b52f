"""Whether TensorFlow's kernels run on a GPU, on machines without one."""

import types

import pytest
import tensorflow as tf

from official_ext.configs.common import RuntimeConfig
from official_ext.machine import gpu_kernels
from official_ext.machine.workers import Cluster
from official_ext.training import messages

# What the wheels of TensorFlow 2.20 and 2.21 say of themselves.
WHEEL = ['sm_60', 'sm_70', 'sm_80', 'sm_89', 'compute_90']


@pytest.fixture
def machine(monkeypatch):
  """Sets the details of the GPUs that are there, and TensorFlow's targets."""

  def has(gpus, built_for=WHEEL):
    build = (
      {} if built_for is None else {'cuda_compute_capabilities': built_for}
    )
    monkeypatch.setattr(tf.sysconfig, 'get_build_info', lambda: build)
    # Devices that are their own details.
    monkeypatch.setattr(tf.config, 'list_physical_devices', lambda _: gpus)
    monkeypatch.setattr(
      tf.config.experimental, 'get_device_details', lambda gpu: gpu
    )
    return gpus

  return has


def gpu(major, minor, name='NVIDIA GPU'):
  return {'device_name': name, 'compute_capability': (major, minor)}


@pytest.mark.parametrize(
  ('capability', 'built_for', 'runs'),
  [
    ((6, 1), WHEEL, True),
    ((7, 5), WHEEL, True),  # T4
    ((8, 6), WHEEL, True),  # RTX 30
    ((8, 9), WHEEL, True),  # RTX 40
    ((9, 0), WHEEL, True),  # H200
    ((10, 0), WHEEL, False),  # B200
    ((12, 0), WHEEL, False),  # RTX 50
    ((12, 0), [*WHEEL, 'sm_120'], True),
    ((12, 0), [*WHEEL, 'sm_120a'], True),
    ((12, 0), [*WHEEL, 'compute_121'], False),  # For later ones.
    ((8, 0), ['sm_86'], False),
    ((5, 2), WHEEL, False),
    ((12, 0), None, True),  # Nobody knows, as of AMD's.
  ],
)
def test_kernels_run_on_their_own_major_version(
  machine, capability, built_for, runs
):
  gpus = machine([gpu(*capability)], built_for)
  missing = {'NVIDIA GPU': '.'.join(map(str, capability))}
  assert gpu_kernels.missing(gpus) == ({} if runs else missing)


def test_a_gpu_that_tells_nothing_is_not_warned_of(machine):
  assert gpu_kernels.missing(machine([{'device_name': 'AMD'}, {}])) == {}


def started(capsys, num_gpus):
  """Returns what is printed of devices where a run begins."""
  runtime = RuntimeConfig(
    num_gpus=num_gpus,
    distribution_strategy='one_device',
    mixed_precision_dtype='bfloat16',
  )
  task = types.SimpleNamespace(
    train_data=types.SimpleNamespace(global_batch_size=512)
  )
  params = types.SimpleNamespace(runtime=runtime, task=task)
  messages.say_devices(
    types.SimpleNamespace(
      request=types.SimpleNamespace(params=params),
      cluster=Cluster(),
      strategy=tf.distribute.get_strategy(),
    )
  )
  return capsys.readouterr()


def test_a_run_says_so_where_it_begins(machine, capsys):
  name = 'NVIDIA GeForce RTX 5090'
  machine([gpu(9, 0, 'NVIDIA H200'), gpu(12, 0, name), gpu(12, 0, name)])
  printed = started(capsys, num_gpus=3)
  assert printed.out == 'NVIDIA H200 × 1 (one_device), bfloat16\n'
  assert printed.err == (
    f'warning: TensorFlow {tf.__version__} has no kernels for {name} (compute '
    'capability 12.0); to compile them when they are first used takes up to '
    'half an hour, and may fail; use a TensorFlow that is built for it, or '
    'runtime.num_gpus=0.\n'
  )
  # Of those that are not used, nothing.
  assert started(capsys, num_gpus=1).err == ''
  assert started(capsys, num_gpus=0).err == ''
