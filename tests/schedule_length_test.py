"""A training that does not end where its learning rate does."""

import pytest
from helpers import small_garden, tiny

from official_ext.configuration import schedule_length


def said(params, capsys):
  capsys.readouterr()
  schedule_length.warn(params)
  output = capsys.readouterr()
  assert output.out == ''
  return output.err


def high(step, rate):
  """Of three epochs of three steps, with the highest rate after the first."""
  return (
    f'warning: trainer.train_steps={step} ends before the learning rate comes '
    f'down: at step {step} of 9 it is {rate}; use run.epochs (of gin) to '
    'change the length of the schedule.\n'
  )


AT_ZERO = (
  'warning: the learning rate is 0 from step 9 on, but trainer.train_steps=12; '
  'use run.epochs (of gin) to change the length of the schedule.\n'
)
GIN_SETS_4 = "any_experiment.overrides = {'trainer.train_steps': 4}"


@pytest.mark.parametrize(
  ('binding', 'override', 'expected'),
  [
    ('', '', ''),
    ('run.epochs = 2', '', ''),
    ('run.epochs = 2.4', '', ''),  # 7 steps and a bit.
    ('', 'trainer.train_steps=1', high(1, 0.1333)),
    ('', 'trainer.train_steps=4', high(4, 0.3333)),
    (GIN_SETS_4, '', high(4, 0.3333)),
    ('', 'trainer.train_steps=12', AT_ZERO),
    ('triangular.final_learning_rate = 0.1', 'trainer.train_steps=12', ''),
  ],
)
def test_steps_that_are_not_those_of_the_schedule_are_told(
  shapes_dir, capsys, binding, override, expected
):
  params = tiny.config(shapes_dir, [binding], override)
  assert said(params, capsys) == expected


LEARNING_RATE = 'trainer.optimizer_config.learning_rate'


@pytest.mark.parametrize(
  ('override', 'expected'),
  [
    ('', ''),
    (
      'trainer.train_steps=20000',
      'warning: the learning rate is 0 from step 10,000 on, but '
      f'trainer.train_steps=20000; use {LEARNING_RATE}.cosine to change the '
      'length of the schedule.\n',
    ),
    (
      'trainer.train_steps=2000',
      'warning: trainer.train_steps=2000 ends before the learning rate comes '
      'down: at step 2,000 of 10,000 it is 0.09398; use '
      f'{LEARNING_RATE}.cosine to change the length of the schedule.\n',
    ),
    (f'trainer.train_steps=2000,{LEARNING_RATE}.type=constant', ''),
    (f'trainer.train_steps=2000,{LEARNING_RATE}.type=null', ''),
  ],
)
def test_schedules_of_garden_are_told_of_too(capsys, override, expected):
  asked = small_garden.experiment_of(
    small_garden.CLASSIFICATION, override=override
  )
  assert said(asked.params, capsys) == expected
