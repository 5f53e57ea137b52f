"""Writes the tables of README.md and the plot anew, from the records.

Usage, in the checkout::

  python -m official_ext.tables
  python -m official_ext.tables --check

A table stands between `<!-- table: KIND FOLDER -->`, the folder being one of
records, and `<!-- end table -->`; the kinds are those of `studies.readme`. With
--check nothing is written, and the exit status is 1 if a table, or what the
plot draws, would change. Without it the plot is always drawn anew.
"""

import pathlib
import sys

from absl import flags

from official_ext.core import cli
from official_ext.core.errors import UserError

FLAGS = flags.FLAGS

_PLOT = pathlib.Path('docs/accuracy_by_epoch.svg')


def define_flags() -> None:
  """Defines the flags of this command."""
  cli.define_flags()
  flags.DEFINE_bool('check', False, 'Write nothing; say what would change.')


def main() -> int:
  """Writes, or says, what does not agree with the records."""
  from official_ext.studies import plot, readme

  path = pathlib.Path('README.md')
  if not path.exists() or not pathlib.Path('records').exists():
    raise UserError(
      'README.md and records are not here; run this in the checkout.'
    )
  old = path.read_text()
  new = readme.fill(old)
  curves = plot.curves(pathlib.Path('records'))
  stale = [str(path)] if new != old else []
  if plot.read(_PLOT) != curves:
    stale.append(str(_PLOT))
  for name in stale:
    what = 'does not agree with' if FLAGS.check else 'is written anew from'
    print(f'{name} {what} the records.', file=sys.stderr)
  if FLAGS.check:
    return 1 if stale else 0
  path.write_text(new)
  if curves:
    plot.draw(curves, _PLOT)
  else:
    _PLOT.unlink(missing_ok=True)
  return 0


if __name__ == '__main__':
  define_flags()
  cli.run(main)
