"""Whether what is asked for is what a run was trained with."""

import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from official.core import config_definitions as cfg

from official_ext.checkpoints import average
from official_ext.errors import UserError
from official_ext.runs import description, recorded_config
from official_ext.schema import comparison
from official_ext.schema.comparison import Difference
from official_ext.schema.fields import Tie

_MEND = 'use the same, or name another folder.'
_DATA = ('task.train_data.tfds_name', 'task.validation_data.tfds_name')


def check(
  params: cfg.ExperimentConfig,
  model_dir: str,
  tied_to: Tie,
  class_names: Sequence[str] = (),
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
    class_names: Of the data set that is asked for; none if it has none.

  Raises:
    UserError: At the first value that differs.
  """
  is_best = average.is_best(model_dir)
  run = pathlib.Path(model_dir).resolve()
  run = run.parent if is_best else run
  recorded = recorded_config.read(run)
  if not recorded:
    return
  _check_data_set(recorded, params, model_dir)
  for difference in comparison.differences(recorded, params, tied_to):
    # There the average is the weights, to whoever asks for none.
    if not (is_best and difference.place.startswith(average.PLACE)):
      raise _refused(model_dir, difference)
  _check_classes(description.class_names(run), class_names, model_dir)


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


def _check_classes(
  theirs: Sequence[str], ours: Sequence[str], model_dir: str
) -> None:
  """Raises where a label means another class, if both say what it means."""
  if not theirs or not ours:
    return
  pairs = itertools.zip_longest(theirs, ours, fillvalue='no class')
  for label, (name, other) in enumerate(pairs):
    if name != other:
      raise UserError(
        f'--model_dir={model_dir} was trained on data whose label {label} is '
        f"'{name}' ({description.CLASS_NAMES}), but here it is '{other}'; "
        f'{_MEND}'
      )
