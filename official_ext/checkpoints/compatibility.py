"""Whether what is asked for is what a run was trained with."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from official.core import config_definitions as cfg

from official_ext.checkpoints import average
from official_ext.configs.image_classification import DataConfig
from official_ext.dataloaders.data_sets import DataSets
from official_ext.errors import UserError
from official_ext.runs import data_record, description, recorded_config
from official_ext.schema import comparison
from official_ext.schema.comparison import Difference
from official_ext.schema.fields import Tie

_MEND = 'use the same, or name another folder.'
_DATA = ('task.train_data.tfds_name', 'task.validation_data.tfds_name')


def check(
  params: cfg.ExperimentConfig,
  model_dir: str,
  tied_to: Tie,
  data: DataSets | None = None,
) -> None:
  """Raises where a run is gone on with, or evaluated, as something else.

  TensorFlow restores weights wherever their shapes fit. So all that a run has
  written down is compared, but for what a field says may differ. A folder
  without `params.yaml` is not compared with.

  Args:
    params: What is asked for.
    model_dir: The run's folder, or its best one.
    tied_to: The loosest tie that counts: `Tie.RUN` where a run goes on,
      `Tie.WEIGHTS` where it is evaluated.
    data: What is asked for to train on or be evaluated on; None if a task of
      Garden reads it. It is not read here.

  Raises:
    UserError: At the first value that differs.
  """
  is_best, run = average.is_best(model_dir), average.run_of(model_dir)
  recorded = recorded_config.read(run)
  if not recorded:
    return
  _check_data_set(recorded, params, model_dir)
  for difference in comparison.differences(recorded, params, tied_to):
    # There the average is the weights, to whoever asks for none.
    if not (is_best and difference.place.startswith(tuple(average.PLACES))):
      raise _refused(model_dir, difference)
  if data:
    _check_classes(data.train.info.class_names, model_dir)
    for each in data.configs:
      _check_split(data_record.known_split(data, each), each, model_dir)


def check_images(
  model_dir: str, data: DataSets, configs: Sequence[DataConfig]
) -> None:
  """Raises where a run has other images, labels or classes than it had.

  The images are read for it. A folder that says nothing of them is not compared
  with.

  Args:
    model_dir: The run's folder, or its best one.
    data: What is asked for.
    configs: Which of it are to be used.

  Raises:
    UserError: At the first difference, or if the images cannot be read.
  """
  for params in configs:
    names = data.source(params).info.class_names
    _check_classes(names, model_dir)
    _check_split(data_record.read_split(data, params), params, model_dir)


def _refused(model_dir: str, difference: Difference) -> UserError:
  return UserError(f'--model_dir={model_dir} was {told(difference)}; {_MEND}')


def told(difference: Difference) -> str:
  """Returns what differs, to follow upon 'was' in a message."""
  place, before, now = difference.place, difference.before, difference.now
  if before is None and isinstance(now, Mapping):
    return f'trained without {place}, but here there is one'
  if now is None and isinstance(before, Mapping):
    return f'trained with {place}, but here there is none'
  return f'trained with {place}={before!r}, but here it is {now!r}'


def _check_data_set(
  recorded: Mapping[str, Any], params: cfg.ExperimentConfig, model_dir: str
) -> None:
  """Raises where the data set is another one, whatever its version or split."""
  now = params.as_dict()
  for place in _DATA:
    theirs, ours = (
      recorded_config.look_up(config, place) for config in (recorded, now)
    )
    known = isinstance(theirs, str) and isinstance(ours, str)
    if known and _name(theirs) != _name(ours):
      raise _refused(model_dir, Difference(place, theirs, ours))


def _name(tfds_name: str) -> str:
  return tfds_name.partition(':')[0]


def _check_split(
  now: data_record.Split, params: DataConfig, model_dir: str
) -> None:
  name = data_record.name_of(params)
  before = data_record.read(average.run_of(model_dir)).get(name)
  found = data_record.differences(before, now) if before else iter(())
  for key, there, here in map(dataclasses.astuple, found):
    told = (
      f'{name}.{key}={there!r} ({data_record.FILE}), but here it is {here!r}'
    )
    if key == 'digest':
      told = f'other images or labels of {now.tfds_name} {now.split}: {told}'
    raise UserError(f'--model_dir={model_dir} was trained with {told}; {_MEND}')


def _check_classes(ours: Sequence[str], model_dir: str) -> None:
  told = told_of_classes(average.run_of(model_dir), ours)
  if told:
    raise UserError(f'--model_dir={model_dir} was {told}; {_MEND}')


def told_of_classes(run: pathlib.Path, ours: Sequence[str]) -> str:
  """Returns which label means another class, to follow upon 'was' in a message.

  A data set whose classes have numbers for names does not say what they mean.

  Args:
    run: A run's folder.
    ours: The names of classes, one for each label.

  Returns:
    '' where there is none, or the run does not say.
  """
  theirs = description.class_names(run)
  for label, (name, other) in enumerate(zip(theirs, ours, strict=False)):
    if name != other and str(label) not in (name, other):
      return (
        f"trained on data whose label {label} is '{name}' "
        f"({description.CLASS_NAMES}), but here it is '{other}'"
      )
  return ''
