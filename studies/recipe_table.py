"""The table of recipes: what each computes, reaches and takes."""

import pathlib
from typing import Any

from official_ext.configuration import experiment, gin_config
from official_ext.ops import views
from official_ext.profiling import training_work
from official_ext.repeats import records, run_figures, summary
from studies import ledger_table, markdown

# The gin file of each recipe, and the folder that has its records.
_RECIPES = {
  'resnet9_v100': '24_epochs',
  'resnet9_dawn': '10_epochs',
  'airbench94': 'airbench',
}
_HEAD = (
  'recipe',
  'epochs',
  'training, PFLOP',
  'runs',
  'mean, %',
  'over its view, %',
  'seconds of training',
)


def recipes(folder: str) -> str:
  """Returns a line for each recipe that has records.

  Operations are counted from the layers, not quoted.

  Args:
    folder: That of all records.
  """
  rows = []
  for name, study in _RECIPES.items():
    path = pathlib.Path(folder) / study
    found = records.read_all(str(path)).get(name, [])
    if found:
      rows.append(_row(name, found))
  return markdown.table(_HEAD, rows)


def _row(name: str, found: run_figures.Records) -> tuple[str, ...]:
  gin_config.parse([f'gin/{name}.gin'], [])
  params = experiment.parse_gin_alone()
  over_views = run_figures.accuracies_over_views(found)
  return (
    name,
    f'{params.trainer.epochs:g}',
    f'{training_work.operations(params) / 1e15:.3g}',
    *summary.count_and_mean(run_figures.accuracies(found)),
    ', '.join(
      f'{summary.count_and_mean(seen)[1]} ({views.words(view)})'
      for view, seen in over_views.items()
    ),
    _seconds(found),
  )


def _seconds(found: run_figures.Records) -> str:
  """Returns the fastest run of each machine."""
  fastest: dict[str, float] = {}
  for record in found:
    machine = _machine(record)
    seconds = record['train_seconds']
    fastest[machine] = min(seconds, fastest.get(machine, seconds))
  return ', '.join(
    f'{seconds:,.0f} ({machine})'
    for machine, seconds in sorted(fastest.items())
  )


def _machine(record: dict[str, Any]) -> str:
  return ledger_table.machine(record.get('versions', {}))
