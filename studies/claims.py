"""Checks what README.md and docs claim against the records.

Usage, in the checkout::

  python -m studies.claims

Each claim is an entry of `claims.yaml`: its name, the sentence or the part of
one that `says` it, and what it `needs`, each with its `kind`, a function of
`studies/evidence.py`, and what that takes: records, how many runs were fixed
beforehand, a bound. In a page it stands between `<!-- claim: NAME -->` and
`<!-- end claim -->`, where `studies.tables` writes it with its figures. The
exit status is 1 if the records do not carry a claim.
"""

import dataclasses
import functools
import inspect
import pathlib
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from official_ext.command_line import cli
from official_ext.errors import RunError, UserError

FILE = pathlib.Path('claims.yaml')

_MARKED = re.compile(
  r'(?P<begin><!-- claim: (?P<name>\w+) -->)'
  r'(?P<text>.*?)'
  r'(?P<end><!-- end claim -->)',
  re.DOTALL,
)

# In an item of a list or a quote, too.
_AT_BEGIN = re.compile(
  r'^[ >]*(?:[-*+] +|\d+[.)] +)?(<!-- (?:end )?claim\b[^>]*>)', re.MULTILINE
)


@dataclasses.dataclass(frozen=True)
class Claim:
  """A sentence of a page, and what is to carry it.

  Attributes:
    name: Of the entry.
    says: The sentence, or a part of it; in it `{points}` and other figures,
      those of the first need.
    needs: Names of functions of `evidence`, and what they take.
  """

  name: str
  says: str
  needs: Sequence[tuple[str, Mapping[str, Any]]]

  def findings(self) -> list[Any]:
    """Returns what the records say, for each need a finding.

    Raises:
      UserError: If the records are others than the claim tells of.
    """
    from studies import evidence

    try:
      return [evidence.KINDS[kind](**taken) for kind, taken in self.needs]
    except UserError as error:
      raise UserError(f'{FILE}: {self.name}: {error}') from error

  def sentence(self) -> str:
    """Returns what it says, with its figures.

    Raises:
      UserError: If the records do not carry it, or lack a figure.
    """
    found = self.findings()
    for finding in found:
      if not finding.holds:
        raise UserError(
          f'{FILE}: {self.name} does not hold ({finding.told}); train what '
          'decides it, or say less.'
        )
    try:
      return self.says.format(**found[0].figures)
    except (KeyError, ValueError, IndexError):
      raise UserError(
        f'{FILE}: {self.name}: says has a figure that its first need does not '
        f'give; that gives {", ".join(found[0].figures)}.'
      ) from None


def read(path: pathlib.Path = FILE) -> dict[str, Claim]:
  """Returns the claims by name.

  Raises:
    UserError: If the file is no such list, or a claim has a mistake in it.
  """
  from official_ext.files import safe_yaml

  try:
    entries = safe_yaml.load(path.read_text())
  except yaml.YAMLError as error:
    raise UserError(f'{path} is no YAML: {error}; mend it.') from error
  if not isinstance(entries, dict):
    raise UserError(f'{path} is no mapping of names to claims; mend it.')
  return {
    name: _claim(f'{path}: {name}', name, entry)
    for name, entry in entries.items()
  }


def _claim(place: str, name: str, entry: Any) -> Claim:
  if not isinstance(entry, dict) or entry.keys() != {'says', 'needs'}:
    raise UserError(f'{place} is to have says and needs, and nothing else.')
  if not entry['needs']:
    raise UserError(f'{place} needs nothing; name the records that carry it.')
  if not isinstance(entry['says'], str):
    raise UserError(f'{place}: says={entry["says"]!r} is no text; quote it.')
  if not all(isinstance(need, dict) for need in entry['needs']):
    raise UserError(
      f'{place}: needs is to be a list of mappings, each with its kind.'
    )
  needs = [_need(place, **need) for need in entry['needs']]
  return Claim(name, ' '.join(entry['says'].split()), needs)


def _need(
  place: str, kind: str = '', **taken: Any
) -> tuple[str, Mapping[str, Any]]:
  from studies import evidence

  if kind not in evidence.KINDS:
    raise UserError(
      f'{place}: there is no kind {kind!r}; there are '
      f'{", ".join(evidence.KINDS)}.'
    )
  try:
    inspect.signature(evidence.KINDS[kind]).bind(**taken)
  except TypeError as error:
    raise UserError(f'{place}: {kind}: {error}.') from error
  return kind, taken


def fill(text: str, page: str, claims: Mapping[str, Claim]) -> str:
  """Returns the text with each claim's sentence written anew.

  Where its words are the same, its lines stay as they are broken; else it is
  put on one line.

  Args:
    text: Markdown.
    page: The file's name, for messages.
    claims: By name.

  Raises:
    UserError: If a mark has a mistake in it, there is no such claim, or it does
      not hold.
  """
  if text.count('<!-- claim:') != len(_MARKED.findall(text)):
    raise UserError(
      f'{page}: a claim has no <!-- end claim -->, or begins otherwise than '
      'with <!-- claim: NAME -->; mend its mark.'
    )
  if at_begin := _AT_BEGIN.search(text):
    raise UserError(
      f'{page}: {at_begin[1]} begins a line, which Markdown takes for a block '
      'of HTML; put a word before it.'
    )
  return _MARKED.sub(functools.partial(_written, page, claims), text)


def _written(
  page: str, claims: Mapping[str, Claim], match: re.Match[str]
) -> str:
  name = match['name']
  if name not in claims:
    raise UserError(f'{page}: {FILE} has no claim {name}; add it.')
  sentence = claims[name].sentence()
  if sentence.split() == match['text'].split():
    return match[0]
  return match['begin'] + sentence + match['end']


def names_in(text: str) -> list[str]:
  """Returns the names of the claims that a page makes."""
  return [match['name'] for match in _MARKED.finditer(text)]


def main() -> None:
  """Prints what the records say for each claim."""
  if not FILE.exists():
    raise UserError(f'{FILE} is not here; run this in the checkout.')
  failed: list[str] = []
  for name, claim in read().items():
    try:
      found = claim.findings()
    except UserError as error:
      print(f'FAILS  {error}')
      failed.append(name)
      continue
    for finding in found:
      print(f'{"holds" if finding.holds else "FAILS"}  {name}: {finding.told}')
      if not finding.holds and name not in failed:
        failed.append(name)
  sys.stdout.flush()
  if failed:
    raise RunError(
      f'the records do not carry {", ".join(failed)}; train what decides it, '
      'or say less.'
    )


if __name__ == '__main__':
  cli.define_flags()
  cli.run(main)
