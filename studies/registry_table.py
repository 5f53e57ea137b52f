"""The table of the candidates that were taken to the test images."""

import pathlib
import statistics

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
    _row(entry, path.parent)
    for path in sorted(pathlib.Path(folder).glob(f'*/{registry.FILE_NAME}'))
    for entry in registry.read(path.parent)
  ]
  return markdown.table(_HEAD, rows) if rows else _NONE


def _row(entry: registry.Entry, folder: pathlib.Path) -> tuple[str, ...]:
  found = [
    record
    for record in records.read_all(str(folder)).get(entry.variant, [])
    if record['seed'] in entry.seeds
  ]
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
