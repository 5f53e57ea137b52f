"""What figures were measured on, and with what."""

import importlib.metadata
import os
import pathlib
import platform
import re
import subprocess

import tensorflow as tf

_PACKAGES = (
  'official_ext',
  'tf-models-official',
  'tensorflow',
  'tf_keras',
  'tensorflow-datasets',
  'gin-config',
  'numpy',
)
_ROOT = pathlib.Path(__file__).resolve().parents[2]


def describe() -> dict[str, str | int]:
  """Returns versions, the processor and its cores, and the GPUs."""
  gpus = tf.config.list_physical_devices('GPU')
  details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
  names = [gpu.get('device_name', 'unknown') for gpu in details]
  return {
    **versions(),
    'cpu': cpu_name(),
    'cores': cores(),
    'gpu': ', '.join(names) or 'none',
  }


def cpu_name() -> str:
  """Returns the processor's name as Linux knows it."""
  cpuinfo = pathlib.Path('/proc/cpuinfo')
  text = cpuinfo.read_text() if cpuinfo.exists() else ''
  name = re.search(r'^model name\s*: (.*)$', text, re.MULTILINE)
  return name[1] if name else platform.machine()


def cores() -> int:
  """Returns how many cores this process may use."""
  return len(os.sched_getaffinity(0))


def versions(*more: str) -> dict[str, str]:
  """Returns the versions of Python, the platform and the main packages.

  In a checkout, `commit` is its commit, with `-dirty` if files of it differ.

  Args:
    *more: Further packages.
  """
  found = {
    'python': platform.python_version(),
    'platform': platform.platform(),
  }
  for package in (*_PACKAGES, *more):
    try:
      found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      found[package] = 'not installed'  # official_ext in a bare checkout.
  commit = _commit()
  return found | ({'commit': commit} if commit else {})


def _commit() -> str:
  """Returns the checkout's commit; nothing outside of one, or without git."""
  if not (_ROOT / '.git').exists():
    return ''
  command = ['git', 'describe', '--always', '--dirty', '--exclude=*']
  try:
    ended = subprocess.run(
      command, cwd=_ROOT, capture_output=True, text=True, check=False
    )
  except OSError:
    return ''
  return ended.stdout.strip()
