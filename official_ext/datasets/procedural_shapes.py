"""Small pictures of ten kinds of figure, drawn by code: nothing to download.

A figure of one of ten kinds lies at a random place, turned and scaled at random
and in a random colour, on a shaded background of another colour, under specks
and noise. A linear classifier on the pixels has little to hold on to; a
convolutional network learns the kinds in a minute.

Every picture is the same on every machine. Only what IEEE 754 rounds correctly
is used (sums, products, quotients, square roots), no sine and no matrix
product, and NumPy's legacy generator, whose stream is frozen
(https://numpy.org/neps/nep-0019-rng-policy.html).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

IMAGE_SIZE = 32
EXAMPLES_PER_CLASS = {'train': 500, 'test': 100}
_SEEDS = {'train': 0, 'test': 1}

# Lengths are in pixels, colours in 0 to 1. The values were chosen so that a
# small ResNet gets 95% right in a minute, and not all.
_FIGURE_RADIUS = (6.5, 12)
_FIGURE_OFFSET = 5  # of the figure's centre from the picture's
_SPECK_RADIUS = (1.2, 3)
_SPECKS = 4
_CONTRAST = 0.17  # least difference from the background in each channel
_SHADE = 0.2  # largest change of the background from the centre to an edge
_NOISE = 0.21

# Pixel centres along an axis, from the picture's centre.
_AXIS = np.arange(IMAGE_SIZE) - (IMAGE_SIZE - 1) / 2

# Unit vectors to the corners of a triangle and of a pentagon, one upon the u
# axis. They are symmetric in v, as all figures are.
_TRIANGLE = ((1, 0), (-0.5, 0.8660254), (-0.5, -0.8660254))
_PENTAGON = (
  (1, 0),
  (0.309017, 0.9510565),
  (0.309017, -0.9510565),
  (-0.809017, 0.5877853),
  (-0.809017, -0.5877853),
)


def _disk(u: np.ndarray, v: np.ndarray, radius: float) -> np.ndarray:
  return np.sqrt(u * u + v * v) - radius


def _box(
  u: np.ndarray, v: np.ndarray, half_width: float, half_height: float
) -> np.ndarray:
  return np.maximum(np.abs(u) - half_width, np.abs(v) - half_height)


def _along(
  u: np.ndarray, v: np.ndarray, directions: tuple[tuple[float, float], ...]
) -> np.ndarray:
  """Returns how far points lie in each direction, in ascending order."""
  return np.sort(np.stack([a * u + b * v for a, b in directions]), axis=0)


def _bars(u: np.ndarray) -> np.ndarray:
  return np.minimum(np.abs(u), np.abs(np.abs(u) - 0.72)) - 0.18


def _xor(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  return np.maximum(np.minimum(a, b), -np.maximum(a, b))


# Each figure is a function of points (u, v), negative inside and positive
# outside; near the edge its value is about the distance to it. It fits in a
# circle of radius about 1 and is symmetric in v.
_FIGURES = {
  'disk': lambda u, v: _disk(u, v, 0.9),
  'ring': lambda u, v: np.abs(_disk(u, v, 0.75)) - 0.2,
  'square': lambda u, v: _box(u, v, 0.8, 0.8),
  'frame': lambda u, v: np.abs(_box(u, v, 0.65, 0.65)) - 0.18,
  'triangle': lambda u, v: _along(u, v, _TRIANGLE)[-1] - 0.5,
  'cross': lambda u, v: np.minimum(_box(u, v, 1, 0.28), _box(u, v, 0.28, 1)),
  # Within at least four of the five lines that a pentagram is drawn with.
  'star': lambda u, v: _along(u, v, _PENTAGON)[-2] - 0.36,
  'crescent': lambda u, v: np.maximum(
    _disk(u, v, 0.95), -_disk(u - 0.45, v, 0.75)
  ),
  'stripes': lambda u, v: np.maximum(_box(u, v, 0.9, 0.9), _bars(u)),
  'checkerboard': lambda u, v: np.maximum(
    _box(u, v, 0.9, 0.9), _xor(np.abs(u) - 0.3, np.abs(v) - 0.3)
  ),
}
CLASS_NAMES = tuple(_FIGURES)


class Placement(NamedTuple):
  """Where figures lie: arrays `[n]`, in pixels from the picture's centre."""

  y: np.ndarray
  x: np.ndarray
  cos: np.ndarray  # of the angle by which the figure is turned
  sin: np.ndarray
  radius: np.ndarray


def coverage(name: str, placement: Placement) -> np.ndarray:
  """Returns the share of each pixel that a figure covers.

  A picture mirrored left to right is the picture of the mirrored placement,
  that is, of -x and -cos for x and cos, to the bit.

  Args:
    name: One of `CLASS_NAMES`.
    placement: Where the n figures lie.

  Returns:
    float64 `[n, 32, 32]` in 0 to 1.
  """
  center_y, center_x, cos, sin, radius = (
    value[:, np.newaxis, np.newaxis] for value in placement
  )
  y = _AXIS[:, np.newaxis] - center_y
  x = _AXIS - center_x
  u = (x * cos + y * sin) / radius
  v = (y * cos - x * sin) / radius
  return np.clip(0.5 - radius * _FIGURES[name](u, v), 0, 1)


def draw(
  name: str, count: int, random_state: np.random.RandomState
) -> np.ndarray:
  """Draws pictures; one and its mirror image are equally likely.

  Args:
    name: One of `CLASS_NAMES`.
    count: Number of pictures.
    random_state: Source of every choice.

  Returns:
    uint8 `[count, 32, 32, 3]`.
  """

  def uniform(low: float, high: float, *shape: int) -> np.ndarray:
    return random_state.random_sample((count, *shape)) * (high - low) + low

  def place(radius: tuple[float, float], offset: float) -> Placement:
    y, x, a, b = uniform(-1, 1, 4).T
    length = np.sqrt(a * a + b * b)
    return Placement(
      offset * y, offset * x, a / length, b / length, uniform(*radius)
    )

  def paint(image: np.ndarray, mask: np.ndarray, color: np.ndarray) -> Any:
    return image + (color - image) * mask[..., np.newaxis]

  background = uniform(0, 1, 1, 1, 3)
  # Each channel moves by at least the contrast, going round from 1 to 0.
  color = np.mod(background + uniform(_CONTRAST, 1 - _CONTRAST, 1, 1, 3), 1)
  image = paint(
    background, coverage(name, place(_FIGURE_RADIUS, _FIGURE_OFFSET)), color
  )
  for _ in range(_SPECKS):
    speck = coverage('disk', place(_SPECK_RADIUS, IMAGE_SIZE / 2))
    image = paint(image, speck, uniform(0, 1, 1, 1, 3))
  down, right = uniform(-_SHADE, _SHADE, 2, 1).swapaxes(0, 1)
  ramp = _AXIS / (IMAGE_SIZE / 2)
  shade = (down * ramp)[:, :, np.newaxis] + (right * ramp)[:, np.newaxis]
  noise = uniform(-_NOISE, _NOISE, IMAGE_SIZE, IMAGE_SIZE, 3)
  image = np.clip(image + shade[..., np.newaxis] + noise, 0, 1)
  return (image * 255 + 0.5).astype(np.uint8)


def generate(split: str) -> tuple[np.ndarray, np.ndarray]:
  """Draws a split, class after class.

  Args:
    split: 'train' or 'test'.

  Returns:
    Images, uint8 `[n, 32, 32, 3]`, and labels, int64 `[n]`, in 0 to 9.
  """
  count = EXAMPLES_PER_CLASS[split]
  random_state = np.random.RandomState(_SEEDS[split])
  images = [draw(name, count, random_state) for name in CLASS_NAMES]
  return np.concatenate(images), np.arange(len(CLASS_NAMES)).repeat(count)


class ProceduralShapes(tfds.core.GeneratorBasedBuilder):
  """5,000 training and 1,000 test pictures of ten kinds of figure."""

  VERSION = tfds.core.Version('1.0.0')

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=(
        'Figures of ten kinds, drawn by code at a random place, angle, size '
        'and colour, under specks and noise.'
      ),
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(
            shape=(IMAGE_SIZE, IMAGE_SIZE, 3), encoding_format='png'
          ),
          'label': tfds.features.ClassLabel(names=CLASS_NAMES),
        }
      ),
      supervised_keys=('image', 'label'),
    )

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
    del dl_manager  # There is nothing to download.
    return {split: self._generate_examples(split) for split in _SEEDS}

  def _generate_examples(
    self, split: str
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    for index, (image, label) in enumerate(zip(*generate(split), strict=True)):
      yield index, {'image': image, 'label': label}
