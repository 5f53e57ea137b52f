"""Which test images a run classifies rightly, a bit each, in its folder."""

import base64
import binascii
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from official_ext.files import whole

FILE_NAME = 'right_images.json'

# Bits as text, by the accuracy that they are of, such as 'accuracy_mirror'.
Packed = dict[str, str]


def pack(right: np.ndarray) -> str:
  """Returns bool `[count]` as base64 of a bit each, the first the highest."""
  return base64.b64encode(np.packbits(right).tobytes()).decode()


def unpack(text: str, count: int) -> np.ndarray:
  """Returns what was packed.

  Args:
    text: What `pack` returned.
    count: Of how many images.

  Raises:
    ValueError: If it is of another number of images, or of none.
  """
  try:
    packed = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
  except binascii.Error as error:
    raise ValueError(f'{text[:20]!r} is not base64') from error
  if len(packed) != -(-count // 8):
    raise ValueError(f'{len(packed)} bytes are not of {count} images')
  return np.unpackbits(packed, count=count).astype(bool)


def write(model_dir: str, step: int, right: Mapping[str, np.ndarray]) -> None:
  """Writes the file of a run, in place of that of an earlier step.

  Args:
    model_dir: The run's folder.
    step: That was evaluated.
    right: bool `[count]` in the order of the test images, by accuracy.

  Raises:
    OSError: If it cannot be written.
  """
  content = {'step': step, **{name: pack(v) for name, v in right.items()}}
  whole.write(pathlib.Path(model_dir) / FILE_NAME, json.dumps(content) + '\n')


def read(model_dir: pathlib.Path, step: int) -> Packed:
  """Returns what is known of a step; nothing where that is not told."""
  try:
    content: dict[str, Any] = json.loads((model_dir / FILE_NAME).read_text())
    if content.pop('step') != step:
      return {}
  except (OSError, ValueError, LookupError, TypeError, AttributeError):
    return {}
  return content
