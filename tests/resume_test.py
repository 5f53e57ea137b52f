"""A run that is longer than the one before goes on from its checkpoint."""

import collections
import json
import shutil
import types

import pytest
import tensorflow as tf
from helpers import tiny
from official.core import exp_factory, task_factory
from tensorflow.python.ops import io_ops
from tensorflow.python.training import py_checkpoint_reader

from official_ext.checkpoints import compatibility
from official_ext.dataloaders import in_memory
from official_ext.errors import UserError
from official_ext.files import safe_yaml
from official_ext.machine import devices
from official_ext.progress import epoch_table
from official_ext.schema.fields import Tie
from official_ext.training.trainer import Trainer

# Those of the fixture `trained_run`.
CHANNELS = ['resnet9.channels = [4, 8, 16, 16]']


# A moving average of the weights.
AVERAGE = [
  'small_images.average = @moving_average()',
  'moving_average.average_decay = 0.9',
]


def run_to(step, shapes_dir, model_dir):
  tiny.run(shapes_dir, model_dir, override=f'trainer.train_steps={step}')
  return epoch_table.read(model_dir / epoch_table.FILE_NAME)


def test_epochs_end_where_they_would_have(shapes_dir, tmp_path):
  run_to(4, shapes_dir, tmp_path)
  rows = run_to(9, shapes_dir, tmp_path)
  assert [row['step'] for row in rows] == [3, 4, 6, 9]


def test_a_row_without_its_checkpoint_is_written_again(shapes_dir, tmp_path):
  """As after a kill between the row of an epoch and its checkpoint."""
  (row,) = run_to(3, shapes_dir, tmp_path)
  with (tmp_path / epoch_table.FILE_NAME).open('a') as file:
    file.write(json.dumps(row | {'step': 6, 'test_accuracy': 7.0}) + '\n')
    file.write('{"epoch": 3')  # As a full disk leaves it.
  rows = run_to(6, shapes_dir, tmp_path)
  assert [row['step'] for row in rows] == [3, 6]
  assert rows[1]['test_accuracy'] <= 1
  assert rows[0] == row


def test_an_input_without_steps_has_another_order_after_each_stop():
  """A run that is often stopped would never come to its later images."""

  def build_inputs(_):
    return tf.data.Dataset.range(100).shuffle(100)

  stub = types.SimpleNamespace(
    task=types.SimpleNamespace(build_inputs=build_inputs),
    config=types.SimpleNamespace(
      runtime=types.SimpleNamespace(seed=1),
      task=types.SimpleNamespace(train_data=None),
    ),
    distribute_dataset=lambda build, *args, **kwargs: build(*args, **kwargs),
  )

  def order(step):
    Trainer._begin_input_at(stub, step)
    return list(stub.train_dataset.as_numpy_iterator())

  assert order(5) == order(5) != order(6)
  assert sorted(order(6)) == list(range(100))


def test_training_alone_has_rows_without_test_columns(
  shapes_dir, tmp_path, capsys
):
  tiny.run(shapes_dir, tmp_path, mode='train')
  rows = epoch_table.read(tmp_path / epoch_table.FILE_NAME)
  assert [row['step'] for row in rows] == [3, 6, 9]
  assert {row['test_accuracy'] for row in rows} == {None}
  lines = capsys.readouterr().out.splitlines()
  assert sum(' - ' in line for line in lines) == 3


def test_an_evaluation_after_training_has_no_row_of_its_own(
  shapes_dir, tmp_path
):
  """Nor do the seconds count twice, also where the run is gone on with."""
  mode = 'train_and_post_eval'
  for _ in range(2):
    tiny.run(shapes_dir, tmp_path, mode=mode)
    rows = epoch_table.read(tmp_path / epoch_table.FILE_NAME)
    assert [row['step'] for row in rows] == [9]
    assert rows[0]['train_loss'] > 0
    assert rows[0]['total_train_seconds'] == rows[0]['train_seconds']
  longer = ['run.epochs = 4']
  tiny.run(shapes_dir, tmp_path, longer)
  first, last = epoch_table.read(tmp_path / epoch_table.FILE_NAME)
  assert first == rows[0]
  assert last['total_train_seconds'] == pytest.approx(
    first['train_seconds'] + last['train_seconds']
  )


def test_the_table_of_checkpoints_that_are_gone_is_kept(
  shapes_dir, tmp_path, capsys
):
  before = run_to(3, shapes_dir, tmp_path)
  for file in [*tmp_path.glob('ckpt-*'), tmp_path / 'checkpoint']:
    file.unlink()
  after = run_to(3, shapes_dir, tmp_path)
  assert epoch_table.read(tmp_path / 'epochs.1.jsonl') == before
  assert len(after) == 1
  assert 'is of an earlier run; it is now' in capsys.readouterr().out


@pytest.mark.parametrize(
  ('first', 'then', 'message'),
  [
    ([], ['data.batch_size = 25'], 'global_batch_size=30, but here it is 25'),
    (
      [],
      ['sgd_coupled_decay.momentum = 0.5'],
      'sgd_coupled_decay.momentum=0.9, but here it is 0.5',
    ),
    (AVERAGE, [], 'with trainer.optimizer_config.ema, but here there is none'),
  ],
)
def test_what_a_run_cannot_become_half_way(
  shapes_dir, tmp_path, first, then, message
):
  stop = 'trainer.train_steps=1'
  tiny.run(shapes_dir, tmp_path, first, stop, 'train')
  with pytest.raises(UserError, match=message):
    tiny.run(shapes_dir, tmp_path, then)
  assert (tmp_path / 'ckpt-1.index').exists()


def test_an_optimizer_of_another_shape_is_seen_without_the_config(
  shapes_dir, tmp_path
):
  stop = 'trainer.train_steps=1'
  tiny.run(shapes_dir, tmp_path, AVERAGE, stop, 'train')
  (tmp_path / 'params.yaml').unlink()
  with pytest.raises(UserError, match='of another model or optimizer'):
    tiny.run(shapes_dir, tmp_path)


@pytest.mark.parametrize(
  ('binding', 'message'),
  [
    (
      "norm_activation.activation = 'celu'",
      "norm_activation.activation='relu', but .* 'celu'",
    ),
    (
      'resnet9.pool_before_norm = True',
      'resnet9.pool_before_norm=False, but here it i',
    ),
    (
      "resnet9.first_layer = 'whitening'",
      "first_layer='conv', but here it is 'whiteni",
    ),
    (
      'resnet9.norm_scale = False',
      'resnet9.norm_scale=True, but here it is False',
    ),
    (
      'norm_activation.norm_epsilon = 1e-3',
      'norm_epsilon=1e-05, but here it is 0.001',
    ),
    ("head.pooling = 'avg'", "model.head.pooling='max', but here it is 'avg'"),
    (
      'data.mean_rgb = [1.0, 2.0, 3.0]',
      r'mean_rgb=\[125.3.*, but here it is \[1.0',
    ),
    (
      'head.logit_scale = 1.0',
      'task.model.head.logit_scale=0.125, but here it is 1.0',
    ),
    (
      'small_images.average = @moving_average()',
      'without trainer.optimizer_config.ema, but here there is one',
    ),
  ],
)
def test_weights_are_not_put_into_another_network(
  shapes_dir, tmp_path, binding, message
):
  """Of most of these TensorFlow would say nothing."""
  params = tiny.config(shapes_dir)
  (tmp_path / 'params.yaml').write_text(safe_yaml.dump(params.as_dict()))
  compatibility.check(params, str(tmp_path), Tie.WEIGHTS)
  other = tiny.config(shapes_dir, [binding])
  with pytest.raises(UserError, match=message):
    compatibility.check(other, str(tmp_path), Tie.WEIGHTS)


@pytest.mark.parametrize(
  ('folder', 'other'),
  [('', 'pool_before_norm = True'), ('best', "first_layer = 'whitening'")],
)
def test_a_run_is_evaluated_as_it_was_trained(
  trained_run, shapes_dir, folder, other
):
  place = trained_run / folder
  tiny.run(shapes_dir, place, CHANNELS, mode='eval')
  bindings = [*CHANNELS, f'resnet9.{other}']
  with pytest.raises(
    UserError, match=f'={place} was trained with task.model.ba'
  ):
    tiny.run(shapes_dir, place, bindings, mode='eval')


@pytest.mark.parametrize(
  ('place', 'before', 'now'),
  [
    ('optimizer.sgd.momentum', 0.9, 0.95),
    ('optimizer.adam.beta_2', 0.999, 0.99),
    ('learning_rate.constant.learning_rate', 0.1, 0.01),
  ],
)
def test_what_garden_keeps_in_a_checkpoint_stays(tmp_path, place, before, now):
  kind, name, _ = place.split('.')

  def config(value):
    params = exp_factory.get_exp_config('retinanet_resnetfpn_coco')
    optimizer = {kind: {'type': name, name: {place.split('.')[2]: value}}}
    params.override({'trainer': {'optimizer_config': optimizer}})
    return params

  (tmp_path / 'params.yaml').write_text(
    safe_yaml.dump(config(before).as_dict())
  )
  compatibility.check(config(before), str(tmp_path), Tie.RUN)
  message = f'{place}={before}, but here it is {now}'
  with pytest.raises(UserError, match=message):
    compatibility.check(config(now), str(tmp_path), Tie.RUN)


def test_float16_goes_on_from_float16_alone(shapes_dir, tmp_path, monkeypatch):
  """As where a run that a CPU began is moved to a GPU."""
  run_to(3, shapes_dir, tmp_path)
  monkeypatch.setattr(devices, '_check_precision', lambda *_: None)
  with pytest.raises(UserError, match='was not trained in float16, '):
    tiny.run(shapes_dir, tmp_path, ["run.precision = 'float16'"])
  assert len(run_to(6, shapes_dir, tmp_path)) == 2


@pytest.mark.parametrize('mode', ['train_and_eval', 'eval'])
def test_another_data_set_is_refused(trained_run, shapes_dir, tmp_path, mode):
  """It would mix the table, and give labels other names."""
  run = shutil.copytree(trained_run, tmp_path / 'run')
  file = run / 'params.yaml'
  file.write_text(
    file.read_text().replace('procedural_shapes', 'cifar10:3.0.2')
  )
  message = "tfds_name='cifar10:3.0.2', but here it is 'procedural_shapes'; use"
  with pytest.raises(UserError, match=message):
    tiny.run(shapes_dir, run, CHANNELS, mode=mode)


@pytest.mark.parametrize('mode', ['train_and_eval', 'eval'])
def test_other_classes_are_refused(trained_run, shapes_dir, tmp_path, mode):
  """As of a folder of pictures that was prepared anew under the same name."""
  run = shutil.copytree(trained_run, tmp_path / 'run')
  names = (run / 'class_names.txt').read_text().split()
  names[1:3] = reversed(names[1:3])
  (run / 'class_names.txt').write_text('\n'.join(names))
  message = (
    f"label 1 is '{names[1]}' .class_names.*, but here it is '{names[2]}'"
  )
  with pytest.raises(UserError, match=message):
    tiny.run(shapes_dir, run, CHANNELS, mode=mode)


def test_another_model_is_seen_without_the_config(shapes_dir, tmp_path):
  run_to(3, shapes_dir, tmp_path)
  (tmp_path / 'params.yaml').unlink()
  with pytest.raises(UserError, match='holds a checkpoint of another model'):
    tiny.run(shapes_dir, tmp_path, ['resnet9.channels = [4, 8, 8, 9]'])


def test_a_finished_run_takes_neither_data_nor_a_model(
  trained_run, shapes_dir, monkeypatch, capsys
):
  for module, name in ((in_memory, 'load'), (task_factory, 'get_task')):
    monkeypatch.delattr(module, name)
  before = {f: f.stat().st_mtime_ns for f in trained_run.rglob('*')}
  tiny.run(shapes_dir, trained_run, CHANNELS)
  out = capsys.readouterr().out
  assert 'is finished, at step 9 of 9' in out
  lines = out[out.index('epoch ') :].splitlines()
  assert [line.split()[0] for line in lines[1:4]] == ['1', '2', '3']
  assert lines[4].startswith('Test accuracy')
  after = {f: f.stat().st_mtime_ns for f in trained_run.rglob('*')}
  del before[trained_run / '.lock'], after[trained_run / '.lock']
  assert after == before


@pytest.fixture
def reads(monkeypatch):
  """How often each tensor of a checkpoint is read, by its name."""
  counts = collections.Counter()
  restore = io_ops.restore_v2
  reader = py_checkpoint_reader.CheckpointReader
  get_tensor = reader.get_tensor

  def counted_restore(prefix, tensor_names, *args, **kwargs):
    counts.update(tf.nest.flatten(tensor_names))
    return restore(prefix, tensor_names, *args, **kwargs)

  def counted_get_tensor(self, name):
    counts[name] += 1
    return get_tensor(self, name)

  monkeypatch.setattr(io_ops, 'restore_v2', counted_restore)
  monkeypatch.setattr(reader, 'get_tensor', counted_get_tensor)
  return counts


@pytest.mark.parametrize(
  ('epochs', 'mode', 'average'),
  [
    (4, 'train_and_eval', []),
    (4, 'train_and_eval', AVERAGE),
    (3, 'train_and_eval', []),  # It is finished.
    (3, 'eval', []),
    (3, 'eval', AVERAGE),
  ],
)
def test_a_checkpoint_is_read_once(
  shapes_dir, tmp_path, reads, epochs, mode, average
):
  """But for its step and other scalars, which are a few bytes.

  Where the run goes on, the best one is read once, too: it may be damaged.
  """
  tiny.run(shapes_dir, tmp_path, average)
  saved, best = (
    {n for n, shape in tf.train.list_variables(str(folder)) if shape}
    for folder in (tmp_path, tmp_path / 'best')
  )
  reads.clear()
  tiny.run(
    shapes_dir, tmp_path, [*average, f'run.epochs = {epochs}'], mode=mode
  )
  found = {name: count for name, count in reads.items() if name in saved}
  goes_on = epochs > 3
  assert found == {name: 1 + (goes_on and name in best) for name in saved}


def test_the_best_checkpoint_is_not_trained_in(shapes_dir, tmp_path):
  run_to(3, shapes_dir, tmp_path)
  best = tmp_path / 'best'
  before = sorted(best.iterdir())
  with pytest.raises(UserError, match='holds the best checkpoint of the run'):
    run_to(6, shapes_dir, best)
  assert sorted(best.iterdir()) == before
  tiny.run(shapes_dir, best, mode='eval')


def test_an_evaluation_ends_with_the_data(shapes_dir, tmp_path):
  tiny.run(
    shapes_dir,
    tmp_path,
    override='trainer.train_steps=3,trainer.validation_steps=20',
  )
  (row,) = epoch_table.read(tmp_path / epoch_table.FILE_NAME)
  assert 0 <= row['test_accuracy'] <= 1


def test_epochs_are_those_of_the_data(shapes_dir, tmp_path, capsys):
  """However seldom the run is evaluated."""
  tiny.run(shapes_dir, tmp_path, override='trainer.validation_interval=6')
  rows = epoch_table.read(tmp_path / epoch_table.FILE_NAME)
  assert [(row['step'], row['epoch']) for row in rows] == [(6, 2), (9, 3)]
  assert '(3 steps of 30 an epoch)' in capsys.readouterr().out


def test_a_record_of_the_best_without_the_metric(shapes_dir, tmp_path, capsys):
  run_to(3, shapes_dir, tmp_path)
  mirror = ["evaluation.views = ['mirror']"]
  override = 'trainer.best_checkpoint_eval_metric=accuracy_mirror'
  tiny.run(shapes_dir, tmp_path, mirror, override)
  assert 'info.json has no accuracy_mirror; the best' in capsys.readouterr().err
  record = json.loads((tmp_path / 'best' / 'info.json').read_text())
  assert 'accuracy_mirror' in record
