"""Flags of the command line, for tests that have none.

As for the command, all that registers itself is there.
"""

import dataclasses

from official_ext import registry_imports  # noqa: F401


@dataclasses.dataclass
class Flags:
  """Garden's flags, as far as the parser reads them."""

  experiment: str = 'small_images'
  config_file: list[str] = dataclasses.field(default_factory=list)
  params_override: str = ''
  tpu: str = ''
  tf_data_service: str = ''

  def __contains__(self, name):
    return hasattr(self, name)
