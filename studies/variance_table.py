"""The table of what is in the deviation from run to run."""

import math

import numpy as np

from official_ext.errors import UserError
from official_ext.repeats import records, run_figures
from studies import markdown

_HEAD = (
  'recipe',
  'runs',
  'mean, %',
  'deviation',
  'that of the images alone',
  'the rest',
  'right in all runs',
  'right in none',
)


def variance(folder: str) -> str:
  """Returns the table of the variants that two or more runs tell of.

  Were each test image right by a chance of its own, in each run anew, an
  accuracy over n images would deviate by √Σp(1 − p) / n. What runs deviate more
  is theirs: some are better on many images at once.

  Args:
    folder: That of the records, which tell which test images are right.

  Raises:
    UserError: If no variant has two runs that tell.
  """
  rows = []
  for variant, found in sorted(records.read_all(folder).items()):
    telling = [record for record in found if 'right_images' in record]
    if len(telling) > 1:
      rows.append((variant, *_cells(telling)))
  if not rows:
    raise UserError(
      f'{folder} has no variant of two runs whose records have right_images; '
      'train two, or take the table of variance out.'
    )
  return markdown.table(_HEAD, rows)


def of_images_alone(right: np.ndarray) -> float:
  """Returns the deviation of an accuracy whose images are by themselves.

  Args:
    right: bool `[runs, images]` of at least two runs; the variance of an image
      is estimated without bias.
  """
  return math.sqrt(np.var(right, axis=0, ddof=1).sum()) / right.shape[1]


def _cells(found: run_figures.Records) -> tuple[str, ...]:
  bits = run_figures.right(found)
  result = run_figures.summarize(bits.mean(axis=1).tolist())
  deviation, alone = result.deviation or 0.0, of_images_alone(bits)
  rest = math.sqrt(max(0.0, deviation**2 - alone**2))
  return (
    str(result.runs),
    f'{100 * result.mean:.2f} ± {100 * (result.half_width or 0.0):.2f}',
    *(f'{100 * value:.2f}' for value in (deviation, alone, rest)),
    *(f'{count:,}' for count in (bits.all(0).sum(), (~bits).all(0).sum())),
  )
