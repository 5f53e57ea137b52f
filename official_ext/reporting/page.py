"""Fills the page's template."""

from typing import Any

import jinja2

_TEMPLATE = 'report.html.j2'


def render(content: dict[str, Any]) -> str:
  """Returns one HTML page that needs no other file.

  Args:
    content: What `content.gather` returned; all text in it is escaped.
  """
  environment = jinja2.Environment(
    loader=jinja2.PackageLoader('official_ext.reporting'),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  return environment.get_template(_TEMPLATE).render(content)
