"""Markdown's tables."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """Returns a table, its lines ended; bars in its cells are escaped."""
  lines = [head, ['---'] * len(head), *rows]
  return ''.join(f'| {" | ".join(map(_cell, line))} |\n' for line in lines)


def _cell(text: str) -> str:
  return text.replace('|', r'\|')
