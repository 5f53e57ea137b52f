"""A process that evaluates what another one trains."""

import json

import pytest
import tensorflow as tf
from helpers import runs, tiny

from official_ext.errors import RunError, UserError
from official_ext.progress import epoch_table
from official_ext.serving import trained_model
from official_ext.training import waiting

AVERAGE = (
  'small_images.average = @moving_average()',
  'moving_average.average_decay = 0.5',
)
TIMED_OUT = 'checkpoint within trainer.continuous_eval_timeout='


def rows_of(folder):
  return epoch_table.read(folder / 'epochs.jsonl')


def evaluated(row):
  return {k: v for k, v in row.items() if k.startswith('test_') and v}


def put_checkpoint(folder, *steps):
  """Lists checkpoints, the newest last, of which there is only the index."""
  folder.mkdir(exist_ok=True)
  paths = [str(folder / f'ckpt-{step}') for step in steps]
  for path in paths:
    (folder / f'{path}.index').touch()
  tf.compat.v1.train.update_checkpoint_state(str(folder), paths[-1], paths)
  return paths


def test_a_folder_that_is_not_there_is_waited_for_and_told(tmp_path, capsys):
  folder = tmp_path / 'run'
  with pytest.raises(RunError) as caught:
    waiting.for_first(str(folder), 0)
  assert str(caught.value) == (
    f'--model_dir={folder} got no {TIMED_OUT}0 seconds; see whether it is '
    'trained in.'
  )
  assert caught.value.status == 1
  said = f'Waiting for a checkpoint in {folder}, for at most 0 s.\n'
  assert capsys.readouterr().out == said
  put_checkpoint(folder, 3)
  waiting.for_first(str(folder), 0)
  assert capsys.readouterr().out == ''


def test_checkpoints_come_in_turn_but_for_those_that_are_gone(tmp_path):
  paths = put_checkpoint(tmp_path, 3, 6, 9)
  coming = waiting.as_they_come(str(tmp_path), 0)
  assert next(coming) == paths[0]
  (tmp_path / 'ckpt-6.index').unlink()
  assert next(coming) == paths[2]
  *_, new = put_checkpoint(tmp_path, 9, 12)
  assert next(coming) == new
  with pytest.raises(RunError, match='got no other checkpoint within'):
    next(coming)


@pytest.mark.parametrize('bindings', [(), AVERAGE])
def test_it_adds_what_a_training_would_have_evaluated(
  shapes_dir, tmp_path, bindings
):
  """Of the checkpoints that are kept, the last two."""
  expected, run = tmp_path / 'expected', tmp_path / 'run'
  tiny.run(shapes_dir, expected, bindings)
  tiny.run(shapes_dir, run, bindings, mode='train')
  assert [evaluated(row) for row in rows_of(run)] == [{}, {}, {}]
  trained = runs.rows(run)
  tiny.run(shapes_dir, run, bindings, mode='continuous_eval')
  assert [bool(evaluated(row)) for row in rows_of(run)] == [False, True, True]
  for row, other in zip(rows_of(run)[1:], rows_of(expected)[1:], strict=True):
    for key in ('test_loss', 'test_accuracy'):
      assert row[key] == pytest.approx(other[key], rel=1e-6)
  # Nothing else of the table has changed.
  for row, before in zip(runs.rows(run), trained, strict=True):
    assert {k: v for k, v in row.items() if v == before.get(k)} == {
      k: v for k, v in before.items() if not k.startswith('test_') or not row[k]
    }
  best = max(rows_of(run)[1:], key=lambda row: row['test_accuracy'])
  record = json.loads((run / 'best' / 'info.json').read_text())
  assert record['best_ckpt_global_step'] == best['step']
  loaded = trained_model.load_for_inference(run, 'best')
  data = loaded.task.data.load(loaded.params.task.validation_data)
  classes = loaded.logits(data.images).numpy().argmax(axis=1)
  share = (classes == data.labels.numpy()).mean()
  assert share == pytest.approx(best['test_accuracy'])


def test_it_waits_for_a_training_and_ends_with_it(shapes_dir, tmp_path):
  run, log = tmp_path / 'run', tmp_path / 'log'
  log.touch()
  bindings, timeout = ['run.epochs = 20'], 'trainer.continuous_eval_timeout=60'
  asked = shapes_dir, run, bindings, timeout
  evaluator = runs.start(log, *asked, 'continuous_eval')
  runs.wait_for(lambda: 'Waiting for a checkp' in log.read_text(), evaluator)
  tiny.run(*asked, mode='train')
  assert runs.exit_code(evaluator) == 0, log.read_text()
  rows = rows_of(run)
  assert [row['step'] for row in rows] == list(range(3, 61, 3))
  assert evaluated(rows[-1]).keys() >= {'test_loss', 'test_accuracy'}
  best = json.loads((run / 'best' / 'info.json').read_text())
  accuracies = [row['test_accuracy'] or 0 for row in rows]
  assert best['accuracy'] == pytest.approx(max(accuracies))


def test_a_training_that_ends_too_early_is_told(shapes_dir, trained_run):
  channels = 'resnet9.channels = [4, 8, 16, 16]'
  timeout = 'trainer.continuous_eval_timeout=1'
  with pytest.raises(RunError, match=f'got no other {TIMED_OUT}1 seconds'):
    tiny.run(
      *(shapes_dir, trained_run, [channels, 'run.epochs = 4']),
      *(timeout, 'continuous_eval'),
    )


def test_what_was_trained_as_something_else_is_refused(shapes_dir, trained_run):
  message = r'was trained with .*channels=\[4, 8, 16, 16\], but here it is'
  with pytest.raises(UserError, match=message):
    tiny.run(shapes_dir, trained_run, mode='continuous_eval')
