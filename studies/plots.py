"""The plots of the pages: SVG files that carry the figures drawn in them."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Callable
from typing import Any

from studies import accuracy_plot, cost_plot

# As JSON has them.
Figures = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Plot:
  """A plot of a page.

  Attributes:
    path: Of the file, in the checkout.
    figures: Returns what to draw, of the folder of all records; empty where
      there are no records to draw.
    draw: Draws them into `matplotlib.axes.Axes`.
    size: Width and height in inches.
  """

  path: pathlib.Path
  figures: Callable[[pathlib.Path], Figures]
  draw: Callable[[Figures, Any], None]
  size: tuple[float, float]


ALL = (
  Plot(
    pathlib.Path('docs') / 'accuracy_by_epoch.svg',
    accuracy_plot.curves,
    accuracy_plot.draw,
    (8, 4),
  ),
  Plot(
    pathlib.Path('docs') / 'causes.svg', cost_plot.costs, cost_plot.draw, (8, 4)
  ),
)


def write(plot: Plot, figures: Figures, path: pathlib.Path) -> None:
  """Draws a plot into a file, or removes that where nothing is to be drawn.

  The figures drawn are part of the file, where `read` finds them.
  """
  import matplotlib
  from matplotlib import figure

  if not figures:
    path.unlink(missing_ok=True)
    return
  fig = figure.Figure(figsize=plot.size, layout='constrained')
  plot.draw(figures, fig.subplots())
  path.parent.mkdir(exist_ok=True)
  metadata = {'Date': None, 'Description': json.dumps(figures)}
  # The same figures give the same file.
  with matplotlib.rc_context({'svg.hashsalt': plot.path.stem}):
    fig.savefig(path, metadata=metadata)


def read(path: pathlib.Path) -> Figures:
  """Returns what is drawn in a file; nothing if it is not there."""
  if not path.exists():
    return {}
  text = re.search(
    r'<dc:description>(.*?)</dc:description>', path.read_text(), re.DOTALL
  )
  return json.loads(text[1].replace('&quot;', '"')) if text else {}
