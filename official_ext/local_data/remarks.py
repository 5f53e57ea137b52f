"""What its user should know of a data set before training on it."""

import collections
from collections.abc import Iterator

from official_ext.local_data.examples import Example, LabelledImages
from official_ext.local_data.tally import Tally

# Of the largest class to the smallest; chance alone makes no such difference.
_UNEQUAL = 3


def of(images: LabelledImages) -> list[str]:
  """Returns a line for each thing that is remarkable."""
  return [
    *_unequal_classes(images),
    *_empty_classes(images),
    *_in_both_splits(images),
    *_in_several_classes(images),
  ]


def _unequal_classes(images: LabelledImages) -> Iterator[str]:
  labels = collections.Counter(one.label for one in images.splits['train'])
  counts = labels.most_common()
  (most, largest), (least, smallest) = counts[0], counts[-1]
  if largest > _UNEQUAL * smallest:
    names = images.class_names
    yield (
      f'warning: classes of unequal size: {largest:,} training images of '
      f'{names[most]}, {smallest:,} of {names[least]}; accuracy is mostly that '
      "of the large ones (losses.class_weights = 'balanced' in the recipe has "
      'all count alike in training).'
    )


def _empty_classes(images: LabelledImages) -> Iterator[str]:
  for split, examples in images.splits.items():
    there = {example.label for example in examples}
    lacking = [
      name for i, name in enumerate(images.class_names) if i not in there
    ]
    if lacking:
      yield f'warning: {split} has no image of {", ".join(lacking)}.'


def _in_both_splits(images: LabelledImages) -> Iterator[str]:
  train = {one.digest: one.origin for one in images.splits['train']}
  for split, examples in images.splits.items():
    known = [one for one in examples if one.digest in train]
    if split != 'train' and known:
      first = f'{known[0].origin} is {train[known[0].digest]}'
      yield (
        f'warning: {len(known):,} of {len(examples):,} {split} images are in '
        f'train too, pixel for pixel (the first: {first}); they stay, and '
        f'accuracy on {split} flatters by them.'
      )


def _in_several_classes(images: LabelledImages) -> Iterator[str]:
  first_of: dict[bytes, Example] = {}
  found: Tally[None] = Tally()
  for examples in images.splits.values():
    for one in examples:
      before = first_of.setdefault(one.digest, one)
      if before.label != one.label:
        found.add(None, f'{one.origin} is {before.origin}')
  for _, count, first in found:
    yield (
      f'warning: {count:,} images are in another class too, pixel for pixel '
      f'(the first: {first}); all are stored.'
    )
