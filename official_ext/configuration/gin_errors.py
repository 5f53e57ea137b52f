"""Tells an error that gin raises in one line, with its place and its mend."""

import difflib
import inspect
import re
import tokenize

import gin

from official_ext.errors import UserError, one_line

# What other languages, and YAML, have for values of Python.
_OF_PYTHON = {'true': 'True', 'false': 'False', 'none': 'None', 'null': 'None'}


def told(error: Exception) -> UserError:
  """Returns the same error for a user.

  Args:
    error: What gin has raised; one of this package's own, to which gin has
      added the file and the line, is among them.
  """
  if isinstance(error, UserError):
    return UserError(f'{_place(error)}{str(error).splitlines()[0]}')
  if isinstance(error, ImportError):
    return UserError(
      f'{_place(error)}{str(error).splitlines()[0]}; put its folder into '
      'PYTHONPATH.'
    )
  if isinstance(error, tokenize.TokenError):
    return UserError(f'gin: {error.args[0]} (command line); mend it.')
  if isinstance(error, SyntaxError) and _no_value(error):
    return UserError(_no_value(error))
  return UserError(f'gin: {one_line(error)}{_suggestion(error)}')


def _place(error: Exception) -> str:
  """Returns file and line, with a colon, where gin has added them."""
  found = re.search(r'\n  In file "(.*)", line (\d+)', str(error))
  return f'{found[1]}, line {found[2]}: ' if found else ''


def _no_value(error: SyntaxError) -> str:
  """Returns what is wrong with a value; '' where something else is."""
  token = re.search(r"Failed to parse token '(.*)'$", error.msg)
  if not token and error.msg != 'Unable to parse value.':
    return ''
  place = f'{error.filename}, line {error.lineno}'
  place = place if error.filename else 'command line'
  line = f'gin: {(error.text or "").strip()} ({place})'
  if not token:
    return f'{line} has no value that can be read; text stands in quotes.'
  if token[1].lower() in _OF_PYTHON:
    return f'{line}: write {_OF_PYTHON[token[1].lower()]} for {token[1]}.'
  return f"{line}: {token[1]} is no value; did you mean '{token[1]}'?"


def _suggestion(error: Exception) -> str:
  """Names the parameter that was most likely meant."""
  words = str(error).split("'")
  if "doesn't have a parameter named" not in str(error) or len(words) < 5:
    return ''
  configurable, wrong = words[1], words[4]
  known = inspect.signature(gin.get_configurable(configurable)).parameters
  close = difflib.get_close_matches(wrong, known, n=1)
  if close:
    return f' Did you mean {configurable}.{close[0]}?'
  return f' It has {", ".join(known)}.'
