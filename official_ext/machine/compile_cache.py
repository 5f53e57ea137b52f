"""Keeps what XLA has compiled for the next process on the same kind of GPU."""

import contextlib
import hashlib
import importlib.metadata
import os
import pathlib
import re

from official_ext.files import whole
from official_ext.machine import gpus

_COMPILED = '--tf_xla_persistent_cache_directory'
_TUNED = '--xla_gpu_per_fusion_autotune_cache_dir'


def folder() -> pathlib.Path:
  """Returns the folder: in the user's cache, for this TensorFlow and GPU."""
  cache = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
  version = importlib.metadata.version('tensorflow')
  kinds = [re.sub(r'\W+', '_', kind) for kind in gpus.kinds()]
  name = '-'.join(['xla', version, *kinds])
  return pathlib.Path(cache) / 'official_ext' / name


def in_use() -> pathlib.Path | None:
  """Returns the folder that TensorFlow was told of; None without one."""
  found = re.search(rf'{_COMPILED}=(\S+)', os.environ.get('TF_XLA_FLAGS', ''))
  return pathlib.Path(found[1]) if found else None


def turn_on() -> None:
  """Tells TensorFlow, which is not imported yet, of the folder.

  Runs may share it: TensorFlow moves whole files into it. A user's own choice,
  by the same variables, stays. Where the folder cannot be used, there is none,
  nor without a GPU: XLA compiles for GPUs alone here.
  """
  if not gpus.kinds():
    return
  place = folder()
  try:
    place.mkdir(parents=True, exist_ok=True)
  except OSError:
    return
  for file in place.glob('*.pb'):
    # Another process may have taken it away.
    with contextlib.suppress(FileNotFoundError):
      _check(file)
  for variable, flag in (('TF_XLA_FLAGS', _COMPILED), ('XLA_FLAGS', _TUNED)):
    flags = os.environ.get(variable, '')
    if flag not in flags:
      os.environ[variable] = f'{flags} {flag}={place}'.strip()


def _check(file: pathlib.Path) -> None:
  """Removes a file that has changed since it was first seen.

  TensorFlow would end a training at one that is damaged.
  """
  sum_of_file = file.with_suffix('.sha256')
  found = hashlib.sha256(file.read_bytes()).hexdigest()
  if not sum_of_file.exists():
    whole.write(sum_of_file, found)
  elif sum_of_file.read_text() != found:
    file.unlink()
    sum_of_file.unlink()
