"""The orthogonal matrix next to another, nearly, by matrix products alone."""

from collections.abc import Sequence

import tensorflow as tf

# In three to five steps they bring singular values of (0, 1] to about 0.7 to
# 1.2, the small ones fast (https://kellerjordan.github.io/posts/muon/).
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
EPSILON = 1e-7


def orthogonalize(
  matrices: tf.Tensor,
  steps: int,
  coefficients: Sequence[float] = COEFFICIENTS,
  epsilon: float = EPSILON,
  dtype: str = 'float32',
) -> tf.Tensor:
  """Returns about U Vᵀ of matrices U S Vᵀ, by the Newton-Schulz iteration.

  With X the matrix over its Frobenius norm, and (a, b, c) the coefficients, the
  steps are X ← a X + (b X Xᵀ + c (X Xᵀ)²) X, as in `airbench94_muon.py` of
  https://github.com/KellerJordan/cifar10-airbench. Of X Xᵀ and XᵀX, which give
  the same, the smaller is used, so that neither way round costs more.

  Args:
    matrices: Float `[..., rows, columns]`, of any scale; a zero stays zero.
    steps: Number of steps, each of three products; unrolled.
    coefficients: Three, of the polynomial in X's singular values.
    epsilon: Added to the norm, against division by 0.
    dtype: In which the products are computed. The norm is in that of
      `matrices`.

  Returns:
    As `matrices`.
  """
  a, b, c = coefficients
  norm = tf.norm(matrices, axis=(-2, -1), keepdims=True)
  x = tf.cast(matrices / (norm + epsilon), dtype)
  rows, columns = x.shape[-2:]
  is_tall = rows > columns
  for _ in range(steps):
    gram = tf.matmul(x, x, transpose_a=is_tall, transpose_b=not is_tall)
    even = b * gram + c * tf.matmul(gram, gram)
    x = a * x + (tf.matmul(x, even) if is_tall else tf.matmul(even, x))
  return tf.cast(x, matrices.dtype)
