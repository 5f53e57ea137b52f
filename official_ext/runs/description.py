"""What a run writes down of itself before it trains."""

import json
import pathlib
import shlex
import textwrap
from collections.abc import Sequence

from official.core import config_definitions as cfg

from official_ext.configuration import without_effect
from official_ext.dataloaders.data_sets import DataSets
from official_ext.files import safe_yaml, whole
from official_ext.machine import description as machine
from official_ext.runs import data_record

CLASS_NAMES = 'class_names.txt'
GIN = 'requested.gin'
PARAMS = 'params.yaml'

_COMMAND = ['python', '-m', 'official_ext.train']


def write(
  params: cfg.ExperimentConfig,
  model_dir: str,
  data: DataSets | None,
  arguments: Sequence[str],
) -> None:
  """Writes what was asked for: config, gin text, versions, data.

  `versions.json` is what `machine.description.describe` returns. Where the run
  is used, the data set may be gone, or be another under the same name, so there
  are the names of the classes in `class_names.txt`, one a line, and in
  `data.json` what `data_record` tells of the images; neither where a task of
  Garden reads its own.

  A file of an earlier start that says something else is kept beside the new one
  under a number.

  Raises:
    OSError: If the folder cannot be written to.
    UserError: If the images cannot be read.
  """
  command = f'{shlex.join([*_COMMAND, *arguments])}\n'
  comment = textwrap.indent(command, '# ', predicate=lambda _: True)
  texts = {
    # Garden's own writer puts Python's tuples in, which only PyYAML reads.
    PARAMS: safe_yaml.dump(params.as_dict()),
    GIN: comment + without_effect.effective_text(),
    'versions.json': json.dumps(machine.describe(), indent=2) + '\n',
  }
  if data:
    names = data.train.info.class_names
    texts[CLASS_NAMES] = ''.join(f'{name}\n' for name in names)
    texts[data_record.FILE] = data_record.text(data_record.of(data))
  for name, text in texts.items():
    whole.write_anew(pathlib.Path(model_dir) / name, text)


def arguments(folder: pathlib.Path) -> list[str]:
  """Returns those of the command that a run was begun with, if they are there.

  They stand at the head of its gin text.
  """
  file, command = folder / GIN, ''
  text = file.read_text(encoding='utf-8') if file.is_file() else ''
  for line in text.splitlines():
    command += line.removeprefix('# ')
    try:
      words = shlex.split(command)
    except ValueError:  # An argument has several lines.
      command += '\n'
      continue
    return words[len(_COMMAND) :] if words[: len(_COMMAND)] == _COMMAND else []
  return []


def class_names(folder: pathlib.Path) -> list[str]:
  """Returns the names of a run's classes; none if they are not there."""
  file = folder / CLASS_NAMES
  return file.read_text(encoding='utf-8').splitlines() if file.is_file() else []
