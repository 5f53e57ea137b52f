"""The table of what changes to a recipe cost."""

import statistics
from typing import Any

from official_ext.core.errors import UserError
from official_ext.studies import (
  markdown,
  records,
  run_cells,
  run_statistics,
  settings,
)

_HEAD = (
  'change',
  'sets',
  *run_cells.MEAN_HEAD,
  'points against the recipe, 95% interval',
  'test loss against the recipe, 95% interval',
  'mean training accuracy, %',
)

# What ends farther from the recipe may vary more than it from run to run.
_NEAR = 0.02


def costs(
  folder: str, deviation: float | None = None, bold: str | None = None
) -> str:
  """Returns what each change sets and costs, the dearest first.

  The deviation from run to run is taken to be the same with every change, since
  most are tried once or twice: that of the recipe's runs and of those that end
  near them. It stands below the table; what ends elsewhere has no interval. The
  test loss says more than the accuracy where its deviation is smaller beside
  the differences. The training accuracy of the last epoch tells a change that
  trains worse from one that is evaluated worse, if both have the same
  augmentation.

  Args:
    folder: That of the records.
    deviation: From run to run, of accuracies of 0 to 1, known from elsewhere;
      None to take that of the runs. The loss has no intervals then.
    bold: A change whose name is to be bold, with those that set a part of what
      it sets; None for none.

  Raises:
    UserError: If they are changes to several recipes, even of one name, or to
      one without a record, or none of them is the bold one.
  """
  by_variant = records.read_all(folder)
  base = by_variant.pop(_recipe(folder, by_variant))
  changes = sorted(by_variant.values(), key=_mean_accuracy)
  parts = _parts(folder, bold, by_variant, base)
  alike = [found for found in (base, *changes) if _is_near(found, base)]
  deviations, told = _deviations(alike, deviation)
  rows = [_row(folder, found, base, deviations, parts) for found in changes]
  table = markdown.table(_HEAD, [_recipe_row(base), *rows])
  return table + run_cells.below(told)


# Of the accuracy, and of the loss.
_Deviations = tuple[
  run_statistics.Deviation | None, run_statistics.Deviation | None
]


def _recipe(folder: str, by_variant: records.ByVariant) -> str:
  """Returns the name of what the others are changes to."""
  recipes = {
    record['recipe'] for found in by_variant.values() for record in found
  }
  if len(recipes) > 1:
    raise UserError(
      f'{folder} has records of changes to {", ".join(sorted(recipes))}; give '
      'each of these a folder of its own.'
    )
  (recipe,) = recipes
  if recipe not in by_variant:
    raise UserError(
      f'{folder} has no record of {recipe}, which the others are changes to; '
      'train it first.'
    )
  return recipe


def _parts(
  folder: str,
  bold: str | None,
  by_variant: records.ByVariant,
  base: run_cells.Records,
) -> set[str]:
  """Returns the names of the changes that a change is made of, and its own."""
  if bold is None:
    return set()
  if bold not in by_variant:
    raise UserError(
      f'{folder} has no record of {bold}, but of {", ".join(by_variant)}; name '
      'one of these.'
    )
  sets = {name: set(_brought(by_variant[name], base)) for name in by_variant}
  return {name for name, brought in sets.items() if brought <= sets[bold]}


def _deviations(
  alike: list[list[dict[str, Any]]], published: float | None
) -> tuple[_Deviations, str]:
  """Returns the deviations that intervals rest on, and says which they are."""
  accuracy, told = run_cells.accuracy_deviation(
    map(run_cells.accuracies, alike), published
  )
  if published is not None:
    return (accuracy, None), told
  loss = run_statistics.pooled_deviation(map(_losses, alike))
  if loss:
    told += f'; of the loss {loss.value:.4f}, with as many'
  return (accuracy, loss), told


def _recipe_row(base: run_cells.Records) -> tuple[str, ...]:
  mean = run_cells.count_and_mean(run_cells.accuracies(base))
  return base[0]['variant'], '', *mean, '', '', _training(base)


def _row(
  folder: str,
  found: run_cells.Records,
  base: run_cells.Records,
  deviations: _Deviations,
  parts: set[str],
) -> tuple[str, ...]:
  """Returns the line of a change, of which these are the records."""
  name = found[0]['variant']
  lacked = settings.lacked(found[0]['gin'], base[0]['gin'])
  if lacked:
    raise UserError(
      f'{folder}: {name} is no change to {base[0]["variant"]} as it is there, '
      f'for it does not have {lacked[0]!r}; train it anew in another folder.'
    )
  of_accuracy, of_loss = deviations if _is_near(found, base) else (None, None)
  accuracies = run_cells.accuracies(found)
  return (
    f'**{name}**' if name in parts else name,
    ', '.join(f'`{line}`' for line in _brought(found, base)),
    *run_cells.count_and_mean(accuracies),
    run_cells.points(accuracies, run_cells.accuracies(base), of_accuracy),
    _more_loss(found, base, of_loss),
    _training(found),
  )


def _brought(found: run_cells.Records, base: run_cells.Records) -> list[str]:
  return settings.brought(found[0]['gin'], base[0]['gin'])


def _is_near(found: run_cells.Records, base: run_cells.Records) -> bool:
  return abs(_mean_accuracy(found) - _mean_accuracy(base)) <= _NEAR


def _mean_accuracy(found: run_cells.Records) -> float:
  return statistics.fmean(run_cells.accuracies(found))


def _losses(found: run_cells.Records) -> list[float]:
  return run_cells.of_last_epoch(found, 'test_loss')


def _more_loss(
  found: run_cells.Records,
  base: run_cells.Records,
  deviation: run_statistics.Deviation | None,
) -> str:
  above, half_width = run_statistics.difference(
    _losses(found), _losses(base), deviation
  )
  return run_cells.with_interval(above, half_width, 4)


def _training(found: run_cells.Records) -> str:
  """Returns the mean training accuracy of the last epoch."""
  trained = run_cells.of_last_epoch(found, 'train_accuracy')
  return run_cells.count_and_mean(trained)[1]
