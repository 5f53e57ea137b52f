"""Writes the tables of README.md and docs, and the plots, from the records.

Usage, in the checkout::

  python -m studies.tables
  python -m studies.tables --check

A table stands between `<!-- table: KIND FOLDER -->`, the folder being one of
records, and `<!-- end table -->`. Of the records that `official_ext.repeat`
writes, the kinds are

  runs            means and intervals; only=NAME shows one variant, target=94
                  counts the runs that reach 94%
  costs           changes against their recipe; bold=NAME marks one, and parts
                  of it
  costs_by_seed   the same with what a seed adds to all of them taken out
  steps           each variant, by name, against the one before it
  recipes         what each recipe computes, reaches and takes
  ledger          all runs, one a line
  candidates      what `repeat --purpose` registered, with or without a result
  variance        what of the deviation is each test image's own

and runs, costs and steps take deviation=POINTS, a published deviation from run
to run, after FOLDER. A claim stands between `<!-- claim: NAME -->` and
`<!-- end claim -->`; see `studies.claims`.

With --check nothing is written, and the exit status is 1 if a table, a claim or
what a plot draws would change. Without it the plots are always drawn anew.
"""

import pathlib
import sys

from absl import flags

from official_ext.command_line import cli
from official_ext.errors import UserError

FLAGS = flags.FLAGS

_README = pathlib.Path('README.md')
_RECORDS = pathlib.Path('records')
_DOCS = pathlib.Path('docs')


def define_flags() -> None:
  """Defines the flags of this command."""
  cli.define_flags()
  flags.DEFINE_bool('check', False, 'Write nothing; say what would change.')


def main() -> int:
  """Writes, or says, what does not agree with the records."""
  from official_ext import registry_imports  # noqa: F401
  from studies import claims, pages, plots

  if not _README.exists() or not _RECORDS.exists():
    raise UserError(
      'README.md and records are not here; run this in the checkout.'
    )
  old = {
    path: path.read_text() for path in (_README, *sorted(_DOCS.glob('*.md')))
  }
  sentences = claims.read() if claims.FILE.exists() else {}
  new = {
    path: claims.fill(pages.fill(text, str(path)), str(path), sentences)
    for path, text in old.items()
  }
  drawn = {plot: plot.figures(_RECORDS) for plot in plots.ALL}
  stale = [path for path in old if new[path] != old[path]]
  stale += [plot.path for plot in drawn if plots.read(plot.path) != drawn[plot]]
  if not stale:
    print('All tables and plots agree with the records.')
  for path in stale:
    what = 'does not agree with' if FLAGS.check else 'is written anew from'
    print(f'{path} {what} the records.', file=sys.stderr)
  if FLAGS.check:
    return 1 if stale else 0
  for path, text in new.items():
    path.write_text(text)
  for plot, figures in drawn.items():
    plots.write(plot, figures, plot.path)
  return 0


if __name__ == '__main__':
  define_flags()
  cli.run(main)
