"""Trainings that follow one another in this process."""

from collections.abc import Sequence

from official_ext.configuration import experiment, gin_config
from official_ext.configuration.flags import Flags
from official_ext.errors import Stopped
from official_ext.machine import stopping
from official_ext.repeats import records
from official_ext.repeats.plan import Run, Study
from official_ext.training import session
from official_ext.training.shared import Shared


def train(study: Study, runs: Sequence[Run], names: Sequence[str]) -> None:
  """Trains, or goes on with what was stopped, and writes a record of each.

  Runs of the same settings with several seeds compile what they compute once.

  Args:
    study: What they have in common.
    runs: All that are asked for.
    names: Of those to train here, on the same devices in the same precision.

  Raises:
    UserError: If one cannot be trained; the others are not tried.
    RunError: If one fails.
    Stopped: If a signal asked for it.
  """
  stopping.end_with_parent()
  shared = Shared()
  here = [run for run in runs if run.name in names]
  for run in here:
    print(f'{run.told(runs)} in {run.model_dir}', flush=True)
    late_signal = _train(study, run, shared)
    record = records.make(run.model_dir, run.variant, study.recipe)
    records.write(run.record, record)
    if late_signal and run is not here[-1]:
      raise Stopped(f'Stopped after {run.name}.', late_signal)


def _train(study: Study, run: Run, shared: Shared) -> int | None:
  gin_config.parse(study.files(run), study.all_bindings(run))
  asked = experiment.parse(Flags(), shared.store)
  return session.run(
    asked, 'train_and_eval', str(run.model_dir), study.arguments(run), shared
  )
