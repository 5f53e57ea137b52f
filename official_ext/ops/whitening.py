"""Filters that decorrelate the patches of images."""

from collections.abc import Callable
from typing import Any

import numpy as np

# Pixels of the images whose patches are in memory at a time: 100 MB for those
# of 3×3×3.
_CHUNK = 500 * 32 * 32


def filters(
  images: np.ndarray,
  patch_size: int = 3,
  epsilon: float = 1e-2,
  normalize: Callable[[np.ndarray], Any] = np.asarray,
) -> np.ndarray:
  """Returns the eigenvectors of the patches' second moment, scaled.

  With λ the eigenvalue of a filter, its mean square over the patches is
  λ / (λ + ε), and the mean product of two filters is 0. As in `new_dawn.py` of
  https://github.com/davidcpage/cifar10-fast the patches lie wholly inside the
  images, the second moment is not centred, and is divided by n − 1.

  Args:
    images: `[count, height, width, channels]`, at least a patch large.
    patch_size: Height and width of a patch. 3 is cifar10-fast's.
    epsilon: Added to the eigenvalues, so that the directions in which natural
      images hardly vary are not blown up. 1e-2 is cifar10-fast's.
    normalize: Turns a part of the images into the network's input; without it,
      they are that.

  Returns:
    float32 `[n, n]`, n = patch_size · patch_size · channels: a filter in each
    column, in the order of a flat patch, by falling eigenvalue.
  """
  eigenvalues, eigenvectors = np.linalg.eigh(
    _second_moment(images, patch_size, normalize)
  )
  scaled = eigenvectors / np.sqrt(eigenvalues + epsilon)
  return np.ascontiguousarray(scaled[:, ::-1], np.float32)


def _second_moment(
  images: np.ndarray, patch_size: int, normalize: Callable[[np.ndarray], Any]
) -> np.ndarray:
  """Returns the mean outer product of all patches with themselves, float64."""
  _, height, width, channels = images.shape
  size = patch_size**2 * channels
  total, count = np.zeros([size, size]), 0
  step = max(1, _CHUNK // (height * width))
  for start in range(0, len(images), step):
    windows = np.lib.stride_tricks.sliding_window_view(
      np.asarray(normalize(images[start : start + step])),
      (patch_size, patch_size),
      axis=(1, 2),
    )
    # [count, y, x, channel, row, column] to a flat [row, column, channel].
    patches = np.moveaxis(windows, 3, -1).reshape(-1, size).astype(np.float64)
    total += patches.T @ patches
    count += len(patches)
  return total / (count - 1)
