"""What gin's text of a training says, wherever it was made."""

import ast
import hashlib
import pathlib
import re

from official_ext.errors import UserError

# What gin's text has of places on one machine; a long value goes on in the next
# line.
_COMMENT = re.compile(r'^#.*\n?', re.MULTILINE)
_DATA_DIR = re.compile(r'^\w+\.data_dir = .*(?:\n[ \t].*)*\n?', re.MULTILINE)
_CHECKPOINT = re.compile(r'(?<=\.init_checkpoint = ).*(?:\n[ \t].*)*')
_SEED = re.compile(r'^resnet9_cifar10\.seed = .*\n?', re.MULTILINE)
_BINDING = re.compile(r'^\S+ = .*(?:\n[ \t].*)*', re.MULTILINE)
_BREAK = re.compile(r'(\s*\\)?\n\s*')
_PRECISION = re.compile(r"\.precision = '(\w+)'")


def of(gin_text: str) -> str:
  """Returns gin's text without comments and without places on a machine.

  A checkpoint's place is told from another's by a digest of it.
  """
  text = _DATA_DIR.sub('', _COMMENT.sub('', gin_text))
  return _CHECKPOINT.sub(_digest, text).strip()


def _digest(place: re.Match[str]) -> str:
  value = ast.literal_eval(place[0].replace('\\\n', '').strip())
  digest = hashlib.sha256(repr(value).encode())
  return f"'{digest.hexdigest()[:16]}'"


def without_seed(text: str) -> str:
  """Returns the settings that runs of one variant have in common."""
  return _SEED.sub('', text).strip()


def brought(text: str, base: str) -> list[str]:
  """Returns what a change sets, apart from the seed, in the order of names.

  Args:
    text: Settings with the change.
    base: Settings without it.

  Returns:
    A line for each, such as `momentum = 0.5`; of another configurable than
    `resnet9_cifar10`, with its name.
  """
  before = bindings(base)
  return [
    line.removeprefix('resnet9_cifar10.')
    for line in bindings(without_seed(text))
    if line not in before
  ]


def lacked(text: str, base: str) -> list[str]:
  """Returns what the base binds and its change does not.

  A change that is put on top of the base may bind anew, but not unbind.
  """
  names = {_name(line) for line in bindings(text)}
  return [
    line for line in bindings(without_seed(base)) if _name(line) not in names
  ]


def bindings(text: str) -> list[str]:
  """Returns a line for each binding, however many it has in the text."""
  return [_BREAK.sub(' ', binding) for binding in _BINDING.findall(text)]


def _name(binding: str) -> str:
  return binding.partition(' = ')[0]


def asked_precision(gin_text: str) -> str:
  """Returns the precision that gin binds; 'auto' where it binds none."""
  found = _PRECISION.search(gin_text)
  return found[1] if found else 'auto'


def check_same(
  asked: str, there: str, place: pathlib.Path | str, mend: str
) -> None:
  """Raises where a name stands for two trainings.

  Args:
    asked: Settings, as they ought to be.
    there: Settings, as they are.
    place: Where the latter are.
    mend: What to do.

  Raises:
    UserError: If they differ; it names a line that does, and how many more
      settings do.
  """
  if asked == there:
    return
  ours, theirs = asked.splitlines(), there.splitlines()
  added = [f'without {a.strip()!r}' for a in ours if a not in theirs]
  left_out = [f'with {a.strip()!r}' for a in theirs if a not in ours]
  line, *_ = *added, *left_out, 'the same lines in another order'
  differing = set(bindings(asked)).symmetric_difference(bindings(there))
  others = len(set(map(_name, differing))) - 1
  more = f' and {others} more' if others > 0 else ''
  raise UserError(
    f'{place} is of a training with other settings: {line}{more}; {mend}.'
  )
