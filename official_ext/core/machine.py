"""What figures were measured on."""

import importlib.metadata
import os
import pathlib
import platform
import re

from official_ext.core import run_dir


def cpu_name() -> str:
  """Returns the processor's name as Linux knows it."""
  cpuinfo = pathlib.Path('/proc/cpuinfo')
  text = cpuinfo.read_text() if cpuinfo.exists() else ''
  name = re.search(r'^model name\s*: (.*)$', text, re.MULTILINE)
  return name[1] if name else platform.machine()


def cores() -> int:
  """Returns how many cores this process may use."""
  return len(os.sched_getaffinity(0))


def versions() -> dict[str, str]:
  """Returns the versions of a run, and PyTorch's."""
  try:
    torch = importlib.metadata.version('torch')
  except importlib.metadata.PackageNotFoundError:
    torch = 'not installed'
  return run_dir.versions() | {'torch': torch}
