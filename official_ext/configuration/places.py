"""Makes the paths in an experiment mean the same from any folder."""

from collections.abc import Callable, Sequence
from typing import Any

from official.core import config_definitions as cfg
from official.modeling import hyperparams

from official_ext.files import paths


def settle(params: cfg.ExperimentConfig) -> None:
  """Makes paths absolute, as a run writes them down.

  Args:
    params: An experiment of any task, changed; the types of its fields have
      been checked.
  """
  task = params.task
  _change(task, 'init_checkpoint', lambda p: paths.checkpoint(paths.settled(p)))
  _change(task, 'annotation_file', paths.settled)
  for data in (task.train_data, task.validation_data):
    _change(data, 'tfds_data_dir', paths.settled)
    _change(data, 'input_path', _settled_patterns)


def _change(config: Any, key: str, change: Callable[[Any], Any]) -> None:
  value = getattr(config, key, None)
  if value and not isinstance(value, hyperparams.Config):
    setattr(config, key, change(value))


def _settled_patterns(value: str | Sequence[str]) -> str | list[str]:
  """Returns patterns of files, of which one text may hold several."""
  if not isinstance(value, str):
    return [_settled_text(each) for each in value]
  return _settled_text(value)


def _settled_text(text: str) -> str:
  return ','.join(paths.settled(part.strip()) for part in text.split(','))
