"""Which GPUs the installed TensorFlow has kernels for."""

import re
from collections.abc import Sequence

import tensorflow as tf


def missing(gpus: Sequence[tf.config.PhysicalDevice]) -> dict[str, str]:
  """Returns the compute capability of each kind of GPU without kernels.

  For these TensorFlow has a portable form at best (PTX), which the driver
  compiles when a kernel is first used.

  Args:
    gpus: Devices that TensorFlow sees.

  Returns:
    Capabilities, such as '12.0', by the GPUs' names.
  """
  built_for = tf.sysconfig.get_build_info().get('cuda_compute_capabilities')
  if not built_for:
    return {}  # For AMD's GPUs, which have no such number.
  found = {}
  for gpu in gpus:
    details = tf.config.experimental.get_device_details(gpu)
    capability = details.get('compute_capability')
    if capability and not _has_kernels(built_for, *capability):
      found[details.get('device_name', 'a GPU')] = '.'.join(
        map(str, capability)
      )
  return found


def _has_kernels(built_for: Sequence[str], major: int, minor: int) -> bool:
  """Whether machine code for one of some targets runs on a GPU.

  It does on those of its major version and at least its minor one:
  https://docs.nvidia.com/cuda/cuda-c-programming-guide/#binary-compatibility

  Args:
    built_for: Targets of TensorFlow's build, such as 'sm_89', or 'compute_90',
      of which it has PTX besides machine code.
    major: Of the GPU's compute capability.
    minor: Of the same.
  """
  targets = [re.search(r'(\d+)(\d)', target) for target in built_for]
  return any(int(t[1]) == major and int(t[2]) <= minor for t in targets if t)
