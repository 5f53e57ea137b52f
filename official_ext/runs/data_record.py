"""What images a run has, as its folder says, and how others differ."""

import dataclasses
import json
import pathlib
from collections.abc import Iterator
from typing import Any

from official_ext.configs.image_classification import DataConfig
from official_ext.dataloaders.data_sets import DataSets
from official_ext.errors import UserError, reason
from official_ext.schema.comparison import Difference

FILE = 'data.json'

# What comes of text, or of JSON, that is no record.
NONE = (ValueError, TypeError, AttributeError)


@dataclasses.dataclass(frozen=True)
class Split:
  """A split of a data set.

  The names of its classes are `description.class_names`.

  Attributes:
    tfds_name: TFDS name, with a config if need be.
    version: TFDS version.
    split: TFDS split, or slice of one.
    num_examples: Number of images.
    digest: Of all images and labels, as `ImageData.digest`; '' while they are
      not read.
  """

  tfds_name: str
  version: str
  split: str
  num_examples: int
  digest: str = ''


Record = dict[str, Split]


def of(data: DataSets) -> Record:
  """Returns what there is to record of all images, which are read for it.

  Raises:
    UserError: If they cannot be read.
  """
  return {name_of(each): read_split(data, each) for each in data.configs}


def name_of(params: DataConfig) -> str:
  """Returns what a record calls the split."""
  return 'train' if params.is_training else 'test'


def known_split(data: DataSets, params: DataConfig) -> Split:
  """Returns what is known of a split before its images are read."""
  source = data.source(params)
  return Split(
    # Without the version.
    source.builder.info.full_name.rpartition('/')[0],
    str(source.builder.version),
    source.split,
    source.info.num_examples,
  )


def read_split(data: DataSets, params: DataConfig) -> Split:
  """Returns all that there is to know, for which the images are read."""
  digest = data.load(params).digest
  return dataclasses.replace(known_split(data, params), digest=digest)


def plain(record: Record) -> dict[str, Any]:
  """Returns a record as JSON has it."""
  return {name: dataclasses.asdict(split) for name, split in record.items()}


def of_plain(content: Any) -> Record:
  """Returns what `plain` was made of.

  Raises:
    NONE: If it was made of something else.
  """
  return {name: Split(**split) for name, split in content.items()}


def text(record: Record) -> str:
  """Returns the content of the file."""
  return json.dumps(plain(record), indent=2) + '\n'


def read(folder: pathlib.Path) -> Record:
  """Returns what a run has recorded; nothing where there is no such file.

  Raises:
    UserError: If the file is damaged.
  """
  path = folder / FILE
  if not path.is_file():
    return {}
  try:
    return of_plain(json.loads(path.read_text(encoding='utf-8')))
  except (OSError, *NONE) as error:
    raise UserError(
      f'{path} is damaged: {reason(error)}; restore it, or delete it to do '
      'without a comparison of the data.'
    ) from error


def differences(before: Split, now: Split) -> Iterator[Difference]:
  """Yields what differs, but for the split, which is compared as a setting.

  How many images there are, and which, is compared within the same split, and
  which ones where both have been read.
  """
  keys = ['tfds_name', 'version']
  if before.split == now.split:
    keys += ['num_examples', 'digest']
  for key in keys:
    there, here = getattr(before, key), getattr(now, key)
    if there != here and there != '' != here:
      yield Difference(key, there, here)
