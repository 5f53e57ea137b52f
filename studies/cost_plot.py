"""What single changes cost, seed by seed, with intervals."""

import pathlib
from typing import Any

from studies import seed_table

_STUDY = 'causes'

# Points above the recipe and half of the 95% interval, by change.
Costs = dict[str, list[float]]


def costs(folder: pathlib.Path) -> Costs:
  """Returns what to draw, the dearest first; nothing where nothing is known.

  Args:
    folder: That of all records.

  Raises:
    UserError: As `seed_table.differences`.
  """
  study = folder / _STUDY
  if not study.exists():
    return {}
  return {
    name: [round(100 * above, 6), round(100 * half_width, 6)]
    for name, (above, half_width) in seed_table.differences(str(study)).items()
    if half_width is not None
  }


def draw(found: Costs, axes: Any) -> None:
  """Draws them into `matplotlib.axes.Axes`, the dearest on top."""
  names = list(found)
  places = range(len(names))
  axes.errorbar(
    [found[name][0] for name in names],
    places,
    xerr=[found[name][1] for name in names],
    fmt='o',
    capsize=3,
  )
  axes.axvline(0, color='black', linewidth=0.8)
  axes.set_yticks(places, names)
  axes.invert_yaxis()
  axes.set_xlabel(
    'points of test accuracy against the recipe with the same seeds, 95%'
  )
  axes.grid(axis='x', alpha=0.3)
