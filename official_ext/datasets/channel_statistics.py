"""Mean and deviation of the channels of many images."""

import numpy as np


class ChannelStatistics:
  """Sums over images, which are added one at a time; exact."""

  def __init__(self, num_channels: int):
    """Begins with no image."""
    self._count = 0
    self._sums, self._squares = np.zeros((2, num_channels), np.int64)

  def add(self, image: np.ndarray) -> None:
    """Adds an image, uint8 `[height, width, channels]`."""
    pixels = image.reshape(-1, len(self._sums)).astype(np.int64)
    self._count += len(pixels)
    self._sums += pixels.sum(axis=0)
    self._squares += (pixels**2).sum(axis=0)

  def mean(self) -> list[float]:
    """Returns the mean of each channel, in 0 to 255, to two digits."""
    return (self._sums / self._count).round(2).tolist()

  def stddev(self) -> list[float]:
    """Returns the standard deviation of each channel, likewise."""
    mean = self._sums / self._count
    variance = self._squares / self._count - mean**2
    return np.sqrt(np.maximum(variance, 0)).round(2).tolist()
