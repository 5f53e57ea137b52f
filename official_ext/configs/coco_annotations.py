"""The annotations of test images in a JSON file as COCO's are."""

import json
from typing import Any

import tensorflow as tf
from official.core import config_definitions as cfg

from official_ext.errors import UserError, reason

# What an evaluation reads: https://cocodataset.org/#format-data
_PARTS = ('images', 'annotations', 'categories')
_MEND = "name the JSON file of COCO's format that annotates the test images."


def check(task: cfg.TaskConfig) -> None:
  """Raises where an evaluation could not read its annotations.

  Args:
    task: Of any kind; those with an `annotation_file` that is read are looked
      at. Whether it has the images of the records, only the evaluation tells.

  Raises:
    UserError: If the file is not there, or not of the format.
  """
  path = getattr(task, 'annotation_file', None)
  if not path or not getattr(task, 'use_coco_metrics', False):
    return
  place = f"task.annotation_file='{path}'"
  content = _read(path, place)
  parts = content if isinstance(content, dict) else {}
  lacking = [part for part in _PARTS if part not in parts]
  if lacking:
    raise UserError(f'{place} has no {" nor ".join(lacking)}; {_MEND}')


def _read(path: str, place: str) -> Any:
  try:
    with tf.io.gfile.GFile(path) as file:
      return json.load(file)
  except (tf.errors.OpError, ValueError, RecursionError) as error:
    raise UserError(
      f'{place} cannot be read ({reason(error)}); {_MEND}'
    ) from error
