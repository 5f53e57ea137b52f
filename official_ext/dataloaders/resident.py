"""Images that live on the devices which compute with them.

A step is then told which images it takes, four bytes each, instead of being
sent them: a 1,500th of the traffic for float32 images of 32×32.
"""

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from official_ext.dataloaders.image_source import ImageDataInfo
from official_ext.dataloaders.in_memory import ImageData
from official_ext.errors import UserError

# uint8 `[num_examples, height, width, channels]`, one a device.
Copies = tuple[tf.Tensor, ...]


def copies(data: ImageData, devices: Sequence[str]) -> Copies:
  """Copies a data set's images, as bytes.

  Args:
    data: The images, on the host.
    devices: Those of the replicas of this process, in their order.

  Raises:
    UserError: If they do not fit.
  """
  return _on_each(data.info, devices, lambda: tf.identity(data.images))


def blank(info: ImageDataInfo, devices: Sequence[str]) -> Copies:
  """Returns black images in the form of `copies`, to compile with."""
  shape = [info.num_examples, *info.image_shape]
  return _on_each(info, devices, lambda: tf.zeros(shape, tf.uint8))


def gather(images: Copies, rows: tf.Tensor) -> tf.Tensor:
  """Returns images, uint8, in or outside of a replica.

  Args:
    images: Those of each device.
    rows: int32 `[count]`, their places in the data set.
  """
  return tf.gather(images[_local_replica(len(images))], rows)


def devices_of(strategy: tf.distribute.Strategy) -> list[str]:
  """Returns the devices of this process that compute, one a replica."""
  return list(strategy.extended.worker_devices)


def _on_each(
  info: ImageDataInfo, devices: Sequence[str], make: Callable[[], tf.Tensor]
) -> Copies:
  made = []
  for device in devices:
    try:
      with tf.init_scope(), tf.device(device):
        made.append(make())
    except tf.errors.ResourceExhaustedError as error:
      size = info.num_examples * math.prod(info.image_shape) / 2**30
      raise UserError(
        f'the {size:.1f} GiB of {info.name} do not fit on {device}; set '
        'data.preprocess_on_device=False, or take a slice of the split.'
      ) from error
  return tuple(made)


def _local_replica(count: int) -> int:
  """Returns which of the replicas of this process this is; 0 outside of one."""
  context = tf.distribute.get_replica_context()
  if context is None:
    return 0
  replica = tf.get_static_value(context.replica_id_in_sync_group)
  return int(replica or 0) % count
