"""Puts tables between their marks in a Markdown text."""

import pathlib
import re
from collections.abc import Callable

from official_ext.core.errors import UserError
from official_ext.studies import figure_tables, run_tables

KINDS: dict[str, Callable[..., str]] = {
  'runs': run_tables.runs,
  'costs': run_tables.costs,
  'steps': run_tables.steps,
  'step_times': figure_tables.step_times,
  'benchmark': figure_tables.benchmark,
  'exports': figure_tables.exports,
  'profile': figure_tables.profile,
}

# Their intervals can rest on a deviation known from elsewhere.
_COMPARED = 'costs', 'steps'

_MARKED = re.compile(
  r'(?P<begin><!-- table: (?P<kind>\w+) (?P<folder>\S+)'
  r'(?: deviation=(?P<deviation>\d+(\.\d+)?))? -->\n)'
  r'.*?'
  r'(?P<end><!-- end table -->)',
  re.DOTALL,
)


def fill(text: str) -> str:
  """Returns the text with each table made anew from the records.

  Args:
    text: Markdown, its tables between `<!-- table: KIND FOLDER -->` and
      `<!-- end table -->`. Where runs are compared, ` deviation=POINTS` after
      FOLDER is a published deviation from run to run, in points of accuracy,
      which the intervals then rest on instead of that of the records.

  Raises:
    UserError: If there is no such kind, a folder without a file of figures, a
      deviation where none is used, or a mark with a mistake in it.
  """
  found = len(_MARKED.findall(text))
  if text.count('<!-- table:') != found:
    raise UserError(
      'README.md: a table has no <!-- end table -->, or begins otherwise than '
      'with <!-- table: KIND FOLDER --> or <!-- table: KIND FOLDER '
      'deviation=POINTS -->; mend its mark.'
    )
  return _MARKED.sub(_table, text)


def _table(match: re.Match[str]) -> str:
  kind, folder, deviation = match['kind'], match['folder'], match['deviation']
  if kind not in KINDS:
    raise UserError(
      f'README.md: there is no table of kind {kind}; there are '
      f'{", ".join(KINDS)}.'
    )
  if not any(pathlib.Path(folder).glob('*.json')):
    raise UserError(
      f'README.md: {folder} has no *.json; name a folder of records, or take '
      f'the table of {kind} out.'
    )
  if deviation and kind not in _COMPARED:
    raise UserError(
      f'README.md: a table of {kind} has no use for deviation={deviation}; '
      'leave it out.'
    )
  published = [float(deviation) / 100] if deviation else []
  return match['begin'] + KINDS[kind](folder, *published) + match['end']
