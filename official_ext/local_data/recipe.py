"""A recipe for a data set of the user's: what is chosen, and why."""

import dataclasses
import json
import math
import pathlib
import shlex
import textwrap
from collections.abc import Sequence
from typing import Any

# What a recipe begins with, and changes.
BASE = 'gin/resnet9_v100.gin'
_LINE_LENGTH = 80

# Of the whole training; a row of the table and a checkpoint come with each.
_MOST_EVALUATIONS = 30


@dataclasses.dataclass(frozen=True)
class Facts:
  """What a recipe depends on.

  Attributes:
    dataset: TFDS name of the data set.
    data_dir: The folder of data sets that it is in.
    num_train: Number of training images.
    image_shape: Height, width and channels.
    num_classes: Number of classes.
    mean: Of each channel of the training images, in 0 to 255.
    stddev: Likewise.
    mirror: Whether a picture and its mirror image show the same.
  """

  dataset: str
  data_dir: str
  num_train: int
  image_shape: tuple[int, int, int]
  num_classes: int
  mean: Sequence[float]
  stddev: Sequence[float]
  mirror: bool


@dataclasses.dataclass(frozen=True)
class Choice:
  """Bindings that belong together.

  Attributes:
    why: In a line, without an end.
    bindings: Values, as gin writes them, by their names.
  """

  why: str
  bindings: dict[str, str]

  @classmethod
  def of_values(cls, why: str, **bindings: Any) -> 'Choice':
    """Returns a choice of values; `__` in a name stands for its dot."""
    return cls(
      why,
      {
        # Gin reads no surrogates.
        name.replace('__', '.'): json.dumps(value, ensure_ascii=False)
        for name, value in bindings.items()
      },
    )


def choose(facts: Facts) -> list[Choice]:
  """Returns all that a recipe for a data set chooses.

  What depends on the number of images was found on parts of CIFAR-10;
  docs/own_pictures.md has the tables.
  """
  return [
    Choice.of_values(
      'mean and deviation of each channel, measured on the training images',
      data__dataset=facts.dataset,
      data__data_dir=facts.data_dir,
      data__mean_rgb=list(facts.mean),
      # A channel that is the same everywhere is 0 after its mean is subtracted.
      data__stddev_rgb=[value or 1.0 for value in facts.stddev],
    ),
    *_length(facts.num_train),
    *_augmentation(facts),
  ]


def _length(num_train: int) -> list[Choice]:
  batch = batch_size(num_train)
  steps = num_train // batch
  count = epochs(num_train)
  interval = math.ceil(count / _MOST_EVALUATIONS)
  choices = [
    Choice.of_values(
      f'batches of {batch}: {steps:,} steps for an epoch of {num_train:,} '
      'images; the rate goes with the root of the batch',
      data__batch_size=batch,
      triangular__peak_learning_rate=peak_learning_rate(batch),
    ),
    Choice.of_values(
      f'{count} epochs, {count * steps:,} steps: the fewer images there are, '
      'the more often each has to be seen (with fewer, it is sooner done and '
      'ends lower)',
      run__epochs=count,
      triangular__peak_epoch=round(count * 5 / 24),
    ),
  ]
  if interval > 1:
    choices.append(
      Choice.of_values(
        f'an evaluation every {interval} epochs, so that most of the time goes '
        'to training',
        run__evaluation_interval=interval,
      )
    )
  return choices


def batch_size(num_train: int) -> int:
  """Returns images of a step: a power of two, but for very few images."""
  for size, fewest in ((512, 30_000), (256, 12_000), (128, 3_000), (64, 600)):
    if num_train >= fewest:
      return size
  # Four steps an epoch, so that few images are in none of its batches.
  return min(32, max(2, num_train // 4))


def peak_learning_rate(batch: int) -> float:
  """Returns the rate for the mean loss of a batch; 0.4 for one of 512."""
  return round(0.4 * math.sqrt(batch / 512), 3)


def epochs(num_train: int) -> int:
  """Returns passes over the data: 24 of 50,000 images, as the original has.

  An eighth of the images is seen four times as often, half of the work in all.
  """
  return min(480, round(24 * max(1.0, (50_000 / num_train) ** (2 / 3))))


def _augmentation(facts: Facts) -> list[Choice]:
  side = min(facts.image_shape[:2])
  padding, hole = round(side / 8), round(side / 4)
  if facts.mirror:
    flip, why = (
      '@flip(), ',
      (
        'half of the images are mirrored; where left and right matter, as in '
        'digits, text or traffic signs, take @flip() out of the recipe, or '
        'prepare with --nomirror'
      ),
    )
  else:
    flip, why = '', 'no image is mirrored, as --nomirror asks'
  return [
    Choice.of_values(
      f'images are moved by up to {padding} pixels, an eighth of their side, '
      f'and lose a square of {hole}, a quarter of it',
      crop__padding=padding,
      cutout__size=hole,
    ),
    Choice(why, {'small_images.augmentations': f'[@crop(), {flip}@cutout()]'}),
  ]


def command(path: pathlib.Path | str) -> str:
  """Returns what trains by a recipe."""
  return shlex.join(
    ['python', '-m', 'official_ext.train', '--gin_file', str(path)]
  )


def text(facts: Facts, path: pathlib.Path) -> str:
  """Returns a gin file.

  Args:
    facts: Of the data set.
    path: Where the file is to be.
  """
  height, width, _ = facts.image_shape
  head = (
    f'# ResNet9 on {facts.dataset}: {facts.num_train:,} training images of '
    f'{width}×{height} pixels in {facts.num_classes} classes.\n'
    '#\n'
    '# Written by official_ext.prepare_data; change what you like.\n'
    f'# Command   {command(path)}\n'
    f"include '{BASE}'\n"
  )
  return '\n'.join([head, *map(_lines, choose(facts))])


def _lines(choice: Choice) -> str:
  why = choice.why[0].upper() + choice.why[1:] + '.'
  comment = textwrap.wrap(why, _LINE_LENGTH - 2)
  bindings = [f'{name} = {value}' for name, value in choice.bindings.items()]
  return '\n'.join([*(f'# {line}' for line in comment), *bindings, ''])
