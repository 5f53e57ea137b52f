"""Flags of the command line, for tests that have none.

As for the command, all that registers itself is there.
"""

from official_ext import registry_imports  # noqa: F401
from official_ext.configuration.flags import Flags

__all__ = ['Flags']
