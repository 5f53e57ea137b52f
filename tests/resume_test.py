"""A run that is longer than the one before goes on from its checkpoint."""

import json

import tiny

from official_ext.core import epoch_table


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


def test_training_alone_has_rows_without_test_columns(
  shapes_dir, tmp_path, capsys
):
  tiny.run(shapes_dir, tmp_path, mode='train')
  rows = epoch_table.read(tmp_path / epoch_table.FILE_NAME)
  assert [row['step'] for row in rows] == [3, 6, 9]
  assert {row['test_accuracy'] for row in rows} == {None}
  lines = capsys.readouterr().out.splitlines()
  assert sum(' - ' in line for line in lines) == 3
