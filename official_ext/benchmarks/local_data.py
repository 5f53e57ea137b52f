"""Keeps a benchmark from starting a download."""

import contextlib
import os
from typing import Any

import tensorflow_datasets as tfds

from official_ext.configs import image_classification
from official_ext.configuration import experiment
from official_ext.errors import UserError


def check(flags_obj: Any) -> None:
  """Raises where the experiment is not one to measure, or its data not here.

  Args:
    flags_obj: Garden's flags; gin is parsed.

  Raises:
    UserError: If the task is another one, or a data set is to be downloaded.
  """
  parser = experiment.ExperimentParser(flags_obj)
  params = parser.parse_gin(parser.base_experiment())
  params = parser.parse_config_file(params)
  task = parser.parse_params_override(params).task
  if not isinstance(task, image_classification.ImageClassificationTask):
    raise UserError(
      f"--experiment='{flags_obj.experiment}' cannot be measured; use one of "
      "this package's, such as 'small_images'."
    )
  for data in (task.train_data, task.validation_data):
    if _needs_download(data.tfds_name, data.tfds_data_dir):
      raise UserError(
        f'{data.tfds_name} is not in {_folder(data.tfds_data_dir)}, and a '
        'benchmark downloads nothing; prepare it (python -m '
        'official_ext.prepare_data) or measure on pictures that are drawn: '
        '--gin_params "data.dataset=\'procedural_shapes\'"'
      )


def _needs_download(name: str, data_dir: str) -> bool:
  # What is wrong with the name or the folder, `experiment.parse` says.
  with contextlib.suppress(Exception):
    builder = tfds.builder(name, data_dir=_folder(data_dir))
    return bool(builder.url_infos) and not builder.is_prepared()
  return False


def _folder(data_dir: str) -> str:
  return os.path.expanduser(data_dir or str(tfds.core.constants.DATA_DIR))
