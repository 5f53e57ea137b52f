"""Keeps what XLA has compiled for the next process on the same kind of GPU."""

import contextlib
import hashlib
import importlib.metadata
import os
import pathlib
import re
import shutil

from official_ext.files import whole
from official_ext.machine import gpus

_COMPILED = '--tf_xla_persistent_cache_directory'
_TUNED = '--xla_gpu_per_fusion_autotune_cache_dir'
_SUM = '.sha256'

# Of all that is kept; a recipe takes a few megabytes.
_MOST_BYTES = 2**30
# TensorFlow would end a training that it has no room to keep a program of.
_LEAST_FREE_BYTES = 2**30

_allowed: list[bool] = []


def allow() -> None:
  """Lets `turn_on` do so: where a command, not a program of others, runs."""
  _allowed[:] = [True]


def folder(deterministic: bool = False) -> pathlib.Path:
  """Returns the folder: in the user's cache, for this TensorFlow and GPU.

  Args:
    deterministic: Whether programs compute the same bits each time, which
      TensorFlow's own keys do not tell.
  """
  cache = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
  version = importlib.metadata.version('tensorflow')
  kinds = [re.sub(r'\W+', '_', kind) for kind in gpus.kinds()]
  name = '-'.join(['xla', version, *kinds, *['deterministic'] * deterministic])
  return pathlib.Path(cache) / 'official_ext' / name


def in_use() -> pathlib.Path | None:
  """Returns the folder that TensorFlow was told of; None without one."""
  found = re.search(rf'{_COMPILED}=(\S+)', os.environ.get('TF_XLA_FLAGS', ''))
  return pathlib.Path(found[1]) if found else None


def turn_on(deterministic: bool = False) -> None:
  """Tells TensorFlow, which has not looked for devices yet, of the folder.

  Runs may share it: TensorFlow moves whole files into it. A user's own choice,
  by the same variables, stays. Where the folder cannot be used, there is none,
  nor without a GPU: XLA compiles for GPUs alone here.

  Args:
    deterministic: As of `folder`.
  """
  if not _allowed or not gpus.kinds():
    return
  place = folder(deterministic)
  try:
    _make_ready(place)
  except OSError:
    return
  for variable, flag in (('TF_XLA_FLAGS', _COMPILED), ('XLA_FLAGS', _TUNED)):
    flags = os.environ.get(variable, '')
    if flag not in flags:
      os.environ[variable] = f'{flags} {flag}={place}'.strip()


def _make_ready(place: pathlib.Path) -> None:
  """Makes a folder in which all is whole, with room for more.

  Raises:
    OSError: If there is none.
  """
  whole.make_writable(place)
  if shutil.disk_usage(place).free < _LEAST_FREE_BYTES:
    raise OSError(f'{place} has no room.')
  size = 0
  files = [f for f in place.iterdir() if f.is_file() and f.suffix != _SUM]
  for file in sorted(files, key=_age):
    # Another process may have taken it away.
    with contextlib.suppress(FileNotFoundError):
      size += file.stat().st_size
      if size > _MOST_BYTES or not _is_whole(file):
        file.unlink()
        _sum_of(file).unlink()


def _age(file: pathlib.Path) -> float:
  """Returns what is the less the newer a file is."""
  try:
    return -file.stat().st_mtime
  except FileNotFoundError:
    return 0


def _sum_of(file: pathlib.Path) -> pathlib.Path:
  return file.with_name(file.name + _SUM)


def _is_whole(file: pathlib.Path) -> bool:
  """Whether a file is as it was when it was first seen.

  TensorFlow would end a training at one that is damaged.
  """
  found = hashlib.sha256(file.read_bytes()).hexdigest()
  if not _sum_of(file).exists():
    whole.write(_sum_of(file), found)
  return _sum_of(file).read_text() == found
