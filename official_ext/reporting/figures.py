"""A report's pictures: figures, and what a page carries in itself."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import figure
from PIL import Image

# Beyond these, numbers and names would overlap.
_MAX_CLASSES_WITH_COUNTS = 20
_MAX_CLASSES_WITH_NAMES = 40


def curves(rows: Sequence[Mapping[str, Any]]) -> figure.Figure:
  """Draws loss, accuracy and learning rate.

  Args:
    rows: Of `epochs.jsonl`, at least one.
  """
  fig = figure.Figure(figsize=(12, 3.4), layout='constrained')
  axes = fig.subplots(1, 3)
  epochs = [row['epoch'] for row in rows]
  for axis, what in zip(axes, ('loss', 'accuracy'), strict=False):
    for split in ('train', 'test'):
      values = [row[f'{split}_{what}'] for row in rows]
      known = [np.nan if value is None else value for value in values]
      axis.plot(epochs, known, marker='.', label=split)
    axis.legend()
    axis.set_title(what)
  axes[2].plot(epochs, [row['learning_rate'] for row in rows], marker='.')
  axes[2].set_title("learning rate of the epoch's last step")
  for axis in axes:
    axis.set_xlabel('epoch')
    axis.locator_params(axis='x', integer=True)
    axis.grid(alpha=0.3)
  return fig


def confusion(counts: np.ndarray, class_names: Sequence[str]) -> figure.Figure:
  """Draws a confusion matrix.

  Args:
    counts: int `[num_classes, num_classes]`, true class × predicted class.
    class_names: One for each class.
  """
  size = len(class_names)
  fig = figure.Figure(figsize=(7.5, 6.5), layout='constrained')
  axis = fig.subplots()
  # Shades are shares of a class, so that a rare one shows too.
  shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
  image = axis.imshow(shares, cmap='Blues', vmin=0, vmax=1)
  fig.colorbar(image, label='share of the true class')
  axis.set_xlabel('predicted class')
  axis.set_ylabel('true class')
  if size <= _MAX_CLASSES_WITH_NAMES:
    axis.set_xticks(range(size), _plain(class_names), rotation=90)
    axis.set_yticks(range(size), _plain(class_names))
  if size <= _MAX_CLASSES_WITH_COUNTS:
    for (row, column), count in np.ndenumerate(counts):
      color = 'white' if shares[row, column] > 0.5 else 'black'
      axis.text(column, row, count, ha='center', va='center', color=color)
  return fig


def sheet(images: np.ndarray, columns: int) -> str:
  """Lays images out in rows; returns a data URI.

  Args:
    images: uint8 `[count, height, width, channels]`.
    columns: Images of a row, where there are as many; rows that are not full
      are left out.
  """
  columns = min(columns, len(images))
  rows = len(images) // columns
  _, height, width, channels = images.shape
  tiles = np.full(
    (rows, columns, height + 2, width + 2, channels), 255, np.uint8
  )
  tiles[:, :, 1:-1, 1:-1] = images[: rows * columns].reshape(
    rows, columns, height, width, channels
  )
  return picture(
    tiles.swapaxes(1, 2).reshape(rows * (height + 2), -1, channels)
  )


def picture(image: np.ndarray) -> str:
  """Returns uint8 `[height, width, channels]` as it is, as a data URI.

  Of other numbers of channels than 1 and 3, the first is shown.
  """
  shown = image if image.shape[-1] == 3 else image[..., 0]
  file = io.BytesIO()
  Image.fromarray(shown).save(file, 'PNG')
  return _uri(file.getvalue())


def _plain(names: Sequence[str]) -> list[str]:
  """Keeps matplotlib from reading formulas in names."""
  return [name.replace('$', r'\$') for name in names]


def uri(fig: figure.Figure) -> str:
  """Returns a figure as a data URI."""
  file = io.BytesIO()
  fig.savefig(file, format='png', dpi=110)
  return _uri(file.getvalue())


def _uri(png: bytes) -> str:
  return f'data:image/png;base64,{base64.b64encode(png).decode()}'
