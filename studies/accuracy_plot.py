"""Test accuracy by epoch: the original's run, and ours."""

import json
import pathlib
import statistics
from collections.abc import Iterable
from typing import Any

from official_ext.errors import UserError
from official_ext.repeats import records

_STUDY = '24_epochs'
_LABELS = {
  'resnet9_v100': 'ours',
  'thirty_epochs': 'ours, 30 epochs',
  'earlier_port': 'ours, as the earlier port',
}
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
  by_variant = records.read_all(str(folder / _STUDY))
  ours = {
    label: [
      _accuracies(run['epochs'], 'test_accuracy') for run in by_variant[variant]
    ]
    for variant, label in _LABELS.items()
    if variant in by_variant
  }
  if not ours:
    return {}
  lines = (folder / _ORIGINAL).read_text().splitlines()
  original = _accuracies(map(json.loads, lines), 'test_acc')
  for name, found in ours.items():
    if len(set(map(len, found))) > 1:
      raise UserError(
        f'the runs of {name} in {folder / _STUDY} differ in length; keep those '
        'of one recipe there.'
      )
  return {**ours, 'original': [original]}


def _accuracies(epochs: Iterable[dict[str, Any]], key: str) -> list[float]:
  return [round(epoch[key], 4) for epoch in epochs]


def draw(runs: Curves, axes: Any) -> None:
  """Draws them into `matplotlib.axes.Axes`, in percent."""
  for name, accuracies in runs.items():
    by_epoch = list(zip(*accuracies, strict=True))
    epochs = range(1, len(by_epoch) + 1)
    means = [100 * statistics.fmean(values) for values in by_epoch]
    count = len(accuracies)
    of = f'mean and range of {count} runs' if count > 1 else '1 run'
    label = f'{name} ({of}): {means[-1]:.2f}% at the end'
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
  # The first epochs lie below: what is to be told apart is the end.
  best = 100 * max(max(run) for found in runs.values() for run in found)
  axes.set_ylim(best - 17, best + 1)
  axes.grid(alpha=0.3)
  axes.legend(loc='lower right')
