"""Files and folders that systems keep for themselves among the user's own."""

import pathlib

# In small letters: Windows and macOS do not tell them from capitals.
_NAMES = frozenset(
  {
    # Windows.
    'thumbs.db',
    'ehthumbs.db',
    'ehthumbs_vista.db',
    'desktop.ini',
    '$recycle.bin',
    'system volume information',
    # macOS, and what it puts into a zip file.
    'icon\r',
    '__macosx',
    # Linux, and network drives of Synology.
    'lost+found',
    '@eadir',
  }
)


def is_hidden(path: pathlib.PurePath) -> bool:
  """Whether a file is a system's, or lies in a folder that is.

  A name that begins with a dot is: `.thumbnails`, `._x.png`.

  Args:
    path: As seen from the folder that the user named, which may itself lie
      anywhere.
  """
  return any(
    part.startswith('.') or part.lower() in _NAMES for part in path.parts
  )
