"""Which test images no run classifies rightly."""

import dataclasses

import numpy as np

from official_ext.errors import UserError
from official_ext.repeats import records, run_figures
from official_ext.runs import data_record
from official_ext.serving.trained_model import TrainedModel


@dataclasses.dataclass(frozen=True)
class NeverRight:
  """What the records of several runs have in common.

  Attributes:
    num_runs: How many tell which images are right.
    images: Places of the test images that are right in none, ascending.
  """

  num_runs: int
  images: np.ndarray


def find(folder: str, trained: TrainedModel) -> NeverRight:
  """Returns what the records of a folder say, of all recipes in it.

  Args:
    folder: That of the records.
    trained: A model whose test images those of the records are to be.

  Raises:
    UserError: If fewer than two tell, or one is of other test images.
  """
  found = [
    record
    for of_variant in records.read_all(folder).values()
    for record in of_variant
    if 'right_images' in record
  ]
  if len(found) < 2:
    raise UserError(
      f'--records_dir={folder} has {len(found)} records that tell which test '
      'images are right; two at least have something in common.'
    )
  here = data_record.read_split(
    trained.task.data, trained.params.task.validation_data
  )
  for record in found:
    _check_same(data_record.of_plain(record['data'])['test'], here, folder)
  return NeverRight(
    len(found), np.flatnonzero(~run_figures.right(found).any(axis=0))
  )


def _check_same(
  there: data_record.Split, here: data_record.Split, folder: str
) -> None:
  if there != here:
    raise UserError(
      f'--records_dir={folder} is of runs with the test images {_told(there)}, '
      f'and the model has {_told(here)}; name the records of the same images.'
    )


def _told(split: data_record.Split) -> str:
  return (
    f'{split.tfds_name}:{split.version} {split.split} '
    f'({split.num_examples:,}, {split.digest})'
  )
