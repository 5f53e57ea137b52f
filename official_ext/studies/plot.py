"""Test accuracy by epoch: the original's run, and ours."""

import json
import pathlib
import re
import statistics

from official_ext.core.errors import UserError
from official_ext.studies import records

_STUDY, _RECIPE = '24_epochs', 'resnet9_v100'
_ORIGINAL = pathlib.Path('original') / '24_epochs.jsonl'

# Test accuracies by epoch, for each run of each curve.
Curves = dict[str, list[list[float]]]


def curves(folder: pathlib.Path) -> Curves:
  """Returns the runs to draw; none where there are no records of ours.

  Args:
    folder: That of all records.

  Raises:
    UserError: If runs to draw together have different numbers of epochs.
  """
  ours = records.read_all(str(folder / _STUDY)).get(_RECIPE)
  if not ours:
    return {}
  lines = (folder / _ORIGINAL).read_text().splitlines()
  runs = {
    'ours': [[row['test_accuracy'] for row in run['epochs']] for run in ours],
    'original': [[json.loads(line)['test_acc'] for line in lines]],
  }
  for name, found in runs.items():
    if len(set(map(len, found))) > 1:
      raise UserError(
        f'the runs of {name} in {folder / _STUDY} differ in length; keep those '
        'of one recipe there.'
      )
  return {
    name: [[round(value, 4) for value in run] for run in found]
    for name, found in runs.items()
  }


def draw(runs: Curves, path: pathlib.Path) -> None:
  """Draws means, and of several runs their range, into an SVG file.

  The figures drawn are part of the file, where `read` finds them.
  """
  import matplotlib
  from matplotlib import figure

  # The same figures give the same file.
  matplotlib.rcParams['svg.hashsalt'] = _STUDY
  fig = figure.Figure(figsize=(8, 4), layout='constrained')
  axes = fig.subplots()
  for name, accuracies in runs.items():
    by_epoch = list(zip(*accuracies, strict=True))
    epochs = range(1, len(by_epoch) + 1)
    means = [100 * statistics.fmean(values) for values in by_epoch]
    plural = 'runs' if len(accuracies) > 1 else 'run'
    label = f'{name}, {len(accuracies)} {plural}: {means[-1]:.2f}%'
    (line,) = axes.plot(epochs, means, marker='.', label=label)
    axes.fill_between(
      epochs,
      [100 * min(values) for values in by_epoch],
      [100 * max(values) for values in by_epoch],
      color=line.get_color(),
      alpha=0.2,
    )
  axes.set_xlabel('epoch')
  axes.set_ylabel('test accuracy, %')
  axes.set_ylim(top=96)
  axes.grid(alpha=0.3)
  axes.legend(loc='lower right')
  path.parent.mkdir(exist_ok=True)
  fig.savefig(path, metadata={'Date': None, 'Description': json.dumps(runs)})


def read(path: pathlib.Path) -> Curves:
  """Returns what is drawn in a file; nothing if it is not there."""
  if not path.exists():
    return {}
  text = re.search(
    r'<dc:description>(.*?)</dc:description>', path.read_text(), re.DOTALL
  )
  return json.loads(text[1].replace('&quot;', '"')) if text else {}
