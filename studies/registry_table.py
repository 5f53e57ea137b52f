"""The table of the candidates that were taken to the test images."""

import pathlib
import statistics
from collections.abc import Iterator
from typing import Any

from official_ext.repeats import records, registry, run_figures
from studies import markdown

_HEAD = ('candidate', 'registered', 'why', 'seeds', 'runs', 'mean, %', 'digest')
_NONE = 'None was registered yet.\n'


def candidates(folder: str) -> str:
  """Returns a line for each, those without a result too.

  Args:
    folder: That of the folders of records.

  Raises:
    UserError: If a registry was changed.
  """
  rows = [
    row
    for path in sorted(pathlib.Path(folder).glob(f'*/{registry.FILE_NAME}'))
    for row in _rows(path.parent)
  ]
  return markdown.table(_HEAD, rows) if rows else _NONE


def _rows(folder: pathlib.Path) -> Iterator[tuple[str, ...]]:
  by_variant = records.read_all(str(folder))
  for entry in registry.read(folder):
    found = [
      record
      for record in by_variant.get(entry.variant, [])
      if record['seed'] in entry.seeds
    ]
    yield _row(entry, found, folder)


def _row(
  entry: registry.Entry, found: list[dict[str, Any]], folder: pathlib.Path
) -> tuple[str, ...]:
  mean = statistics.fmean(run_figures.accuracies(found)) if found else None
  return (
    f'{folder.name}/{entry.variant}',
    entry.date,
    entry.purpose,
    ', '.join(map(str, entry.seeds)),
    f'{len(found)} of {len(entry.seeds)}',
    '' if mean is None else f'{100 * mean:.2f}',
    entry.digest.removeprefix('sha256:')[:12],
  )
