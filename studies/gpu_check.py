"""Checks and times the package on a GPU, and leaves small records of it.

Usage, in the checkout, on a machine with one GPU::

  python -m studies.gpu_check --data_dir DIR --out OUT

DIR holds CIFAR-10 (`prepare_data --archive`). In --minutes, 12 by default, it
trains the recipe of 24 epochs twice with `deterministic` for two epochs, both
recipes from an empty cache of compiled programs and from a full one, measures
the benchmark (with PyTorch's step where that is installed), exports what was
trained, and spends what is left on `repeat` with as many seeds as fit.

Nothing is installed, and nothing written outside of OUT but the decoded images,
which any training keeps in DIR. OUT/records is to be
copied into the checkout's `records`, of which `python -m studies.tables` then
makes the tables of docs/results.md.
"""

import importlib.util
import json
import pathlib
import re
import subprocess
import sys
from typing import Any

from absl import flags

from official_ext.command_line import cli
from official_ext.errors import UserError
from studies.timed_commands import Clock

FLAGS = flags.FLAGS

RECIPES = {
  '24_epochs': 'gin/resnet9_v100.gin',
  '10_epochs': 'gin/resnet9_dawn.gin',
}
_SEEDS = ','.join(map(str, range(100)))


def define_flags() -> None:
  """Defines the flags of this command."""
  cli.define_flags()
  flags.DEFINE_string('data_dir', None, 'Folder of TFDS data sets.')
  flags.DEFINE_string('out', None, 'A new folder for all that comes of it.')
  flags.DEFINE_float('minutes', 12, 'How long all of it may take.')
  flags.DEFINE_multi_string(
    'gin_params', [], 'A binding for all trainings, as for a trial on a CPU.'
  )


def main() -> int:
  """Runs all checks; returns 1 if a command failed or bits differ."""
  if not FLAGS.data_dir or not FLAGS.out:
    raise UserError('give --data_dir and --out; see --help.')
  out = pathlib.Path(FLAGS.out).resolve()
  if out.exists():
    raise UserError(f'--out={FLAGS.out} is there already; name a new folder.')
  for folder in ('records/gpu_check', 'records/gpu_benchmark', 'logs'):
    (out / folder).mkdir(parents=True)
  clock = Clock(60 * FLAGS.minutes, out / 'logs')
  found: dict[str, Any] = {'setup': _setup(), 'trainings': [], 'commands': []}
  found['deterministic'] = _train_twice(clock, out)
  _write(out, found)
  for recipe in RECIPES:
    for cached in ('cold', 'warm'):
      found['trainings'].append(_train(clock, out, recipe, cached))
      _write(out, found)
  found['commands'] += [_benchmark(clock, out), _export(clock, out)]
  for recipe, share in (('10_epochs', 0.4), ('24_epochs', 1.0)):
    found['commands'].append(_repeat(clock, out, recipe, share))
  return 0 if _write(out, found) else 1


def _setup() -> dict[str, Any]:
  """Describes the machine in another process: TensorFlow would hold the GPU."""
  code = (
    'import json; from official_ext.machine import description; '
    'print(json.dumps(description.describe()))'
  )
  command = [sys.executable, '-c', code]
  return json.loads(subprocess.check_output(command).splitlines()[-1])


def _cache(out: pathlib.Path, name: str) -> dict[str, str]:
  """Returns what has compiled programs kept in a folder of that name."""
  return {'XDG_CACHE_HOME': str(out / 'cache' / name)}


def _bindings() -> list[str]:
  lines = [f"data.data_dir='{FLAGS.data_dir}'", *FLAGS.gin_params]
  return [f'--gin_params={line}' for line in lines]


def _train_twice(clock: Clock, out: pathlib.Path) -> dict[str, Any]:
  """Trains two epochs twice, and compares all that is saved, bit by bit."""
  from official_ext.checkpoints import folder

  short = (
    'run.epochs=2',
    'triangular.peak_epoch=1',
    'run.deterministic=True',
  )
  ends, digests = [], []
  for number in range(2):
    run = out / 'runs' / f'deterministic{number}'
    ends.append(
      clock.run(
        run.name,
        'official_ext.train',
        f'--gin_file={RECIPES["24_epochs"]}',
        *_bindings(),
        *(f'--gin_params={line}' for line in short),
        f'--model_dir={run}',
        # So that the second one chooses its programs anew.
        environment=_cache(out, run.name),
      )
    )
    digests.append(folder.digests(str(run)))
  return {
    'commands': ends,
    'tensors': len(digests[0]),
    'equal': bool(digests[0]) and digests[0] == digests[1],
  }


def _train(
  clock: Clock, out: pathlib.Path, recipe: str, cached: str
) -> dict[str, Any]:
  """Trains a recipe, and returns what it took and what came out."""
  from official_ext.progress import epoch_table

  run = out / 'runs' / f'{recipe}_{cached}'
  ended = clock.run(
    run.name,
    'official_ext.train',
    f'--gin_file={RECIPES[recipe]}',
    *_bindings(),
    f'--model_dir={run}',
    environment=_cache(out, recipe),
  )
  rows = epoch_table.read(run / epoch_table.FILE_NAME)
  return {
    'recipe': recipe,
    'cached': cached,
    **ended,
    'compile_seconds': sum(row['compile_seconds'] for row in rows),
    'train_seconds': sum(row['train_seconds'] for row in rows),
    'test_seconds': sum(row['test_seconds'] for row in rows),
    'epochs': rows,
  }


def _benchmark(clock: Clock, out: pathlib.Path) -> dict[str, Any]:
  has_pytorch = importlib.util.find_spec('torch') is not None
  return clock.run(
    'benchmark',
    'studies.benchmark' if has_pytorch else 'official_ext.benchmark',
    f'--gin_file={RECIPES["24_epochs"]}',
    *_bindings(),
    '--rounds=3',
    '--seconds=1',
    f'--json={out / "records" / "gpu_benchmark" / "benchmark.json"}',
    share=0.3,
  )


def _export(clock: Clock, out: pathlib.Path) -> dict[str, Any]:
  return clock.run(
    'export',
    'official_ext.export',
    f'--model_dir={out / "runs" / "10_epochs_warm"}',
    f'--export_dir={out / "exported"}',
    share=0.3,
  )


def _repeat(
  clock: Clock, out: pathlib.Path, recipe: str, share: float
) -> dict[str, Any]:
  return clock.run(
    f'repeat_{recipe}',
    'official_ext.repeat',
    f'--gin_file={RECIPES[recipe]}',
    *_bindings(),
    f'--seeds={_SEEDS}',
    f'--records_dir={out / "records" / f"gpu_{recipe}"}',
    f'--runs_dir={out / "runs"}',
    share=share,
    environment=_cache(out, recipe),
  )


def _write(out: pathlib.Path, found: dict[str, Any]) -> bool:
  """Writes what was found so far; returns whether all of it is well."""
  text = json.dumps(found, indent=2, ensure_ascii=False)
  text = re.sub(r'\{\s+"epoch": [^}]+\}', _in_a_line, text)
  path = out / 'records' / 'gpu_check' / 'check.json'
  path.write_text(text + '\n')
  ended = [*found['trainings'], *found['commands']]
  # `repeat` is stopped when the time is over.
  well = all(
    end['status'] == 0 or 'official_ext.repeat' in end['command']
    for end in ended
  )
  return well and found['deterministic']['equal']


def _in_a_line(match: re.Match[str]) -> str:
  return ' '.join(match[0].split())


if __name__ == '__main__':
  define_flags()
  cli.run(main)
