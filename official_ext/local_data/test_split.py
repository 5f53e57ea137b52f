"""Draws test images from the training images, where there are none."""

import collections
import dataclasses
import hashlib
from collections.abc import Collection, Sequence

from official_ext.errors import UserError
from official_ext.local_data.examples import Example, LabelledImages
from official_ext.local_data.tally import Problems


def check(
  splits: Collection[str], share: float | None, place: str, problems: Problems
) -> None:
  """Adds to the problems unless there is one way to come to test images.

  Args:
    splits: Those of a source.
    share: Of the images that is to be drawn; None for none.
    place: The source.
    problems: Of the source.
  """
  if 'test' in splits and share is not None:
    problems.add(
      f'--test_share={share}', f'{place} has test images', 'leave it out'
    )
  if 'test' not in splits and share is None:
    problems.add(
      place,
      'no test images',
      'give --test_share 0.1, which draws a tenth of each class',
    )


def draw(
  images: LabelledImages, share: float | None, seed: int
) -> LabelledImages:
  """Moves a share of each class from train to test; at least one of each.

  The choice depends on the seed and the pixels alone, on no order or name.
  Equal images stay together, so that none is in both splits, and a class with
  a single one has none in test.

  Args:
    images: Without a test split, unless `share` is None: then they stay.
    share: Above 0 and below 1, or None.
    seed: Of the choice.

  Raises:
    UserError: If no image can be in test.
  """
  if share is None:
    return images
  train = images.splits['train']
  drawn = _draw_digests(train, share, seed)
  test = [example for example in train if example.digest in drawn]
  if not test:
    raise UserError(
      f'--test_share={share}: no class has two images that differ; add images.'
    )
  rest = [example for example in train if example.digest not in drawn]
  splits = {**images.splits, 'train': rest, 'test': test}
  return dataclasses.replace(images, splits=splits).noting(
    f'Drawn for test: {len(test):,} of {len(train):,} images, '
    f'{100 * share:g}% of each class, by --seed {seed}; equal images stay '
    'together.'
  )


def _draw_digests(
  examples: Sequence[Example], share: float, seed: int
) -> set[bytes]:
  """Returns the digests of the images to be tested on."""
  by_class: dict[int, collections.Counter[bytes]] = {}
  for example in examples:
    counts = by_class.setdefault(example.label, collections.Counter())
    counts[example.digest] += 1
  drawn: set[bytes] = set()
  kept: set[bytes] = set()
  for label in sorted(by_class):
    counts = by_class[label]
    wanted = max(1, round(share * counts.total()))
    # An image of an earlier class too is where it was put for that one.
    wanted -= sum(counts[digest] for digest in drawn)
    free = sorted(
      counts.keys() - drawn - kept, key=lambda digest: _rank(digest, seed)
    )
    # One stays for training.
    while wanted > 0 and len(free) > (0 if counts.keys() & kept else 1):
      digest = free.pop()
      drawn.add(digest)
      wanted -= counts[digest]
    kept |= counts.keys() - drawn
  return drawn


def _rank(digest: bytes, seed: int) -> bytes:
  """Returns what puts images in a random order, the same everywhere."""
  return hashlib.sha256(f'{seed}:'.encode() + digest).digest()
