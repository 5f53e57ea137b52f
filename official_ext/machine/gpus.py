"""The GPUs of this machine, as its driver tells them."""

import contextlib
import pathlib
import re

# Where NVIDIA's driver describes each of them, whatever TensorFlow sees.
_FOLDER = pathlib.Path('/proc/driver/nvidia/gpus')


def kinds() -> list[str]:
  """Returns the names of the kinds of GPU, such as 'NVIDIA H200'."""
  found = set()
  for file in _FOLDER.glob('*/information'):
    with contextlib.suppress(OSError):
      model = re.search(r'Model:\s*(.+)', file.read_text())
      found.add(model[1].strip() if model else 'GPU')
  return sorted(found)
