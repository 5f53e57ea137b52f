"""Where the moving average of the weights lies: beside them, or as them."""

import pathlib
from typing import Any

from official.core import train_utils

from official_ext.errors import UserError

# Where a config has it, or what else is evaluated instead of the weights, and
# what that is called.
PLACES = {
  'trainer.optimizer_config.ema': 'moving average',
  'trainer.optimizer_config.lookahead': 'slow weights',
}
# Of Garden's `BestCheckpointExporter`.
BEST_RECORD = 'info.json'


def is_best(folder: str | pathlib.Path) -> bool:
  """Whether it is a folder in which Garden's exporter keeps the best."""
  folder = pathlib.Path(folder)
  files = folder.glob(f'{train_utils.BEST_CHECKPOINT_NAME}-*.index')
  return (folder / BEST_RECORD).exists() or any(files)


def run_of(folder: str | pathlib.Path) -> pathlib.Path:
  """Returns a run's folder: this one, or that whose best is in it."""
  path = pathlib.Path(folder).resolve()
  return path.parent if is_best(folder) else path


def is_beside(folder: str | pathlib.Path, average: Any) -> bool:
  """Whether a folder's checkpoints hold weights beside their average.

  A run keeps its average in the optimizer. But its best checkpoint is written
  while the average is evaluated, and there the average is the weights.

  Args:
    folder: That of a run, or one of best checkpoints in it.
    average: The run's config of a moving average; None for none.
  """
  return bool(average) and not is_best(folder)


def check_not_best(model_dir: str, trains: bool, average: Any) -> None:
  """Raises where a best checkpoint would be lost, or be taken for another.

  A run saves its own checkpoints in its folder, and removes what was there. And
  where it averages, the best checkpoint has the average for weights.

  Args:
    model_dir: The folder of a run.
    trains: Whether it is to be trained in.
    average: The config of a moving average; None for none.

  Raises:
    UserError: If it is a folder of best checkpoints.
  """
  if is_best(model_dir) and (trains or average):
    raise UserError(
      f'--model_dir={model_dir} holds the best checkpoint of the run in '
      f'{run_of(model_dir)}; name that, or begin another run with this as '
      'task.init_checkpoint.'
    )
