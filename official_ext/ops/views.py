"""Ways to look at an image: test-time augmentation by their mean logits."""

from collections.abc import Callable

import tensorflow as tf

from official_ext.errors import UserError

# From images to what is looked at in their place: each a weight and images of
# the same shape. The weights add up to 1.
View = Callable[[tf.Tensor], list[tuple[float, tf.Tensor]]]

_VIEWS: dict[str, View] = {}
_WORDS: dict[str, str] = {}


def register(name: str, words: str) -> Callable[[View], View]:
  """Registers a view.

  Args:
    name: For `evaluation.views` to name it, and for its column.
    words: What an accuracy over it is said to be, such as 'with the mirror
      image'.
  """

  def add(view: View) -> View:
    _VIEWS[name], _WORDS[name] = view, words
    return view

  return add


def get(name: str) -> View:
  """Returns a view.

  Raises:
    UserError: If there is none of that name.
  """
  if name not in _VIEWS:
    raise UserError(
      f"task.evaluation.views: there is no view '{name}'; there are "
      f'{", ".join(_VIEWS)} (gin: evaluation.views).'
    )
  return _VIEWS[name]


def words(name: str) -> str:
  """Returns what an accuracy over a view is said to be."""
  return _WORDS.get(name, f'over the view {name}')


def metric_name(name: str) -> str:
  """Returns what the accuracy over a view is reported as."""
  return f'accuracy_{name}'


def logits(
  model: Callable[[tf.Tensor], tf.Tensor],
  images: tf.Tensor,
  plain: tf.Tensor,
  name: str,
) -> tf.Tensor:
  """Returns the mean logits over a view.

  Args:
    model: From images to logits.
    images: `[batch, height, width, channels]`, normalised.
    plain: The logits of the images themselves, which are not computed again.
    name: Of the view.
  """
  return tf.add_n(
    [
      weight * (plain if looked_at is images else model(looked_at))
      for weight, looked_at in get(name)(images)
    ]
  )


@register('mirror', 'with the mirror image')
def mirror(images: tf.Tensor) -> list[tuple[float, tf.Tensor]]:
  """An image and its mirror image, as in cifar10-fast's `new_dawn.py`."""
  return [(0.5, images), (0.5, images[:, :, ::-1])]
