"""A session: from what is asked for to what came out.

Each phase hands the next one what it made::

  request → team (devices and workers) → start (a trainer at its step) → loop
  → rows of the table

Several sessions of a process can share what the first one made.
"""

import contextlib
from collections.abc import Sequence
from typing import Any

from official_ext.checkpoints import average, compatibility
from official_ext.checkpoints.folder import Checkpoints
from official_ext.configuration.experiment import Experiment
from official_ext.errors import Stopped
from official_ext.progress import epoch_table
from official_ext.runs import run_dir
from official_ext.schema.fields import Tie
from official_ext.training import loop, messages
from official_ext.training import request as requests
from official_ext.training import start as starts
from official_ext.training import team as teams
from official_ext.training.request import Request
from official_ext.training.shared import Shared
from official_ext.training.start import Start
from official_ext.training.team import Team


def run(
  experiment: Experiment,
  mode: str,
  model_dir: str,
  arguments: Sequence[str] | None = None,
  shared: Shared | None = None,
) -> int | None:
  """Trains or evaluates, and prints what a person wants to know.

  Of several workers, the chief alone does so.

  Args:
    experiment: The config and the data.
    mode: One of `request.MODES`.
    model_dir: The run's folder; read and written by the chief alone.
    arguments: Those of `official_ext.train` that ask for the same; by default
      those of the command.
    shared: What runs before in this process have made; begun with nothing, it
      keeps what this one makes.

  Returns:
    The number of a signal that came too late to end it; None without one.

  Raises:
    UserError: If the folder or the data do not fit the experiment, or another
      process trains in the folder.
    RunError: If training began and cannot go on, or another worker is lost.
    Stopped: If a signal asked for it. All is saved.
  """
  request = requests.checked(experiment, mode, model_dir, arguments)
  team = teams.gathered(request, shared or Shared())
  messages.say_devices(team)
  with teams.at_work(team) as here:
    late_signal = _run(here)
  messages.say_done(team)
  return late_signal


def _run(team: Team) -> int | None:
  """Goes through all phases that come after the devices."""
  request = team.request
  average.check_not_best(request.model_dir, request.trains, request.average)
  with contextlib.ExitStack() as to_the_end:
    # Gone again if a mistake of the user shows up before the loop.
    with contextlib.ExitStack() as until_the_loop:
      if request.trains:
        until_the_loop.enter_context(run_dir.created(request.model_dir))
        to_the_end.enter_context(run_dir.held(request.model_dir))
      there = team.checkpoints()
      _check(request, there)
      step = _finished_at(request, there)
      if step is None:
        if request.data:
          request.data.begin_loading()
        _check_images(request, there)
        messages.warn_of_cpu(team)
        start = starts.at_its_step(team, there)
        if request.trains:
          to_the_end.enter_context(start.stop.on_signals())
          starts.make_ready(start)
    messages.say_data(request)
    if step is None:
      messages.say_where(request, start.step)
      rows = _through_the_loop(start)
      start.stop.agree()  # The last of them may have come since the last step.
    else:
      messages.say_where(request, step)
      rows = epoch_table.say_finished(request.model_dir, step)
  messages.say_result(request, rows, start.step if step is None else None)
  return start.stop.signal if step is None else None


def _check(request: Request, there: Checkpoints) -> None:
  """Raises where a run would go on, or be evaluated, as something else."""
  if there or not request.trains:
    compatibility.check(
      request.params,
      request.model_dir,
      Tie.RUN if request.trains else Tie.WEIGHTS,
      request.data,
    )


def _check_images(request: Request, there: Checkpoints) -> None:
  """Does the same for the images, which are read for it."""
  if request.data and (there or not request.trains):
    compatibility.check_images(request.model_dir, request.data, request.reads)


def _finished_at(request: Request, there: Checkpoints) -> int | None:
  """Returns the step of a run that has nothing left to do, else None.

  To say so takes neither data nor a model.
  """
  if request.mode not in ('train', 'train_and_eval'):
    return None
  return there.finished_at(request.last_step)


def _through_the_loop(start: Start) -> list[dict[str, Any]]:
  try:
    return loop.run(start)
  except Stopped as stopped:
    raise messages.with_how_to_go_on(stopped, start) from None
