"""Commands, from a process that has imported TensorFlow.

An import takes longer than most commands, so it is done once for all of them.
"""

import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Processes are forked from one that has imported TensorFlow and run nothing.
CONTEXT = multiprocessing.get_context('forkserver')
CONTEXT.set_forkserver_preload(
  ['helpers.tiny', 'official_ext.training.session']
)


def _main(module, arguments, cwd, environment, outputs):
  for descriptor, path in enumerate(outputs, start=1):
    os.dup2(os.open(path, os.O_WRONLY), descriptor)
  os.chdir(cwd)
  os.environ.update(environment)
  # Of processes that the command starts, and of `-m`.
  os.environ['PYTHONPATH'] = f'{ROOT}:{os.environ.get("PYTHONPATH", "")}'
  sys.argv = [module, *map(str, arguments)]
  runpy.run_module(module, run_name='__main__')


def start(module, *arguments, outputs, cwd=ROOT, environment=()):
  """Starts `python -m official_ext.MODULE`.

  Args:
    module: The command; with a dot in its name, all of its name.
    *arguments: Its arguments.
    outputs: New files for what it prints and for its errors.
    cwd: Its working directory.
    environment: Variables besides those of this process.

  Returns:
    The process.
  """
  module = module if '.' in module else f'official_ext.{module}'
  for path in outputs:
    path.touch()
  process = CONTEXT.Process(
    target=_main,
    args=(module, arguments, cwd, dict(environment), outputs),
  )
  process.start()
  return process


def run(module, *arguments, cwd=ROOT, environment=(), seconds=300):
  """Runs `python -m official_ext.MODULE`, as `subprocess.run` would."""
  with tempfile.TemporaryDirectory() as folder:
    outputs = [pathlib.Path(folder) / name for name in ('out', 'err')]
    process = start(
      module, *arguments, outputs=outputs, cwd=cwd, environment=environment
    )
    process.join(seconds)
    status = process.exitcode
    process.kill()
    out, err = (path.read_text() for path in outputs)
  assert status is not None, err
  return subprocess.CompletedProcess([module, *arguments], status, out, err)
