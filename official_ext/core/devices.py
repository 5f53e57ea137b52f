"""What the machine has, and what to compute with on it."""

import pathlib

import tensorflow as tf
import tf_keras
from official.common import distribute_utils
from official.core import config_definitions as cfg
from official.modeling import performance

from official_ext.core.errors import UserError

PRECISIONS = ('float32', 'bfloat16', 'float16')


def resolve(runtime: cfg.RuntimeConfig) -> None:
  """Fills in devices, distribution and precision where the user left them open.

  Args:
    runtime: Changed: `num_gpus` if negative, `distribution_strategy` if 'auto',
      `mixed_precision_dtype` if None.

  Raises:
    UserError: If what the user chose is not there or cannot work.
  """
  gpus = tf.config.list_physical_devices('GPU')
  if runtime.num_gpus < 0:
    runtime.num_gpus = len(gpus)
  if runtime.num_gpus > len(gpus):
    raise UserError(
      f'runtime.num_gpus={runtime.num_gpus}, but TensorFlow sees {len(gpus)}; '
      'leave it out to use what is there.'
    )
  if runtime.distribution_strategy == 'auto':
    several = runtime.num_gpus > 1
    runtime.distribution_strategy = 'mirrored' if several else 'one_device'
  on_tpu = runtime.distribution_strategy == 'tpu'
  native = 'bfloat16' if on_tpu else _native_precision(gpus[: runtime.num_gpus])
  if runtime.mixed_precision_dtype is None:
    runtime.mixed_precision_dtype = native
  _check_precision(runtime.mixed_precision_dtype, runtime.num_gpus)


def set_up(runtime: cfg.RuntimeConfig) -> tf.distribute.Strategy:
  """Sets what is global to the process, and returns the strategy.

  Args:
    runtime: What `resolve` has filled in.
  """
  tf_keras.utils.set_random_seed(runtime.seed)
  if runtime.deterministic:
    tf.config.experimental.enable_op_determinism()
  performance.set_mixed_precision_policy(runtime.mixed_precision_dtype)
  return distribute_utils.get_distribution_strategy(
    distribution_strategy=runtime.distribution_strategy,
    all_reduce_alg=runtime.all_reduce_alg,
    num_gpus=runtime.num_gpus,
    num_packs=runtime.num_packs,
    tpu_address=runtime.tpu,
  )


def describe(runtime: cfg.RuntimeConfig, replicas: int) -> str:
  """Returns one line on what a resolved config computes with."""
  if runtime.distribution_strategy == 'tpu':
    device = 'TPU'
  elif runtime.num_gpus:
    gpus = tf.config.list_physical_devices('GPU')
    device = tf.config.experimental.get_device_details(gpus[0])['device_name']
  else:
    device = 'CPU'
  return (
    f'{device} × {replicas} ({runtime.distribution_strategy}), '
    f'{runtime.mixed_precision_dtype}'
  )


def _native_precision(gpus: list[tf.config.PhysicalDevice]) -> str:
  """Returns the fastest precision that all the devices compute natively."""
  if not gpus:
    return 'bfloat16' if _cpu_has_bfloat16_matrices() else 'float32'
  details = map(tf.config.experimental.get_device_details, gpus)
  capability = min(d.get('compute_capability', (0, 0)) for d in details)
  # Tensor cores came with Volta (7.0), and bfloat16 ones with Ampere (8.0):
  # https://docs.nvidia.com/cuda/cuda-c-programming-guide/#compute-capabilities
  if capability >= (8, 0):
    return 'bfloat16'
  return 'float16' if capability >= (7, 0) else 'float32'


def _cpu_has_bfloat16_matrices() -> bool:
  cpuinfo = pathlib.Path('/proc/cpuinfo')
  return cpuinfo.exists() and 'amx_bf16' in cpuinfo.read_text()


def _check_precision(precision: str, num_gpus: int) -> None:
  if precision not in PRECISIONS:
    raise UserError(
      f"runtime.mixed_precision_dtype='{precision}' is not one of "
      f'{", ".join(PRECISIONS)} (gin: resnet9_cifar10.precision, or auto).'
    )
  if precision == 'float16' and num_gpus == 0:
    raise UserError(
      "runtime.mixed_precision_dtype='float16' needs a GPU; use 'bfloat16' or "
      "'float32' here (gin: resnet9_cifar10.precision)."
    )
