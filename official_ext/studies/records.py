"""Small files that say what a training was, and what came out of it."""

import json
import os
import pathlib
import re
from typing import Any

from official_ext.core import epoch_table, safe_yaml
from official_ext.core.errors import UserError

# Of the runtime's config: what the machine had and what was done with it.
_RUNTIME_KEYS = (
  'mixed_precision_dtype',
  'distribution_strategy',
  'num_gpus',
  'seed',
  'deterministic',
)

# What gin's text has of places on one machine; a long value goes on in the next
# line.
_COMMENT = re.compile(r'^#.*\n?', re.MULTILINE)
_DATA_DIR = re.compile(r'^\w+\.data_dir = (.*\\\n)*.*\n?', re.MULTILINE)
_CHECKPOINT = re.compile(r'(?<=\.init_checkpoint = )(.*\\\n)*.*')

# What a table needs of a record, and its types.
_FIELDS = {
  'variant': str,
  'seed': int,
  'test_accuracy': float,
  'train_seconds': float,
  'epochs': list,
}


def make(model_dir: pathlib.Path, variant: str, recipe: str) -> dict[str, Any]:
  """Returns the record of a finished run, which names no place on a machine.

  It holds the variant, the recipe and the seed; the gin bindings; precision and
  devices; versions, the CPU's and the GPU's name; the rows of `epochs.jsonl`;
  and of these, the last test accuracy (0 to 1) and the seconds of training.

  Args:
    model_dir: The run's folder.
    variant: What to call what was trained.
    recipe: What it is a change to; the same for the recipe itself.

  Raises:
    UserError: If the run is not finished.
  """
  rows = epoch_table.read(model_dir / epoch_table.FILE_NAME)
  params = safe_yaml.load((model_dir / 'params.yaml').read_text())
  if not rows or rows[-1]['step'] < params['trainer']['train_steps']:
    raise UserError(
      f'{model_dir} is not a finished run; train to its end first.'
    )
  runtime = params['runtime']
  return {
    'variant': variant,
    'recipe': recipe,
    'seed': runtime['seed'],
    'gin': settings((model_dir / 'requested.gin').read_text()),
    'runtime': {key: runtime[key] for key in _RUNTIME_KEYS},
    'versions': json.loads((model_dir / 'versions.json').read_text()),
    'test_accuracy': rows[-1]['test_accuracy'],
    'train_seconds': rows[-1]['total_train_seconds'],
    'epochs': rows,
  }


def settings(gin_text: str) -> str:
  """Returns gin's text without comments and without places on a machine."""
  text = _DATA_DIR.sub('', _COMMENT.sub('', gin_text))
  return _CHECKPOINT.sub("'...'", text).strip()


def read(path: pathlib.Path) -> dict[str, Any]:
  """Returns a record.

  Raises:
    UserError: If the file is none.
  """
  try:
    record = json.loads(path.read_text())
    good = record['epochs'] and all(
      isinstance(record[key], kind) for key, kind in _FIELDS.items()
    )
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise UserError(f'{path} is no record of a run.') from error
  if not good:
    raise UserError(f'{path} is no record of a run.')
  return record


def write(path: pathlib.Path, record: dict[str, Any]) -> None:
  """Writes a record, whole or not at all."""
  new = path.with_suffix('.new')
  rows = ',\n'.join(f'    {json.dumps(row)}' for row in record['epochs'])
  text = json.dumps({**record, 'epochs': []}, indent=2)
  # An epoch a line, so that a person can read it.
  text = text.replace('"epochs": []', f'"epochs": [\n{rows}\n  ]')
  new.write_text(text + '\n')
  os.replace(new, path)


def read_all(folder: str) -> dict[str, list[dict[str, Any]]]:
  """Returns the records of a folder by variant, in the order of their seeds.

  Raises:
    UserError: If a file in it is no record.
  """
  by_variant: dict[str, list[dict[str, Any]]] = {}
  for path in sorted(pathlib.Path(folder).expanduser().glob('*.json')):
    record = read(path)
    by_variant.setdefault(record['variant'], []).append(record)
  for found in by_variant.values():
    found.sort(key=lambda record: record['seed'])
  return by_variant
