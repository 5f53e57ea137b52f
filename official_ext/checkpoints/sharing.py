"""What other workers need of the chief's folder to go on with its run."""

import os
import pathlib
from collections.abc import Mapping

from official_ext.checkpoints.average import BEST_RECORD
from official_ext.checkpoints.folder import Checkpoints


def files(there: Checkpoints) -> dict[str, bytes]:
  """Returns the newest good checkpoint and the records of best ones.

  All of it is read before: a worker that is sent a damaged one has no other.

  Args:
    there: The chief's.

  Returns:
    Contents by name in the folder; nothing if there is no checkpoint.

  Raises:
    UserError: If there are checkpoints, and none is good.
  """
  path = there.first_good(there.check)
  if path is None:
    return {}
  folder = pathlib.Path(there.model_dir)
  found = [*folder.glob(f'{os.path.basename(path)}.*')]
  found += folder.glob(f'*/{BEST_RECORD}')
  return {str(f.relative_to(folder)): f.read_bytes() for f in found}


def write(contents: Mapping[str, bytes], model_dir: str) -> None:
  """Writes what `files` returned into a worker's own folder."""
  for name, content in contents.items():
    path = pathlib.Path(model_dir) / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
