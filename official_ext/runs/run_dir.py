"""The folder of a run: what it holds, and whether it can be used."""

import contextlib
import fcntl
import itertools
import json
import os
import pathlib
import platform
import shlex
import shutil
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gin
from official.core import config_definitions as cfg

from official_ext.checkpoints import checkpoints
from official_ext.errors import UserError
from official_ext.files import safe_yaml
from official_ext.machine import description as machine
from official_ext.runs import recorded_config

_LOCK_FILE = '.lock'
CLASS_NAMES = 'class_names.txt'

# What a run keeps from its beginning to its end.
_OPTIMIZER = 'trainer.optimizer_config.optimizer'
_FIXED = (
  'task.train_data.global_batch_size',
  f'{_OPTIMIZER}.type',
  'trainer.optimizer_config.learning_rate.constant.learning_rate',
)
# Those of an optimizer's numbers that Keras keeps in variables.
_IN_CHECKPOINT = ('momentum', 'beta_1', 'beta_2', 'rho', 'decay')

# Settings with which the same weights compute something else, as far as this
# package has such.
_NETWORK = (
  *(f'task.model.{key}' for key in recorded_config.NETWORK),
  'task.model.pooling',
  'task.model.logit_scale',
  *(
    f'task.{part}.{key}'
    for part in ('train_data', 'normalization')
    for key in ('mean_rgb', 'stddev_rgb')
  ),
)
_AVERAGE = 'trainer.optimizer_config.ema'


@contextlib.contextmanager
def chosen(
  model_dir: str | None, gin_files: Sequence[str], name: str
) -> Iterator[str]:
  """Yields the folder that the user named, or a new one, made in `runs`.

  A new one goes again if nothing comes to lie in it.

  Args:
    model_dir: What the user named, if anything.
    gin_files: The run's gin files; the first one names a new folder.
    name: Names a new folder where there is no gin file.

  Raises:
    UserError: If it is not a folder of this machine, or cannot be made.
  """
  if model_dir:
    if '://' in model_dir:
      raise UserError(
        f'--model_dir={model_dir} is no folder of this machine; mount it, and '
        'name the folder.'
      )
    yield os.path.expanduser(model_dir)
    return
  folder = _new_folder(pathlib.Path(gin_files[0]).stem if gin_files else name)
  try:
    yield folder
  finally:
    with contextlib.suppress(OSError):  # It is not empty.
      os.rmdir(folder)


def _new_folder(stem: str) -> str:
  """Makes a folder of this second in `runs`, and returns its path."""
  first = f'{stem}-{time.strftime("%Y%m%d-%H%M%S")}'
  # Another run may begin in the same second.
  for folder in itertools.chain(
    [first], (f'{first}-{n}' for n in range(2, 99))
  ):
    try:
      (pathlib.Path('runs') / folder).mkdir(parents=True)
    except FileExistsError:
      continue
    except OSError as error:
      raise _unwritable('runs', error) from error
    return os.path.join('runs', folder)
  raise UserError('runs has 99 folders of this second; name a --model_dir.')


class _InUseError(UserError):
  """The folder is another process's, and so is all that lies in it."""


@contextlib.contextmanager
def created(model_dir: str) -> Iterator[None]:
  """Makes the folder; unmakes it if a mistake of the user shows up inside.

  Raises:
    UserError: If the folder cannot be written to.
  """
  folder = pathlib.Path(model_dir)
  try:
    fresh = not folder.exists() or not any(folder.iterdir())
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
  except OSError as error:
    raise _unwritable(model_dir, error) from error
  try:
    yield
  except _InUseError:
    raise
  except UserError:
    if fresh:
      shutil.rmtree(folder, ignore_errors=True)
    raise


@contextlib.contextmanager
def held(model_dir: str) -> Iterator[None]:
  """Keeps every other process from training in the folder.

  The hold is the process's own: however it ends, the system lifts it.

  Args:
    model_dir: The run's folder.

  Raises:
    UserError: If another process trains there.
  """
  path = pathlib.Path(model_dir) / _LOCK_FILE
  with path.open('a+') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      file.seek(0)
      raise _InUseError(
        f'--model_dir={model_dir} is in use by {file.read().strip()}; wait for '
        'it, or name another folder.'
      ) from error
    file.truncate(0)
    since = time.strftime('%Y-%m-%d %H:%M:%S')
    file.write(f'process {os.getpid()} on {platform.node()} since {since}\n')
    file.flush()
    yield


def _unwritable(model_dir: str, error: OSError) -> UserError:
  return UserError(
    f'--model_dir={model_dir} cannot be written to ({error.strerror}); name '
    'another folder.'
  )


def describe_run(
  params: cfg.ExperimentConfig, model_dir: str, class_names: Sequence[str] = ()
) -> None:
  """Writes what was asked for, before training: config, gin text, versions.

  `versions.json` is what `machine.describe` returns. Names of classes, if there
  are any, are in `class_names.txt`, one a line: where the run is used, the data
  set may be gone.

  A file of an earlier start that says something else is kept beside the new one
  under a number.
  """
  folder = pathlib.Path(model_dir)
  fresh = folder / '.new'
  fresh.mkdir(exist_ok=True)
  # Garden's own writer puts Python's tuples in, which only PyYAML reads.
  (fresh / 'params.yaml').write_text(safe_yaml.dump(params.as_dict()))
  command = f'python -m official_ext.train {shlex.join(sys.argv[1:])}\n'
  comment = textwrap.indent(command, '# ', predicate=lambda _: True)
  (fresh / 'requested.gin').write_text(comment + gin.config_str())
  (fresh / 'versions.json').write_text(
    json.dumps(machine.describe(), indent=2) + '\n'
  )
  if class_names:
    lines = ''.join(f'{name}\n' for name in class_names)
    (fresh / CLASS_NAMES).write_text(lines, encoding='utf-8')
  for file in fresh.iterdir():
    _replace(file, folder / file.name)
  fresh.rmdir()


def check_same_network(params: cfg.ExperimentConfig, model_dir: str) -> None:
  """Raises where the weights of a run would be those of another network.

  TensorFlow restores them wherever their shapes fit. Compared are the settings
  of ResNet9, of its classifier and of the input's normalisation, and whether
  there is a moving average, which is what is evaluated.

  Args:
    params: What is asked for.
    model_dir: The run's folder, or its best one, with what was asked for.

  Raises:
    UserError: At the first value that differs.
  """
  folder, now = pathlib.Path(model_dir), params.as_dict()
  own = before = recorded_config.read(folder)
  if checkpoints.is_best(model_dir):
    before = recorded_config.read(folder.resolve().parent)
  for place in _NETWORK:
    _check_same_value(before, now, place, model_dir)
  average = recorded_config.look_up(own, _AVERAGE)
  averages = recorded_config.look_up(now, _AVERAGE)
  if average is not recorded_config.MISSING and bool(average) != bool(averages):
    had, has = ('with', 'none') if average else ('without', 'one')
    raise UserError(
      f'--model_dir={model_dir} was trained {had} a moving average '
      f'({_AVERAGE}), but here there is {has}; use the same, or name another '
      'folder.'
    )


def check_same(params: cfg.ExperimentConfig, model_dir: str) -> None:
  """Raises where a run that is gone on with is asked for something else.

  Only what it could not become half-way is compared: momentum and a constant
  rate are part of a checkpoint, and the batch size says what an epoch is.

  Args:
    params: What is asked for.
    model_dir: The run's folder, with what was asked for before.

  Raises:
    UserError: At the first value that differs.
  """
  before = recorded_config.read(pathlib.Path(model_dir))
  now = params.as_dict()
  optimizer = f'{_OPTIMIZER}.{recorded_config.look_up(now, _OPTIMIZER)["type"]}'
  for place in (*_FIXED, *(f'{optimizer}.{name}' for name in _IN_CHECKPOINT)):
    _check_same_value(before, now, place, model_dir)


def _check_same_value(
  before: Mapping[str, Any], now: Mapping[str, Any], place: str, model_dir: str
) -> None:
  """Raises where both configs have a value there, and not the same."""
  theirs, ours = (
    _plain(recorded_config.look_up(config, place)) for config in (before, now)
  )
  known = recorded_config.MISSING not in (theirs, ours)
  if known and None not in (theirs, ours) and theirs != ours:
    raise UserError(
      f'--model_dir={model_dir} was trained with {place}={theirs!r}, but '
      f'here it is {ours!r}; use the same, or name another folder.'
    )


def _plain(value: Any) -> Any:
  """Returns lists for tuples, which a file does not tell apart."""
  return list(value) if isinstance(value, tuple) else value


def resume_command(model_dir: str) -> str:
  """Returns the command that goes on with a run."""
  arguments = [a for a in sys.argv[1:] if not a.startswith('--model_dir=')]
  if '--model_dir' in arguments:
    at = arguments.index('--model_dir')
    del arguments[at : at + 2]
  arguments += ['--model_dir', model_dir]
  return f'python -m official_ext.train {shlex.join(arguments)}'


def set_aside(file: pathlib.Path) -> pathlib.Path:
  """Gives a file a number in its name, and returns its new path."""
  number = 1
  while (aside := file.with_suffix(f'.{number}{file.suffix}')).exists():
    number += 1
  return file.rename(aside)


def _replace(source: pathlib.Path, target: pathlib.Path) -> None:
  if target.exists() and target.read_bytes() != source.read_bytes():
    set_aside(target)
  source.replace(target)
