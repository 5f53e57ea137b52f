"""Filters that decorrelate the patches of images."""

import numpy as np
from numpy.typing import ArrayLike

# Pixels of the images whose patches are in memory at a time: 6 MB for those of
# 3×3×3, which a processor's cache holds.
_CHUNK = 30 * 32 * 32


def filters(
  images: np.ndarray,
  patch_size: int = 3,
  epsilon: float = 1e-2,
  mean: ArrayLike = 0.0,
  stddev: ArrayLike = 1.0,
) -> np.ndarray:
  """Returns the eigenvectors of the patches' second moment, scaled.

  With λ the eigenvalue of a filter, its mean square over the patches is
  λ / (λ + ε), and the mean product of two filters is 0. As in `new_dawn.py` of
  https://github.com/davidcpage/cifar10-fast the patches lie wholly inside the
  images, the second moment is not centred, and is divided by n − 1.

  Args:
    images: `[count, height, width, channels]`, at least a patch large, of any
      type of real numbers.
    patch_size: Height and width of a patch. 3 is cifar10-fast's.
    epsilon: Added to the eigenvalues, so that the directions in which natural
      images hardly vary are not blown up. 1e-2 is cifar10-fast's.
    mean: What is subtracted from the images, for all channels or for each, to
      make them the network's input.
    stddev: What they are divided by then, likewise.

  Returns:
    float32 `[n, n]`, n = patch_size · patch_size · channels: a filter in each
    column, in the order of a flat patch, by falling eigenvalue.
  """
  eigenvalues, eigenvectors = np.linalg.eigh(
    _second_moment(images, patch_size, mean, stddev)
  )
  scaled = eigenvectors / np.sqrt(eigenvalues + epsilon)
  return np.ascontiguousarray(scaled[:, ::-1], np.float32)


def _second_moment(
  images: np.ndarray, patch_size: int, mean: ArrayLike, stddev: ArrayLike
) -> np.ndarray:
  """Returns the mean outer product of all normalised patches with themselves.

  No image is normalised. That is linear, and so is done to the products of the
  images' own numbers, which are whole for bytes, and added up without rounding.

  Returns:
    float64 `[n, n]`.
  """
  means, deviations = (
    np.broadcast_to(values, [patch_size**2, images.shape[-1]]).ravel()
    for values in (mean, stddev)
  )
  products = _products(images, patch_size)
  # Of a patch and a 1, this makes the normalised patch.
  normalize = np.column_stack([np.diag(1 / deviations), -means / deviations])
  return normalize @ products @ normalize.T / (products[-1, -1] - 1)


def _products(images: np.ndarray, patch_size: int) -> np.ndarray:
  """Returns the sum of the outer products of all patches with themselves.

  Returns:
    float64 `[n + 1, n + 1]`. A 1 follows the numbers of each patch, so that the
    last column has the sums of these, and the number of patches.
  """
  _, height, width, channels = images.shape
  size = patch_size**2 * channels
  places = height - patch_size + 1, width - patch_size + 1
  step = max(1, _CHUNK // (height * width))
  total = np.zeros([size + 1, size + 1])
  for start in range(0, len(images), step):
    part = images[start : start + step]
    planes = np.ascontiguousarray(np.moveaxis(part, -1, 0), np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(
      planes, places, axis=(2, 3)
    )
    # [channel, image, row, column, y, x] to a flat [row, column, channel] of
    # all places: what is copied are rows of pixels.
    patches = np.moveaxis(windows, (2, 3), (0, 1)).reshape(size, -1)
    patches = np.vstack([patches, np.ones(patches.shape[1])])
    total += patches @ patches.T
  return total
