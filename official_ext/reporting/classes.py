"""How the images of each class were classified."""

import dataclasses

import numpy as np

from official_ext.tasks import balanced_accuracy


@dataclasses.dataclass(frozen=True)
class ClassResult:
  """How the images of a class were classified.

  Attributes:
    name: The class.
    num_images: Test images of it.
    num_right: Those of them that were classified rightly.
    confused_with: The wrong class that most others were taken for, if any.
  """

  name: str
  num_images: int
  num_right: int
  confused_with: str

  @property
  def accuracy(self) -> float | None:
    """Share of them that were classified rightly; None without any."""
    return self.num_right / self.num_images if self.num_images else None


def confusion(
  labels: np.ndarray, predicted: np.ndarray, num_classes: int
) -> np.ndarray:
  """Returns int `[num_classes, num_classes]`, true class × predicted class.

  Args:
    labels: True classes, int `[count]`.
    predicted: Those that a model gives, int `[count]`.
    num_classes: How many there are.
  """
  pairs = labels * num_classes + predicted
  counts = np.bincount(pairs, minlength=num_classes**2)
  return counts.reshape(num_classes, num_classes)


def results(counts: np.ndarray, class_names: list[str]) -> list[ClassResult]:
  """Returns one for each class.

  Args:
    counts: What `confusion` returned.
    class_names: One for each class.
  """
  found = []
  for label, row in enumerate(counts):
    wrong = row.copy()
    wrong[label] = 0
    most = class_names[wrong.argmax()] if wrong.any() else ''
    found.append(
      ClassResult(class_names[label], int(row.sum()), int(row[label]), most)
    )
  return found


def balanced(counts: np.ndarray) -> float | None:
  """Returns the mean of the classes' accuracies.

  Args:
    counts: What `confusion` returned.

  Returns:
    That of the classes that there are; None where all of them are of the same
    size, since it is the accuracy then.
  """
  if not balanced_accuracy.says_more(counts.sum(axis=1)):
    return None
  return float(balanced_accuracy.of(counts))


def sentence(
  accuracy: float, balanced: float | None, by_class: list[ClassResult]
) -> str:
  """Returns the accuracy in words, and the class of which it is lowest.

  Args:
    accuracy: Of all test images.
    balanced: What `balanced` returned.
    by_class: Of each class; of one at least there are images.
  """
  text = f'Test accuracy {accuracy:.2%}'
  if balanced is not None:
    text += f', {balanced:.2%} as the mean of the classes'
  there = [each for each in by_class if each.num_images]
  lowest = min(there, key=lambda each: each.accuracy or 0)
  return f'{text}; lowest of {lowest.name}, {lowest.accuracy:.1%}.'
