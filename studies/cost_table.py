"""The table of what changes to a recipe cost."""

import statistics
from collections.abc import Mapping, Sequence

from official_ext.errors import UserError
from official_ext.repeats import records, run_figures, summary
from studies import brought, markdown, run_cells, run_statistics

_HEAD = (
  'change',
  'sets',
  *run_cells.MEAN_HEAD,
  'points against the recipe, 95% interval',
  'p',
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
  training accuracy of the last epoch tells a change that trains worse from one
  that is evaluated worse, if both have the same augmentation.

  Args:
    folder: That of the records.
    deviation: From run to run, of accuracies of 0 to 1, known from elsewhere;
      None to take that of the runs, which Dunnett's test needs.
    bold: A change whose name is to be bold, with those that set a part of what
      it sets; None for none.

  Raises:
    UserError: If they are changes to several recipes, even of one name, or to
      one without a record, or none of them is the bold one.
  """
  base, changes = base_and_changes(folder)
  if bold is not None:
    run_cells.check_variant(changes, bold, folder)
  sets = {
    name: brought.by_change(found[0]['config'], base[0]['config'])
    for name, found in changes.items()
  }
  alike = [found for found in (base, *changes.values()) if is_near(found, base)]
  taken, told = run_cells.accuracy_deviation(
    map(run_figures.accuracies, alike), deviation
  )
  parts = _parts(sets, bold)
  by_chance = {} if deviation else chances(base, changes)
  rows = [
    _row(name in parts, sets[name], found, base, taken, by_chance.get(name))
    for name, found in changes.items()
  ]
  table = markdown.table(_HEAD, [_recipe_row(base), *rows])
  return table + run_cells.below(told)


def chances(
  base: run_figures.Records, changes: records.ByVariant
) -> dict[str, float]:
  """Returns how likely the changes' differences are by chance.

  Those that end far from the recipe are left out, as are all where it has one
  run.
  """
  near = {
    name: run_figures.accuracies(found)
    for name, found in changes.items()
    if is_near(found, base)
  }
  if not near or len(base) < 2:
    return {}
  values = list(near.values())
  found = run_statistics.dunnett(values, run_figures.accuracies(base))
  return dict(zip(near, found, strict=True))


def base_and_changes(
  folder: str,
) -> tuple[run_figures.Records, records.ByVariant]:
  """Returns the records of a recipe, and of its changes, the dearest first.

  Raises:
    UserError: If they are changes to several recipes, even of one name, or to
      one without a record.
  """
  by_variant = records.read_all(folder)
  base = by_variant.pop(_recipe(folder, by_variant))
  dearest_first = sorted(
    by_variant, key=lambda n: _mean_accuracy(by_variant[n])
  )
  return base, {name: by_variant[name] for name in dearest_first}


def is_near(found: run_figures.Records, base: run_figures.Records) -> bool:
  """Tells whether runs can be taken to vary as those of the recipe do."""
  return abs(_mean_accuracy(found) - _mean_accuracy(base)) <= _NEAR


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


def _parts(sets: Mapping[str, Sequence[str]], whole: str | None) -> set[str]:
  """Returns the names of a change and of those that set a part of it."""
  if whole is None:
    return set()
  return {
    name for name, lines in sets.items() if lines and {*lines} <= {*sets[whole]}
  }


def _recipe_row(base: run_figures.Records) -> tuple[str, ...]:
  mean = summary.count_and_mean(run_figures.accuracies(base))
  return base[0]['variant'], '', *mean, '', '', _training(base)


def _row(
  bold: bool,
  sets: Sequence[str],
  found: run_figures.Records,
  base: run_figures.Records,
  deviation: run_statistics.Deviation | None,
  chance: float | None,
) -> tuple[str, ...]:
  """Returns the line of a change, of which these are the records."""
  name = found[0]['variant']
  taken = deviation if is_near(found, base) else None
  accuracies = run_figures.accuracies(found)
  return (
    f'**{name}**' if bold else name,
    ', '.join(f'`{line}`' for line in sets),
    *summary.count_and_mean(accuracies),
    run_cells.points(accuracies, run_figures.accuracies(base), taken),
    run_cells.chance(chance),
    _training(found),
  )


def _mean_accuracy(found: run_figures.Records) -> float:
  return statistics.fmean(run_figures.accuracies(found))


def _training(found: run_figures.Records) -> str:
  """Returns the mean training accuracy of the last epoch."""
  trained = run_figures.of_last_epoch(found, 'train_accuracy')
  return summary.count_and_mean(trained)[1]
