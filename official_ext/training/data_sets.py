"""What is known of the data before any of it is read."""

import dataclasses

from official_ext.configs import image_classification
from official_ext.dataloaders import in_memory
from official_ext.dataloaders.image_source import ImageDataInfo
from official_ext.training.request import Request


@dataclasses.dataclass(frozen=True)
class DataSets:
  """Training and test data.

  Attributes:
    train: What to train on.
    test: What to evaluate on.
  """

  train: ImageDataInfo
  test: ImageDataInfo


def described(request: Request) -> DataSets | None:
  """Returns the data of a request; None where a task of Garden reads its own.

  Raises:
    UserError: If they cannot be opened.
  """
  if request.data is not None:
    return DataSets(request.data.train.info, request.data.test.info)
  task = request.params.task
  if not isinstance(task, image_classification.ImageClassificationTask):
    return None
  return DataSets(
    in_memory.describe(task.train_data),
    in_memory.describe(task.validation_data),
  )
