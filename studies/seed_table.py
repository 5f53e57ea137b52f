"""The table of what changes to a recipe cost, compared seed by seed."""

from collections.abc import Sequence

from official_ext.errors import UserError
from official_ext.repeats import run_figures
from studies import (
  cost_table,
  markdown,
  run_cells,
  run_statistics,
)

_HEAD = (
  'change',
  'runs',
  'points against the recipe with the same seeds, 95% interval',
  'p',
  'test loss against the recipe with the same seeds, 95% interval',
)


def costs_by_seed(folder: str) -> str:
  """Returns the same costs with what a seed does to all of them taken out.

  Runs of one seed begin with the same weights and see the same images. A figure
  is taken for the sum of what its variant, its seed and chance add; what ends
  far from the recipe is left out.

  Args:
    folder: That of the records.

  Raises:
    UserError: As `cost_table.costs` does, or if a change has no seed of the
      recipe.
  """
  base, alike = _base_and_near(folder)
  accuracies, losses = (
    run_statistics.fit_by_seed(
      [_by_seed(found, key) for found in (base, *alike)]
    )
    for key in ('test_accuracy', 'test_loss')
  )
  chances = _chances(accuracies, len(alike))
  rows = [
    (
      found[0]['variant'],
      str(len(found)),
      run_cells.with_interval(*accuracies.difference(number), 2, scale=100),
      run_cells.chance(chances[number - 1] if chances else None),
      run_cells.with_interval(*losses.difference(number), 4),
    )
    for number, found in enumerate(alike, start=1)
  ]
  told = run_cells.in_points(accuracies.deviation)
  if losses.deviation:
    told += f'; of the loss {losses.deviation.value:.4f}, with as many'
  return markdown.table(_HEAD, rows) + run_cells.below(told)


def differences(folder: str) -> dict[str, tuple[float, float | None]]:
  """Returns how far each change is above its recipe, and half the interval.

  Accuracies are of 0 to 1; the dearest change comes first.

  Args:
    folder: That of the records.

  Raises:
    UserError: As `costs_by_seed`.
  """
  fit, alike = _accuracies(folder)
  found = {
    each[0]['variant']: fit.difference(number)
    for number, each in enumerate(alike, start=1)
  }
  return dict(sorted(found.items(), key=lambda item: item[1][0]))


def compared(folder: str) -> dict[str, tuple[float, float]]:
  """Returns the points of each change, and how likely they are by chance.

  Args:
    folder: That of the records.

  Raises:
    UserError: As `costs_by_seed`.
  """
  fit, alike = _accuracies(folder)
  if not fit.deviation:
    raise UserError(
      f'{folder}: so few runs leave nothing to chance where what seeds add is '
      'taken out; train more seeds.'
    )
  return {
    found[0]['variant']: (100 * fit.difference(number)[0], chance)
    for (number, found), chance in zip(
      enumerate(alike, start=1), _chances(fit, len(alike)), strict=True
    )
  }


def _accuracies(
  folder: str,
) -> tuple[run_statistics.SeedFit, Sequence[run_figures.Records]]:
  """Returns what changes and seeds add to the accuracy, and the changes."""
  base, alike = _base_and_near(folder)
  fit = run_statistics.fit_by_seed(
    [_by_seed(found, 'test_accuracy') for found in (base, *alike)]
  )
  return fit, alike


def _base_and_near(
  folder: str,
) -> tuple[run_figures.Records, Sequence[run_figures.Records]]:
  """Returns the recipe's records, and those of changes that end near it."""
  base, changes = cost_table.base_and_changes(folder)
  alike = [
    found for found in changes.values() if cost_table.is_near(found, base)
  ]
  _check_seeds(folder, base, alike)
  return base, alike


def _chances(fit: run_statistics.SeedFit, count: int) -> list[float]:
  """Returns Holm's; nothing where the sums leave nothing to chance."""
  if not fit.deviation:
    return []
  return run_statistics.holm([fit.chance(n) for n in range(1, 1 + count)])


def _check_seeds(
  folder: str, base: run_figures.Records, changes: Sequence[run_figures.Records]
) -> None:
  seeds = {record['seed'] for record in base}
  for found in changes:
    if not any(record['seed'] in seeds for record in found):
      raise UserError(
        f'{folder}: {found[0]["variant"]} has none of the seeds of '
        f'{base[0]["variant"]}; train it with seed {min(seeds)}.'
      )


def _by_seed(found: run_figures.Records, key: str) -> dict[int, float]:
  figures = run_figures.of_last_epoch(found, key)
  seeds = [record['seed'] for record in found]
  return dict(zip(seeds, figures, strict=True))
