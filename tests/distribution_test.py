"""Several devices and workers: what they compute, and how they end."""

import collections
import json
import os
import signal
import socket
import sys
import time
from concurrent import futures

import numpy as np
import psutil
import pytest
import tensorflow as tf
from helpers import tiny
from helpers.commands import CONTEXT
from helpers.input_batches import (
  assert_same,
  batches,
  make_data,
  train_config,
)
from helpers.runs import (
  assert_same_run,
  last_step,
  rows,
  variables,
  wait_for,
)

from official_ext.checkpoints import folder
from official_ext.configs.common import RuntimeConfig
from official_ext.dataloaders import classification_input
from official_ext.dataloaders.data_sets import DataSets
from official_ext.errors import RunError, Stopped, UserError
from official_ext.machine import devices, exchange, meeting, workers
from official_ext.ops import placement, whitening
from official_ext.progress import epoch_table
from official_ext.training import start as starts

SYNC = ['norm_activation.use_sync_bn = True']
BALANCED = ["losses.class_weights = 'balanced'"]
# Large enough that a decay counted twice would show; the low rate keeps one
# rounding error, where the largest of two equal values is chosen, from growing.
RATES = [
  'triangular.peak_learning_rate = 0.05',
  'sgd_coupled_decay.weight_decay = 0.1',
]
# A row of the table for each of the first three steps.
THREE_STEPS = (
  'trainer: {train_steps: 3, steps_per_loop: 1, summary_interval: 1, '
  'validation_interval: 1}'
)
FOR_EVER = ['run.epochs = 9999']


def as_command(log, environment, *arguments):
  """Runs `tiny.run` in a process of its own, ended as the command line does."""
  os.environ.update(environment)
  with open(log, 'a') as file:
    os.dup2(file.fileno(), 1)
    os.dup2(file.fileno(), 2)
  sys.argv = ['train.py', '--gin_file=tiny.gin']
  try:
    tiny.run(*arguments)
  except (UserError, Stopped) as end:
    print(end, flush=True)
    sys.exit(end.status)


def kept_trainers():
  """Returns a list that each trainer of this process is put into."""
  made, build = [], starts._build

  def keep(*args):
    made.append(build(*args))
    return made[-1]

  starts._build = keep
  return made


def as_two_accelerators(shapes_dir, model_dir, bindings, results):
  """Runs `tiny.run` on halves of the CPU that stand for GPUs.

  The step is compiled before the images are read. Puts how often a step was
  traced, and the devices that images are on.
  """
  made = kept_trainers()
  DataSets.has_loaded = lambda *_: False
  override = f'{{runtime: {{num_logical_cpus: 2}}, {THREE_STEPS}}}'
  with placement.as_on_accelerator():
    tiny.run(shapes_dir, model_dir, bindings, override)
  (trainer,) = made
  results.put(
    (
      trainer._run_steps.experimental_get_tracing_count(),
      [
        image.device[-5:]
        for copies in (trainer.task._train_images, trainer.task._test_images)
        for image in copies
      ],
    )
  )


def as_worker_of_another_cpu(shapes_dir, model_dir, hosts, index, results):
  """Runs `tiny.run` as a worker whose eigenvectors have a sign of their own.

  Puts the worker's index, the filters that it computed and those it trains on.
  """
  os.environ.update(tf_config(hosts, index))
  found, compute = [], whitening.filters

  def compute_here(*args, **kwargs):
    found.append((-1) ** index * compute(*args, **kwargs))
    return found[-1]

  whitening.filters = compute_here
  made = kept_trainers()
  whitened = ["resnet9.first_layer = 'whitening'"]
  one_step = '{trainer: {train_steps: 1}}'
  tiny.run(shapes_dir, model_dir, whitened, one_step, 'train')
  (trainer,) = made
  (weights,) = (
    layer.whitening.numpy()
    for layer in trainer.model.submodules
    if hasattr(layer, 'learn_filters')
  )
  results.put((index, found, weights))


class Process:
  """A run of `tiny.run`, whose output is in a file."""

  def __init__(self, log, environment, *arguments):
    self.log = log
    self._process = CONTEXT.Process(
      target=as_command, args=(str(log), environment, *arguments)
    )
    self._process.start()
    self.pid = self._process.pid

  def end(self, seconds=60):
    """Waits for its end, and returns the exit status."""
    self._process.join(seconds)
    assert self._process.exitcode is not None, self.log.read_text()
    return self._process.exitcode

  def kill(self):
    self._process.kill()
    self._process.join()

  def says(self, text):
    assert text in self.log.read_text()


@pytest.fixture
def start(shapes_dir, tmp_path):
  """Starts processes, and leaves none behind."""
  started = []

  def run(name, bindings=(), override='', environment=(), data=shapes_dir):
    process = Process(
      tmp_path / f'{name}.log',
      dict(environment),
      str(data),
      str(tmp_path / name),
      bindings,
      '{' + override + '}',
    )
    started.append(process)
    return process

  yield run
  for process in started:
    process.kill()


def free_hosts(count=2):
  """Addresses of the loopback whose ports are free."""
  sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(count)]
  hosts = [f'127.0.0.1:{s.getsockname()[1]}' for s in sockets]
  for each in sockets:
    each.close()
  return hosts


def tf_config(hosts, index):
  task = {'type': 'worker', 'index': index}
  return {'TF_CONFIG': json.dumps({'cluster': {'worker': hosts}, 'task': task})}


def start_workers(start, name, bindings=(), override=''):
  hosts = free_hosts()
  return hosts, [
    start(
      name if index == 0 else f'{name}-other',
      bindings,
      override,
      tf_config(hosts, index),
    )
    for index in range(2)
  ]


def by_column(model_dir):
  table = rows(model_dir)
  return {key: np.array([row[key] for row in table]) for key in table[0]}


def data_service(workers):
  """A dispatcher and workers, in this process; all three must be kept."""
  service = tf.data.experimental.service
  dispatcher = service.DispatchServer()
  address = dispatcher.target.partition('://')[2]
  return dispatcher, [
    service.WorkerServer(service.WorkerConfig(dispatcher_address=address))
    for _ in range(workers)
  ]


def service_batches(config, start_step, count):
  dataset = classification_input.build(
    make_data(23), config, tf.distribute.InputContext(1, 0, 2), start_step
  )
  return batches(dataset, count)


def test_a_data_service_gives_the_same_batches():
  dispatcher, workers = data_service(1)
  config = train_config()
  # Two replicas' batches of a step, over the edge of an epoch.
  expected = service_batches(config, 3, 12)
  config.tf_data_service_address = dispatcher.target
  assert_same(service_batches(config, 3, 12), expected)
  del workers


def test_several_workers_of_a_data_service_give_each_batch_once():
  dispatcher, workers = data_service(2)
  config = train_config()
  plain = [images.tobytes() for images, _ in service_batches(config, 0, 200)]
  config.tf_data_service_address = dispatcher.target
  some = service_batches(config, 0, 100)
  found = collections.Counter(images.tobytes() for images, _ in some)
  assert found <= collections.Counter(plain)
  assert found >= collections.Counter(plain[:60])
  del workers


@pytest.mark.parametrize('address', ['grpc://127.0.0.1:1', 'localhost'])
def test_a_data_service_that_is_not_there(address):
  config = train_config(tf_data_service_address=address)
  with pytest.raises(UserError, match=f"='{address}' .* is no tf.data service"):
    service_batches(config, 0, 1)


def weights(model_dir):
  return {
    name: value
    for name, value in variables(model_dir).items()
    if name.startswith('model/')
  }


@pytest.mark.parametrize('bindings', [SYNC, []], ids=['sync_bn', 'own_bn'])
def test_one_two_and_two_workers_train_alike(start, tmp_path, bindings):
  settings = [*RATES, *BALANCED, *bindings]
  one = start('one', settings, THREE_STEPS)
  cpus = 'runtime: {num_logical_cpus: 2}'
  mirrored = start('mirrored', settings, f'{THREE_STEPS}, {cpus}')
  assert [one.end(), mirrored.end()] == [0, 0]
  _, workers = start_workers(start, 'workers', settings, THREE_STEPS)
  assert [worker.end() for worker in workers] == [0, 0]

  share = 'float32, 15 of the 30 images of a step on each'
  one.says('CPU × 1 (one_device), float32\n')
  mirrored.says(f'CPU × 2 (mirrored), {share}')
  for worker in workers:
    worker.says(f'CPU × 2 (multi_worker_mirrored), {share}')
  expected = by_column(tmp_path / 'one')
  assert expected['step'].tolist() == [1, 2, 3]
  # Statistics of 15 images are not those of 30.
  tolerance = 1e-5 if bindings else 0.03
  for name in ('mirrored', 'workers'):
    found = by_column(tmp_path / name)
    for key in ('train_loss', 'test_loss'):
      np.testing.assert_allclose(
        found[key], expected[key], rtol=0, atol=tolerance, err_msg=name
      )
    if bindings:
      # 50 test images in batches of 20: shares of 10, 10 and 5, all counted.
      np.testing.assert_array_equal(
        np.round(50 * found['test_accuracy'], 4),
        np.round(50 * expected['test_accuracy'], 4),
      )
      for key, value in weights(tmp_path / 'one').items():
        np.testing.assert_allclose(
          weights(tmp_path / name)[key], value, atol=1e-4, err_msg=key
        )
  assert not (tmp_path / 'workers-other').exists()


def test_workers_of_two_kinds_of_cpu_train_on_the_chiefs_filters(
  shapes_dir, tmp_path
):
  hosts, results = free_hosts(), CONTEXT.SimpleQueue()
  processes = [
    CONTEXT.Process(
      target=as_worker_of_another_cpu,
      args=(shapes_dir, str(tmp_path), hosts, index, results),
    )
    for index in range(2)
  ]
  for process in processes:
    process.start()
  for process in processes:
    process.join(60)
  assert [process.exitcode for process in processes] == [0, 0]
  ended = sorted((results.get() for _ in processes), key=lambda each: each[0])
  (_, (chiefs,), weights), (_, (others,), other_weights) = ended
  assert np.any(chiefs)
  np.testing.assert_array_equal(others, -chiefs)
  np.testing.assert_array_equal(weights, chiefs)
  np.testing.assert_array_equal(other_weights, chiefs)


def test_a_run_of_two_workers_stops_breaks_and_goes_on(start, tmp_path):
  run = tmp_path / 'run'
  table = run / 'epochs.jsonl'

  def begin(override=''):
    size = table.stat().st_size if table.exists() else 0
    hosts, workers = start_workers(start, 'run', FOR_EVER, override)
    if not override:
      grown = lambda: table.exists() and table.stat().st_size > size  # noqa: E731
      wait_for(grown, workers[0])
    return hosts, workers

  # A signal to the other worker stops both after the same step.
  hosts, (chief, other) = begin()
  os.kill(other.pid, signal.SIGTERM)
  assert (other.end(), chief.end()) == (143, 143)
  text = chief.log.read_text()
  step = last_step(run)
  assert f'Stopped after step {step:,} of' in text
  assert f'worker 1 ({hosts[1]}) was told to. Go on with all workers' in text
  other.says(f'Stopped after step {step:,} of')
  assert 'epoch' not in other.log.read_text()

  # The chief dies without a word: what is saved stays good.
  hosts, (chief, other) = begin()
  chief.says(f'Going on in {run} from step {step:,}')
  chief.kill()
  assert other.end(30) == 1
  other.says(f'worker 0 ({hosts[0]}, the chief) is lost')

  # So does the other one.
  hosts, (chief, other) = begin()
  other.kill()
  assert chief.end(30) == 1
  chief.says(f'worker 1 ({hosts[1]}) is lost')
  folder.read_all(tf.train.latest_checkpoint(run))

  # All are started again: the table has each epoch once.
  last = last_step(run) // 3 * 3 + 6
  _, workers = begin(f'trainer: {{train_steps: {last}}}')
  assert [worker.end() for worker in workers] == [0, 0]
  steps = [row['step'] for row in epoch_table.read(table)]
  assert steps == list(range(3, last + 1, 3))
  assert not (tmp_path / 'run-other').exists()


def test_replicas_go_on_from_what_they_share(start, tmp_path):
  """Their own batch-norm statistics are not in a checkpoint, the mean is."""
  settings = ['run.deterministic = True']
  two = 'runtime: {num_logical_cpus: 2}'
  whole, part = (f'{two}, trainer: {{train_steps: {n}}}' for n in (6, 3))
  runs = [start('a', settings, whole), start('b', settings, part)]
  assert [run.end() for run in runs] == [0, 0]
  assert start('b', settings, whole).end() == 0
  assert_same_run(tmp_path / 'a', tmp_path / 'b')


def test_data_that_are_yet_to_be_made(start, tmp_path):
  """TensorFlow makes them, and has its devices settled only later."""
  data = tmp_path / 'data'
  run = start('run', override='runtime: {num_logical_cpus: 2}', data=data)
  assert run.end() == 0
  run.says('Writing procedural_shapes/')
  assert list(data.glob('procedural_shapes/*/dataset_info.json'))


def test_one_process_speaks_to_nobody(start, tmp_path):
  run = start('run', FOR_EVER)
  wait_for((tmp_path / 'run' / 'epochs.jsonl').exists, run)
  assert psutil.Process(run.pid).net_connections('inet') == []


@pytest.mark.parametrize('index', [0, 1])
def test_a_worker_that_does_not_arrive(start, tmp_path, index):
  hosts = free_hosts()
  settings = {
    'worker_hosts': ','.join(hosts),
    'task_index': index,
    'arrival_timeout_seconds': 1,
  }
  alone = start('run', override=f'runtime: {json.dumps(settings)}')
  assert alone.end(20) == 2
  missing = 1 - index
  chief = ', the chief' if missing == 0 else ''
  alone.says(
    f'worker {missing} ({hosts[missing]}{chief}) did not arrive within 1 s'
  )
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(('other', 'differing'), [('a', []), ('b', [1])])
def test_workers_tell_each_other_their_settings(other, differing):
  hosts = tuple(free_hosts())
  chief, worker = (workers.Cluster(hosts, index) for index in range(2))
  end = time.monotonic() + 20
  with futures.ThreadPoolExecutor() as threads:
    answer = threads.submit(meeting._expect_workers, chief, end, 'a')
    assert meeting._report_to_chief(worker, end, other) == ([], differing)
    assert answer.result() == ([], differing)


def test_a_worker_whose_port_is_taken():
  hosts = tuple(free_hosts())
  own = workers.Cluster(hosts, 1)
  host, port = hosts[1].split(':')
  with (
    socket.create_server((host, int(port))),
    pytest.raises(UserError, match=r'worker 1 .* cannot listen at its port'),
  ):
    meeting._report_to_chief(own, time.monotonic() + 5, '')


def test_a_lost_worker_beside_a_host_called_chief(monkeypatch):
  hosts = ['chief:2222', 'other:2222']
  task = {'type': 'worker', 'index': 0}
  text = json.dumps({'cluster': {'worker': hosts}, 'task': task})
  monkeypatch.setenv('TF_CONFIG', text)
  monkeypatch.setattr(exchange, '_unreachable', lambda _: [])
  lost = r'^worker 1 \(other:2222\) is lost, so this one ends too'
  with (
    pytest.raises(RunError, match=lost),
    exchange.watched(workers.Cluster(tuple(hosts), 0)),
  ):
    raise tf.errors.UnavailableError(
      None, None, '/job:worker/replica:0/task:1 is silent'
    )


CLUSTER = {'worker': ['a:1', 'b:2']}


@pytest.mark.parametrize(
  ('text', 'error'),
  [
    ('{worker', r"TF_CONFIG='{worker' is no JSON \(.*; write \{"),
    (json.dumps({'cluster': CLUSTER}), 'lacks cluster.worker, task.type'),
    (
      json.dumps({'cluster': CLUSTER, 'task': {'type': 'ps', 'index': 0}}),
      'other tasks than one chief and workers',
    ),
    (
      json.dumps({'cluster': CLUSTER, 'task': {'type': 'worker', 'index': 2}}),
      'none of the 2 workers; count them from 0 to 1',
    ),
    (
      json.dumps({'cluster': CLUSTER, 'task': {'type': 'chief', 'index': 0}}),
      'none of the 2 workers; count them from 0 to 1',
    ),
  ],
)
def test_a_wrong_tf_config(monkeypatch, text, error):
  monkeypatch.setenv('TF_CONFIG', text)
  with pytest.raises(UserError, match=error):
    workers.configure(RuntimeConfig())


def test_the_chief_comes_first(monkeypatch):
  hosts = {'chief': ['c:1'], 'worker': ['a:1', 'b:2']}
  task = {'type': 'worker', 'index': 1}
  monkeypatch.setenv('TF_CONFIG', json.dumps({'cluster': hosts, 'task': task}))
  found = workers.configure(RuntimeConfig())
  assert found == workers.Cluster(('c:1', 'a:1', 'b:2'), 2)
  with pytest.raises(UserError, match="'x:1' is not what TF_CONFIG says"):
    workers.configure(RuntimeConfig(worker_hosts='x:1'))


@pytest.mark.parametrize(
  ('settings', 'error'),
  [
    ({'distribution_strategy': 'mirored'}, "'mirored' does not exist; use one"),
    (
      {'distribution_strategy': 'parameter_server'},
      "'parameter_server' does not exist",
    ),
    ({'num_gpus': 99}, r'num_gpus=99, but TensorFlow sees \d+; leave it out'),
    ({'num_logical_cpus': -1}, 'num_logical_cpus=-1 must be 0, or'),
    (
      {'num_logical_cpus': 2, 'distribution_strategy': 'one_device'},
      'num_logical_cpus=2 must be 0, or',
    ),
    ({'worker_hosts': 'a:1,b', 'task_index': 0}, "'b' is not host:port"),
    ({'worker_hosts': 'a:1,b:0', 'task_index': 0}, "'b:0' is not host:port"),
    ({'worker_hosts': 'a:1,a:1', 'task_index': 0}, 'name each worker once'),
    ({'worker_hosts': '[::1]:1,b:1', 'task_index': 0}, 'is not host:port'),
    ({'worker_hosts': 'a:1,b:2'}, 'task_index=-1 is none of the 2 workers'),
    ({'worker_hosts': 'a:1,b:2', 'task_index': 2}, 'task_index=2 is none'),
    ({'arrival_timeout_seconds': 0}, 'arrival_timeout_seconds=0 must be more'),
    ({'tpu': 'grpc://a:b'}, "tpu='grpc://a:b' .* no TPU that"),
    ({'tpu': 'grpc://127.0.0.1:1'}, "tpu='grpc://127.0.0.1:1' .* no TPU that"),
  ],
)
def test_settings_that_cannot_work(monkeypatch, settings, error):
  monkeypatch.delenv('TF_CONFIG', raising=False)
  with pytest.raises(UserError, match=error):
    devices.resolve(RuntimeConfig(**settings))


@pytest.mark.parametrize('address', [None, 'local'])
def test_no_tpu_here(address):
  runtime = RuntimeConfig(tpu=address, distribution_strategy='tpu')
  devices.resolve(runtime)
  with pytest.raises(UserError, match=r'runtime.tpu=.* is no TPU that answers'):
    devices.set_up(runtime)


def test_evaluation_with_a_damaged_list(start, shapes_dir, tmp_path):
  """And the table has a decimal where an epoch is not whole."""
  run = tmp_path / 'run'
  trained = start('run', override='trainer: {train_steps: 4}')
  assert trained.end() == 0
  trained.says('\n    1   ')
  trained.says('\n  1.3   ')
  (run / 'checkpoint').write_bytes(b'\xff\x00rubbish')
  tiny.run(shapes_dir, run, mode='eval')
  assert (run / 'checkpoint').read_bytes() == b'\xff\x00rubbish'


def test_images_are_on_each_device_and_a_step_is_traced_once(
  shapes_dir, tmp_path
):
  """And what it computes is what one device does with the host's batches."""
  results, bindings = CONTEXT.SimpleQueue(), [*SYNC, *RATES]
  process = CONTEXT.Process(
    target=as_two_accelerators,
    args=(shapes_dir, str(tmp_path / 'two'), bindings, results),
  )
  process.start()
  process.join(120)
  assert process.exitcode == 0
  traced, places = results.get()
  assert traced == 1
  assert places == ['CPU:0', 'CPU:1'] * 2
  tiny.run(shapes_dir, tmp_path / 'one', bindings, f'{{{THREE_STEPS}}}')
  ours, theirs = (
    [row['train_loss'] for row in rows(tmp_path / name)]
    for name in ('two', 'one')
  )
  np.testing.assert_allclose(ours, theirs, rtol=1e-5)
