"""Small files that say what a training was, and what came out of it."""

import json
import math
import pathlib
from typing import Any

import yaml

from official_ext.configuration import experiment, gin_config
from official_ext.errors import UserError
from official_ext.files import safe_yaml, whole
from official_ext.progress import epoch_table
from official_ext.repeats import settings
from official_ext.runs import data_record, right_images

# What a run's folder calls the gin text that it was begun with.
REQUESTED = 'requested.gin'

# Of the runtime's config: what the machine had and what was done with it.
_RUNTIME_KEYS = (
  'mixed_precision_dtype',
  'distribution_strategy',
  'num_gpus',
  'seed',
  'deterministic',
)

# What comes of files that are gone or hold something else.
_UNREADABLE = (OSError, ValueError, yaml.YAMLError, LookupError, TypeError)

_SPLITS = ('train', 'test')

# The records of each variant.
ByVariant = dict[str, list[dict[str, Any]]]

# What a table needs of a record, and its types.
_FIELDS = {
  'variant': str,
  'recipe': str,
  'seed': int,
  'config': dict,
  'runtime': dict,
  'test_accuracy': float,
  'train_seconds': float,
  'epochs': list,
}


def make(model_dir: pathlib.Path, variant: str, recipe: str) -> dict[str, Any]:
  """Returns the record of a finished run, which names no place on a machine.

  It holds the variant, the recipe and the seed; the settings; precision and
  devices; which images it had, and which of the test images were right;
  versions, the CPU's and the GPU's name; the rows of `epochs.jsonl`; and of
  these, the last test accuracy (0 to 1) and the seconds of training, of
  compiling, and of all from the command to the result. A run that was gone on
  with in other versions, or on another machine, has those before as
  `earlier_versions`.

  Args:
    model_dir: The run's folder.
    variant: What to call what was trained.
    recipe: What it is a change to; the same for the recipe itself.

  Raises:
    UserError: If the run is not finished, was trained in two precisions, or has
      lost a file.
  """
  try:
    return _make(model_dir, variant, recipe)
  except UserError:
    raise
  except _UNREADABLE as error:
    raise _untold(model_dir, error) from error


def _untold(model_dir: pathlib.Path, error: Exception) -> UserError:
  # A YAML error has several lines.
  reason = ' '.join(repr(error).split())
  return UserError(
    f'{model_dir} no longer says how it was trained ({reason}); rename that '
    'folder to begin anew.'
  )


def _make(model_dir: pathlib.Path, variant: str, recipe: str) -> dict[str, Any]:
  rows = epoch_table.read(model_dir / epoch_table.FILE_NAME)
  params = safe_yaml.load((model_dir / 'params.yaml').read_text())
  if not rows or rows[-1]['step'] < params['trainer']['train_steps']:
    raise UserError(
      f'{model_dir} is not a finished run; train to its end first.'
    )
  runtime = params['runtime']
  for file in configs(model_dir):
    check_precision(file, runtime['mixed_precision_dtype'])
  versions = model_dir / 'versions.json'
  earlier = [json.loads(file.read_text()) for file in whole.earlier(versions)]
  return {
    'variant': variant,
    'recipe': recipe,
    'seed': runtime['seed'],
    'config': requested(model_dir),
    'runtime': {key: runtime[key] for key in _RUNTIME_KEYS},
    **_data(model_dir),
    'versions': json.loads(versions.read_text()),
    **({'earlier_versions': earlier} if earlier else {}),
    **_right(model_dir, rows[-1]['step']),
    'test_accuracy': rows[-1]['test_accuracy'],
    'train_seconds': rows[-1]['total_train_seconds'],
    'compile_seconds': sum(row.get('compile_seconds', 0.0) for row in rows),
    'wall_seconds': rows[-1].get('wall_seconds'),
    'epochs': rows,
  }


def _data(model_dir: pathlib.Path) -> dict[str, Any]:
  """Returns what is recorded of the images; nothing of an older run."""
  found = data_record.read(model_dir)
  return {'data': data_record.plain(found)} if found else {}


def _right(model_dir: pathlib.Path, step: int) -> dict[str, Any]:
  """Returns which test images were right; nothing of an older run."""
  found = right_images.read(model_dir, step)
  return {'right_images': found} if found else {}


def requested(model_dir: pathlib.Path) -> settings.Settings:
  """Returns the settings that a run was begun with.

  Raises:
    UserError: If it no longer says.
  """
  try:
    gin_config.parse([str(model_dir / REQUESTED)], [])
    return settings.of(experiment.parse_gin_alone())
  except UserError as error:
    raise _untold(model_dir, error) from error


def check_precision(params_yaml: pathlib.Path, precision: str) -> None:
  """Raises where a run has begun in another precision.

  Args:
    params_yaml: The run's config.
    precision: What it is to go on in, or ended in.

  Raises:
    UserError: If it is another one, or the file does not say.
  """
  try:
    runtime = safe_yaml.load(params_yaml.read_text())['runtime']
    begun = runtime['mixed_precision_dtype']
  except _UNREADABLE as error:
    raise _untold(params_yaml.parent, error) from error
  if begun != precision:
    raise UserError(
      f'{params_yaml.parent} has begun in {begun}, and would go on in '
      f'{precision}; use a machine that computes in {begun}, or rename that '
      'folder to begin anew.'
    )


def configs(model_dir: pathlib.Path) -> list[pathlib.Path]:
  """Returns the configs that a run was started with, oldest first."""
  newest = model_dir / 'params.yaml'
  return [*whole.earlier(newest), *([newest] if newest.exists() else [])]


def read(path: pathlib.Path) -> dict[str, Any]:
  """Returns a record.

  Raises:
    UserError: If the file is none, or its accuracy is not that of its last
      epoch.
  """
  try:
    record = json.loads(path.read_text())
    last = record['epochs'][-1]
    data_record.of_plain(record.get('data', {}))
    good = (
      all(isinstance(record[key], kind) for key, kind in _FIELDS.items())
      and all(isinstance(part, dict) for part in record['config'].values())
      and 'mixed_precision_dtype' in record['config']['runtime']
      and isinstance(record['runtime']['mixed_precision_dtype'], str)
      and all(0 <= last[f'{split}_accuracy'] <= 1 for split in _SPLITS)
      and isinstance(last['test_loss'], float)
      and math.isfinite(last['test_loss'])
    )
    if not good:
      raise ValueError
  except (OSError, *data_record.NONE, LookupError) as error:
    raise UserError(f'{path} is no record of a run.') from error
  if record['test_accuracy'] != last['test_accuracy']:
    raise UserError(
      f'{path}: test_accuracy={record["test_accuracy"]} is not that of the '
      f'last epoch, {last["test_accuracy"]}; restore the file.'
    )
  _check_right(record, path)
  return record


def _check_right(record: dict[str, Any], path: pathlib.Path) -> None:
  """Raises where the images that are right are not as many as it says."""
  for name, packed in record.get('right_images', {}).items():
    try:
      count = record['data']['test']['num_examples']
      right = right_images.unpack(packed, count).mean()
      told = record['epochs'][-1][f'test_{name}']
      same = math.isclose(right, told, abs_tol=1e-6)
    except (ValueError, LookupError, TypeError):
      same = False
    if not same:
      raise UserError(
        f'{path}: right_images.{name} is not that of the last epoch; restore '
        'the file.'
      )


def write(path: pathlib.Path, record: dict[str, Any]) -> None:
  """Writes a record, whole or not at all.

  Raises:
    UserError: If it cannot be written.
  """
  # A part of the config a line, and an epoch, so that a person can read it.
  text = json.dumps({**record, 'config': {}, 'epochs': []}, indent=2)
  text = text.replace(
    '"config": {}', f'"config": {_in_lines(record["config"])}'
  )
  rows = ',\n'.join(f'    {json.dumps(row)}' for row in record['epochs'])
  text = text.replace('"epochs": []', f'"epochs": [\n{rows}\n  ]')
  try:
    whole.write(path, text + '\n')
  except OSError as error:
    raise UserError(
      f'{path} cannot be written ({error.strerror}); mend that, then give the '
      'same command again.'
    ) from error


def _check_same_data(
  first: dict[str, Any], record: dict[str, Any], path: pathlib.Path
) -> None:
  """Raises where two of a variant had other images, if both tell."""
  there, here = (
    data_record.of_plain(each.get('data', {})) for each in (first, record)
  )
  for name in sorted(there.keys() & here.keys()):
    for found in data_record.differences(there[name], here[name]):
      raise UserError(
        f'{path} is of a training with other images: {name}.{found.place}='
        f'{found.now!r} instead of {found.before!r} with seed {first["seed"]}; '
        'move one of them out of the folder.'
      )


def _in_lines(config: settings.Settings) -> str:
  """Returns JSON of a config, each part of its parts on a line of its own."""
  sections = []
  for name, section in config.items():
    lines = [f'      "{key}": {json.dumps(v)}' for key, v in section.items()]
    body = ',\n'.join(lines)
    sections.append(f'    "{name}": {{\n{body}\n    }}')
  body = ',\n'.join(sections)
  return f'{{\n{body}\n  }}'


def read_all(folder: str) -> ByVariant:
  """Returns the records of a folder by variant, in the order of their seeds.

  Raises:
    UserError: If a file in it is no record, two are of one run, two of one
      variant have other settings or images, or 'auto' was one precision in one
      of them and another in another.
  """
  by_variant: ByVariant = {}
  precisions: dict[str, str] = {}
  places: dict[tuple[str, int], pathlib.Path] = {}
  for path in sorted(pathlib.Path(folder).expanduser().glob('*.json')):
    record = read(path)
    asked = settings.asked_precision(record['config'])
    precision = record['runtime']['mixed_precision_dtype']
    if precisions.setdefault(asked, precision) != precision:
      raise UserError(
        f"{path}: precision='{asked}' was {precision}, and "
        f'{precisions[asked]} in other records of its folder; compare runs of '
        'one precision.'
      )
    run = record['variant'], record['seed']
    if places.setdefault(run, path) != path:
      raise UserError(
        f'{path} and {places[run].name} are both of {run[0]} with seed '
        f'{run[1]}; move one of them out of the folder.'
      )
    found = by_variant.setdefault(record['variant'], [])
    found.append(record)
    settings.check_same(
      found[0]['config'],
      record['config'],
      path,
      f'move it, or the others of {run[0]}, out of the folder',
    )
    _check_same_data(found[0], record, path)
  for found in by_variant.values():
    found.sort(key=lambda record: record['seed'])
  return by_variant
