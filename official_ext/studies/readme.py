"""Puts tables between their marks in a Markdown text."""

import pathlib
import re

from official_ext.core.errors import UserError
from official_ext.studies import tables

_MARKED = re.compile(
  r'(?P<begin><!-- table: (?P<kind>\w+) (?P<folder>\S+) -->\n)'
  r'.*?'
  r'(?P<end><!-- end table -->)',
  re.DOTALL,
)


def fill(text: str) -> str:
  """Returns the text with each table made anew from the records.

  Args:
    text: Markdown, its tables between `<!-- table: KIND FOLDER -->` and
      `<!-- end table -->`.

  Raises:
    UserError: If there is no such kind, a folder without a file of figures, or
      a mark without its end.
  """

  def table(match: re.Match[str]) -> str:
    kind, folder = match['kind'], match['folder']
    if kind not in tables.KINDS:
      raise UserError(
        f'README.md: there is no table of kind {kind}; there are '
        f'{", ".join(tables.KINDS)}.'
      )
    if not any(pathlib.Path(folder).glob('*.json')):
      raise UserError(
        f'README.md: {folder} has no *.json; name a folder of records, or take '
        f'the table of {kind} out.'
      )
    return match['begin'] + tables.KINDS[kind](folder) + match['end']

  found = len(_MARKED.findall(text))
  if text.count('<!-- table: ') != found:
    raise UserError('README.md: a table has no <!-- end table -->.')
  return _MARKED.sub(table, text)
