"""What was taken to the test images, and why: a file that only grows.

Who chooses among recipes by their test accuracy finds the luckiest. So what was
chosen elsewhere, as by `--dev`, is registered before it is trained, once, and
stays registered however it ends. Each line holds a digest of the one before it:
a line that is changed, or gone, shows.
"""

import dataclasses
import datetime
import fcntl
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from official_ext.errors import UserError
from official_ext.repeats import settings

FILE_NAME = 'registry.jsonl'


@dataclasses.dataclass(frozen=True)
class Entry:
  """A candidate.

  Attributes:
    date: When it was registered, in ISO 8601, UTC.
    variant: The name of what is trained.
    digest: Of its settings, whatever the seed.
    seeds: All that it is trained with.
    test_data: Name and split of what it is evaluated on.
    purpose: Why it is taken there.
    previous: Digest of the line before; '' of the first.
  """

  date: str
  variant: str
  digest: str
  seeds: list[int]
  test_data: str
  purpose: str
  previous: str

  def told(self) -> str:
    """Returns when it was registered, with which seeds and why."""
    seeds = ', '.join(map(str, self.seeds))
    return f'{self.date} with seeds {seeds} ({self.purpose})'


def read(folder: pathlib.Path) -> list[Entry]:
  """Returns the entries of a folder of records; none without a registry.

  Raises:
    UserError: If a line was changed, or is gone.
  """
  path = folder / FILE_NAME
  if not path.exists():
    return []
  entries, previous = [], ''
  for number, line in enumerate(path.read_text().splitlines(), start=1):
    try:
      entry = Entry(**json.loads(line))
    except (ValueError, TypeError):
      entry = None
    if entry is None or entry.previous != previous:
      raise UserError(
        f'{path}, line {number}: it is not as it was registered, or a line '
        'before it is not; restore the file.'
      )
    entries.append(entry)
    previous = _digest(line)
  return entries


def register(
  folder: pathlib.Path,
  asked: Mapping[str, settings.Settings],
  seeds: Sequence[int],
  purpose: str | None,
) -> None:
  """Registers what is yet to be; the same command finds its own entries.

  Args:
    folder: That of the records.
    asked: Settings by variant.
    seeds: Of all of them.
    purpose: Why they are taken to the test images; None where all of them are
      registered.

  Raises:
    UserError: If one was registered before with other seeds or for another
      purpose, or is not and there is no purpose.
  """
  if purpose is None:
    _unregistered(folder, asked, seeds, None)
    return
  folder.mkdir(parents=True, exist_ok=True)
  # Another command may register at this moment.
  with (folder / FILE_NAME).open('a+') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    new = _unregistered(folder, asked, seeds, purpose)
    file.seek(0)
    lines = file.read().splitlines()
    for variant in new:
      lines.append(_line(variant, asked[variant], seeds, purpose, lines))
      file.write(lines[-1] + '\n')
    file.flush()
    os.fsync(file.fileno())


def _unregistered(
  folder: pathlib.Path,
  asked: Mapping[str, settings.Settings],
  seeds: Sequence[int],
  purpose: str | None,
) -> list[str]:
  """Returns the variants that are new; raises as `register` does."""
  there, new = read(folder), []
  for variant, each in asked.items():
    digest = settings.digest(each)
    found = [entry for entry in there if entry.digest == digest]
    if not found and purpose is None:
      raise UserError(
        f'{folder} has a registry, and {variant} is not in it; say why it is '
        'taken to the test images (--purpose), or name another --records_dir.'
      )
    if not found:
      new.append(variant)
    elif not _goes_on(found[-1], seeds, purpose):
      raise UserError(
        f'{variant} was taken to {found[-1].test_data} on {found[-1].told()}; '
        'a candidate is taken there once: give the same seeds and purpose, or '
        'choose among candidates by --dev.'
      )
  return new


def _goes_on(entry: Entry, seeds: Sequence[int], purpose: str | None) -> bool:
  """Whether the same is asked for again, or a part of it."""
  return {*seeds} <= {*entry.seeds} and purpose in (None, entry.purpose)


def _line(
  variant: str,
  asked: settings.Settings,
  seeds: Sequence[int],
  purpose: str,
  before: Sequence[str],
) -> str:
  data: dict[str, Any] = asked['task']['validation_data']
  entry = Entry(
    datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
    variant,
    settings.digest(asked),
    sorted(seeds),
    f'{data["tfds_name"]} {data["tfds_split"]}',
    purpose,
    _digest(before[-1]) if before else '',
  )
  return json.dumps(dataclasses.asdict(entry))


def _digest(line: str) -> str:
  return hashlib.sha256(line.encode()).hexdigest()
