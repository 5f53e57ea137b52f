"""Puts tables between their marks in pages of Markdown."""

import inspect
import pathlib
import re
from collections.abc import Callable
from typing import Any

from official_ext.errors import UserError
from studies import (
  cost_table,
  figure_tables,
  gpu_table,
  ledger_table,
  recipe_table,
  registry_table,
  run_tables,
  seed_table,
  settings_tables,
  variance_table,
)

KINDS: dict[str, Callable[..., str]] = {
  'runs': run_tables.runs,
  'costs': cost_table.costs,
  'costs_by_seed': seed_table.costs_by_seed,
  'steps': run_tables.steps,
  'step_times': figure_tables.step_times,
  'benchmark': figure_tables.benchmark,
  'exports': figure_tables.exports,
  'profile': figure_tables.profile,
  'gpu': gpu_table.gpu,
  'ledger': ledger_table.ledger,
  'recipes': recipe_table.recipes,
  'candidates': registry_table.candidates,
  'variance': variance_table.variance,
}

# A table that says itself that there is nothing yet.
_MAY_BE_EMPTY = {'gpu', 'candidates'}

# Of the folder that holds those of all records.
_OF_ALL_STUDIES = {'recipes', 'candidates'}

# Of code instead of records: what stands in place of FOLDER is a name.
KINDS_OF_CODE: dict[str, Callable[[str], str]] = {
  'part': settings_tables.part,
  'experiment': settings_tables.experiment,
}

_MARKED = re.compile(
  r'(?P<begin><!-- table: (?P<kind>\w+) (?P<folder>\S+)'
  r'(?P<options>(?: \w+=\S+)*) -->\n)'
  r'.*?'
  r'(?P<end><!-- end table -->)',
  re.DOTALL,
)


def fill(text: str, page: str) -> str:
  """Returns the text with each table made anew from the records.

  Args:
    text: Markdown, its tables between `<!-- table: KIND FOLDER -->` and
      `<!-- end table -->`. Options of the kind follow FOLDER, such as
      ` deviation=0.15`, which is in points of accuracy.
    page: The file's name, for messages.

  Raises:
    UserError: If there is no such kind, a folder without a file of figures, an
      option that the kind does not have, or a mark with a mistake in it.
  """
  found = len(_MARKED.findall(text))
  if text.count('<!-- table:') != found:
    raise UserError(
      f'{page}: a table has no <!-- end table -->, or begins otherwise than '
      'with <!-- table: KIND FOLDER -->, any OPTION=VALUE after FOLDER; mend '
      'its mark.'
    )
  return _MARKED.sub(lambda match: _table(match, page), text)


def _table(match: re.Match[str], page: str) -> str:
  kind, folder = match['kind'], match['folder']
  if kind in KINDS_OF_CODE:
    return match['begin'] + KINDS_OF_CODE[kind](folder) + match['end']
  if kind not in KINDS:
    kinds = ', '.join([*KINDS, *KINDS_OF_CODE])
    raise UserError(
      f'{page}: there is no table of kind {kind}; there are {kinds}.'
    )
  pattern = '*/*.json' if kind in _OF_ALL_STUDIES else '*.json'
  there = any(pathlib.Path(folder).glob(pattern))
  if not there and kind not in _MAY_BE_EMPTY:
    raise UserError(
      f'{page}: {folder} has no *.json; name a folder of records, or take '
      f'the table of {kind} out.'
    )
  known = set(inspect.signature(KINDS[kind]).parameters)
  options: dict[str, Any] = {}
  for option in match['options'].split():
    name, _, value = option.partition('=')
    if name not in known - {'folder'}:
      raise UserError(
        f'{page}: a table of {kind} has no use for {option}; leave it out.'
      )
    is_number = name in ('deviation', 'target')
    options[name] = _share(name, value, page) if is_number else value
  return match['begin'] + KINDS[kind](folder, **options) + match['end']


def _share(name: str, points: str, page: str) -> float:
  if not re.fullmatch(r'\d+(\.\d+)?', points) or not float(points):
    raise UserError(
      f'{page}: {name}={points} is no number of points above 0; give one such '
      'as 0.15.'
    )
  return float(points) / 100
