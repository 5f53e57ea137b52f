"""The table of all runs in a folder of records, one a line."""

import itertools
from typing import Any

from official_ext.repeats import records
from studies import markdown

_HEAD = (
  'run',
  'test accuracy, %',
  'machine',
  'computed in',
  'TensorFlow',
  'commit',
  'compiling, s',
  'training, s',
  'in all, s',
)


def ledger(folder: str) -> str:
  """Returns a line for each run, by name and seed.

  Older records lack what was not kept at their time.

  Args:
    folder: That of the records.
  """
  found = sorted(records.read_all(folder).items())
  runs = itertools.chain.from_iterable(runs for _, runs in found)
  return markdown.table(_HEAD, [_row(record) for record in runs])


def _row(record: dict[str, Any]) -> tuple[str, ...]:
  versions = record.get('versions', {})
  return (
    f'{record["variant"]}, seed {record["seed"]}',
    f'{100 * record["test_accuracy"]:.2f}',
    machine(versions),
    record['runtime']['mixed_precision_dtype'],
    versions.get('tensorflow', ''),
    versions.get('commit', ''),
    _seconds(record.get('compile_seconds')),
    _seconds(record['train_seconds']),
    _seconds(record.get('wall_seconds')),
  )


def machine(versions: dict[str, Any]) -> str:
  """Returns the GPU, or else the CPU and how many cores of it were used."""
  gpu, cpu = versions.get('gpu', 'none'), versions.get('cpu', '')
  if gpu != 'none' or not cpu:
    return gpu if gpu != 'none' else ''
  return f'{cpu} × {versions.get("cores", "?")}'


def _seconds(value: float | None) -> str:
  return '' if value is None else f'{value:,.0f}'
