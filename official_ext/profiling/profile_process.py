"""Profiles a step in a process that runs one operation at a time.

Where several run at a time, each takes longer, and their times say little.
"""

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence

from absl import flags

from official_ext.errors import RunError

FLAGS = flags.FLAGS


def run(arguments: Sequence[str], steps: int) -> list[dict[str, float]]:
  """Returns what `step_profile.profile` does.

  Args:
    arguments: Flags that choose the experiment, whose data is prepared.
    steps: How many.

  Raises:
    RunError: If the process fails.
  """
  command = [sys.executable, '-m', __name__, *arguments, f'--steps={steps}']
  ended = subprocess.run(command, capture_output=True, text=True, check=False)
  if ended.returncode:
    lines = ended.stderr.strip().split('\n')
    raise RunError(f'{shlex.join(command)} failed: {lines[-1]}')
  return json.loads(ended.stdout.splitlines()[-1])


def main() -> None:
  """Prints the profile as a line of JSON."""
  import tensorflow as tf

  tf.config.threading.set_inter_op_parallelism_threads(1)
  from official_ext import registry_imports  # noqa: F401
  from official_ext.configuration import experiment, gin_config
  from official_ext.machine import devices
  from official_ext.profiling import bare_step, step_profile

  gin_config.parse(FLAGS.gin_file or [], FLAGS.gin_params or [])
  asked = experiment.parse(FLAGS)
  strategy = devices.set_up(asked.params.runtime)
  step = bare_step.build(asked, strategy.num_replicas_in_sync)
  for _ in range(2):  # The first one compiles.
    step.run()
  print(json.dumps(step_profile.profile(step.run, FLAGS.steps)))


if __name__ == '__main__':
  from official_ext.command_line import cli

  cli.define_experiment_flags()
  flags.DEFINE_integer('steps', 1, 'How many.')
  cli.run(main)
