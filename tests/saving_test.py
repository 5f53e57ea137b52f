"""Checkpoints that are written while training goes on."""

import json
import threading

import numpy as np
import pytest
import tensorflow as tf
from helpers import runs, tiny

from official_ext.checkpoints import best, writing
from official_ext.files import whole
from official_ext.training import team

AVERAGE = ['small_images.average = @moving_average()']


def inodes(folder, name):
  return {
    path.name.removeprefix(name): path.stat().st_ino
    for path in folder.glob(f'{name}.*')
  }


@pytest.mark.parametrize('bindings', [[], AVERAGE])
def test_a_thread_writes_what_is_written_at_once(
  shapes_dir, tmp_path, monkeypatch, bindings
):
  """All of it: weights, slots, averages, counts, metrics."""
  bindings = [*bindings, 'run.deterministic = True']
  tiny.run(shapes_dir, tmp_path / 'beside', bindings)
  monkeypatch.setattr(team.Team, 'saves_beside', False)
  tiny.run(shapes_dir, tmp_path / 'at_once', bindings)
  for part in ('', 'best'):
    ours, theirs = (
      runs.variables(tmp_path / way / part) for way in ('beside', 'at_once')
    )
    assert len(ours) > 60
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
      np.testing.assert_array_equal(theirs[name], value, err_msg=name)


def test_what_changes_while_a_thread_writes_is_not_in_it(tmp_path):
  weight, may_write = tf.Variable([1.0, 2.0]), threading.Event()
  checkpoint = tf.train.Checkpoint(weight=weight)
  late = []

  def after(path):
    assert may_write.wait(30)
    late.append(path)

  for value in (3.0, 5.0):
    weight.assign([value, value])
    path = str(tmp_path / f'{value:g}')
    checkpoint.write(path, writing.options(True, [after]))
    weight.assign([9.0, 9.0])
    assert path not in late
    may_write.set()
    writing.settle(checkpoint)
    may_write.clear()
    assert path in late
    saved = tf.train.load_variable(path, 'weight/.ATTRIBUTES/VARIABLE_VALUE')
    np.testing.assert_array_equal(saved, [value, value])
  writing.finish(checkpoint)


def test_what_hinders_a_thread_is_told_once(tmp_path):
  checkpoint = tf.train.Checkpoint(weight=tf.Variable(1.0))
  (tmp_path / 'file').touch()
  checkpoint.write(str(tmp_path / 'file' / 'ckpt'), writing.options(True))
  with pytest.raises(tf.errors.OpError):
    writing.settle(checkpoint)
  writing.settle(checkpoint)
  writing.finish(checkpoint)


def test_the_thread_ends_with_the_run(shapes_dir, tmp_path):
  before = threading.active_count()
  tiny.run(shapes_dir, tmp_path)
  assert threading.active_count() <= before


def test_the_best_checkpoint_is_the_runs_own(shapes_dir, tmp_path):
  """One file of two names where it is still among those that are kept."""
  override = 'trainer.max_to_keep=3'
  tiny.run(shapes_dir, tmp_path, override=override)
  record = json.loads((tmp_path / 'best' / 'info.json').read_text())
  step = round(record['best_ckpt_global_step'])
  own = inodes(tmp_path, f'ckpt-{step}')
  theirs = inodes(tmp_path / 'best', f'best_ckpt-{step}')
  data, index = '.data-00000-of-00001', '.index'
  assert set(own) == set(theirs) == {data, index}
  assert theirs[data] == own[data]
  # TensorFlow would write over it.
  assert theirs[index] != own[index]
  assert tf.train.latest_checkpoint(tmp_path / 'best') == (
    str(tmp_path / 'best' / f'best_ckpt-{step}')
  )
  others = {p.name.split('.')[0] for p in (tmp_path / 'best').glob('*_ckpt*')}
  assert others == {f'best_ckpt-{step}'}


@pytest.mark.parametrize(
  ('mode', 'override'),
  [
    ('train_and_eval', 'trainer.checkpoint_interval=9'),
    ('train_and_post_eval', ''),
  ],
)
def test_a_best_one_is_written_where_none_is_saved(
  shapes_dir, tmp_path, mode, override
):
  tiny.run(shapes_dir, tmp_path, override=override, mode=mode)
  record = json.loads((tmp_path / 'best' / 'info.json').read_text())
  step = tf.train.load_variable(
    str(tmp_path / 'best'), 'global_step/.ATTRIBUTES/VARIABLE_VALUE'
  )
  assert step == record['best_ckpt_global_step']
  assert step in (3, 6, 9)


def test_one_that_goes_while_it_is_linked_is_written(
  shapes_dir, tmp_path, monkeypatch
):
  """As where another process trains, and removes old ones."""

  def is_gone(path, _):
    raise FileNotFoundError(path)

  monkeypatch.setattr(whole, 'copy', is_gone)
  tiny.run(shapes_dir, tmp_path, mode='train_and_post_eval')
  assert tf.train.latest_checkpoint(tmp_path / 'best') == (
    str(tmp_path / 'best' / 'best_ckpt-9')
  )
  assert inodes(tmp_path / 'best', 'best_ckpt-9') != inodes(tmp_path, 'ckpt-9')


def test_a_link_is_a_copy_where_there_are_none(tmp_path, monkeypatch):
  (tmp_path / 'a').write_bytes(b'bytes')
  (tmp_path / 'b').write_bytes(b'old')

  def refuse(*_):
    raise OSError('no links here')

  monkeypatch.setattr(whole.os, 'link', refuse)
  whole.link(str(tmp_path / 'a'), str(tmp_path / 'b'))
  assert (tmp_path / 'b').read_bytes() == b'bytes'
  assert sorted(path.name for path in tmp_path.iterdir()) == ['a', 'b']


def test_a_kill_before_the_record_leaves_the_best_before(tmp_path, monkeypatch):
  """The record is written last: what is linked by then is found again."""
  exporter = best.BestCheckpointExporter(str(tmp_path), 'accuracy', 'higher')
  checkpoint = tf.train.Checkpoint(x=tf.Variable(1.0))
  for step, accuracy in ((3, 0.5), (6, 0.6)):
    exporter.maybe_export_checkpoint(checkpoint, {'accuracy': accuracy}, step)
    saved = checkpoint.write(str(tmp_path / f'ckpt-{step}'))
    if step == 6:
      monkeypatch.setattr(exporter, '_record', lambda _: None)
    exporter.link(exporter.take_due(), saved)
  again = best.BestCheckpointExporter(str(tmp_path), 'accuracy', 'higher')
  assert again.best_ckpt_logs['accuracy'] == 0.5
  assert tf.train.latest_checkpoint(tmp_path) == str(tmp_path / 'best_ckpt-3')
  assert again.maybe_export_checkpoint(checkpoint, {'accuracy': 0.6}, 6)


def test_a_step_saved_again_leaves_the_best_as_it_was(tmp_path):
  """As after a kill between the link and TensorFlow's list."""
  weight = tf.Variable([1.0, 2.0])
  checkpoint = tf.train.Checkpoint(weight=weight)
  exporter = best.BestCheckpointExporter(
    str(tmp_path / 'best'), 'accuracy', 'higher'
  )
  exporter.maybe_export_checkpoint(checkpoint, {'accuracy': 0.5}, 3)
  saved = checkpoint.write(str(tmp_path / 'ckpt-3'))
  exporter.link(exporter.take_due(), saved)
  weight.assign([3.0, 4.0])
  checkpoint.write(str(tmp_path / 'ckpt-3'))
  kept = tf.train.load_variable(
    str(tmp_path / 'best'), 'weight/.ATTRIBUTES/VARIABLE_VALUE'
  )
  np.testing.assert_array_equal(kept, [1.0, 2.0])


def test_a_damaged_best_is_chosen_anew(shapes_dir, tmp_path, capsys):
  """The newest checkpoint and the best one are one file, cut short."""
  run, seldom = tmp_path / 'run', 'trainer.train_steps=3'
  tiny.run(shapes_dir, run, override=seldom)
  with open(run / 'best' / 'best_ckpt-3.data-00000-of-00001', 'r+b') as file:
    file.truncate(1000)
  exporter = best.BestCheckpointExporter(
    str(run / 'best'), 'accuracy', 'higher'
  )
  assert exporter.best_ckpt_logs is None
  assert (
    'best_ckpt-3 is damaged; the best checkpoint' in capsys.readouterr().err
  )


def test_what_a_kill_left_of_a_best_one_is_removed(tmp_path):
  exporter = best.BestCheckpointExporter(str(tmp_path), 'accuracy', 'higher')
  (tmp_path / 'best_ckpt-3_temp').mkdir()
  (tmp_path / 'best_ckpt-3_temp' / 'part').touch()
  (tmp_path / 'best_ckpt-3.index.new').touch()
  checkpoint = tf.train.Checkpoint(x=tf.Variable(1.0))
  exporter.maybe_export_checkpoint(checkpoint, {'accuracy': 0.5}, 6)
  exporter.write(exporter.take_due(), checkpoint)
  writing.finish(checkpoint)
  left = {path.name.split('.')[0] for path in tmp_path.glob('best*')}
  assert left == {'best_ckpt-6'}


def test_a_kill_between_list_and_record_exports_again(tmp_path, monkeypatch):
  exporter = best.BestCheckpointExporter(str(tmp_path), 'accuracy', 'higher')
  checkpoint = tf.train.Checkpoint(x=tf.Variable(1.0))

  def killed(*_):
    raise KeyboardInterrupt

  monkeypatch.setattr(exporter, 'export_best_eval_metric', killed)
  exporter.maybe_export_checkpoint(checkpoint, {'accuracy': 0.6}, 6)
  saved = checkpoint.write(str(tmp_path / 'ckpt-6'))
  with pytest.raises(KeyboardInterrupt):
    exporter.link(exporter.take_due(), saved)
  again = best.BestCheckpointExporter(str(tmp_path), 'accuracy', 'higher')
  assert again.best_ckpt_logs is None
  assert tf.train.latest_checkpoint(tmp_path) == str(tmp_path / 'best_ckpt-6')
