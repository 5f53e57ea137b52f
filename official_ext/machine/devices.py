"""What the machine has, and what to compute with on it."""

import contextlib
import functools
import pathlib

import tensorflow as tf
import tf_keras
from official.common import distribute_utils
from official.core import config_definitions as cfg
from official.modeling import performance

from official_ext import addresses
from official_ext.configs.common import RuntimeConfig
from official_ext.errors import UserError
from official_ext.machine import compile_cache, meeting, workers
from official_ext.machine.workers import Cluster
from official_ext.schema import fields

# Those of Garden's that run a trainer in step on all devices.
STRATEGIES = (
  'auto',
  'off',
  'one_device',
  'mirrored',
  'multi_worker_mirrored',
  'tpu',
)

# Linux' names of the instructions by which oneDNN multiplies bfloat16: matrices
# (AMX) and dot products (AVX-512 BF16). Other CPUs emulate it.
_BFLOAT16_FLAGS = frozenset({'amx_bf16', 'avx512_bf16'})
_CPUINFO = pathlib.Path('/proc/cpuinfo')


def resolve(runtime: RuntimeConfig, *, float16: bool = True) -> None:
  """Fills in devices, distribution and precision where the user left them open.

  Args:
    runtime: Changed: `num_gpus` if negative, `distribution_strategy` if 'auto',
      `mixed_precision_dtype` if None.
    float16: Whether the experiment can be trained in it.

  Raises:
    UserError: If what the user chose is not there or cannot work.
  """
  # Later, TensorFlow has read its flags.
  _keep_compiled(runtime.deterministic)
  cluster = workers.configure(runtime)
  _check_strategy(runtime, cluster)
  gpus = tf.config.list_physical_devices('GPU')
  if runtime.num_gpus < 0:
    runtime.num_gpus = 0 if runtime.num_logical_cpus else len(gpus)
  if runtime.num_gpus > len(gpus):
    raise UserError(
      f'runtime.num_gpus={runtime.num_gpus}, but TensorFlow sees {len(gpus)}; '
      'leave it out to use what is there.'
    )
  if runtime.distribution_strategy == 'auto':
    runtime.distribution_strategy = _best_strategy(runtime, cluster)
  _check_devices(runtime)
  on_tpu = runtime.distribution_strategy == 'tpu'
  native = 'bfloat16' if on_tpu else _native_precision(gpus[: runtime.num_gpus])
  if native == 'float16' and not float16:
    native = 'float32'
  if runtime.mixed_precision_dtype is None:
    runtime.mixed_precision_dtype = native
  _check_precision(runtime.mixed_precision_dtype, runtime.num_gpus)


def computes_in(precision: str | None) -> bool:
  """Whether a precision can be had on the devices that are there."""
  return precision != 'float16' or bool(tf.config.list_physical_devices('GPU'))


# `repeat` resolves many configs, and all that is kept is read to be checked.
@functools.cache
def _keep_compiled(deterministic: bool) -> None:
  compile_cache.turn_on(deterministic)


def count_replicas(runtime: RuntimeConfig) -> int:
  """Returns the number of replicas; of a TPU, before it is asked, 1.

  Args:
    runtime: What `resolve` has filled in.
  """
  count = len(workers.configure(runtime).hosts) or 1
  return count * max(runtime.num_gpus, runtime.num_logical_cpus, 1)


def has_to_set_up_first(runtime: RuntimeConfig) -> bool:
  """Whether TensorFlow must not compute anything before `set_up`."""
  return runtime.num_logical_cpus > 1 or runtime.distribution_strategy in (
    'multi_worker_mirrored',
    'tpu',
  )


def set_up(
  runtime: RuntimeConfig, settings: str = ''
) -> tf.distribute.Strategy:
  """Sets what is global to the process, and returns the strategy.

  Several workers wait for one another here. It has to come before TensorFlow's
  first operation: which devices and workers there are is settled by then.

  Args:
    runtime: What `resolve` has filled in.
    settings: What has to be the same on all workers.

  Raises:
    UserError: If the devices cannot be had, or workers differ.
  """
  set_seed(runtime.seed)
  if runtime.deterministic:
    tf.config.experimental.enable_op_determinism()
  performance.set_mixed_precision_policy(runtime.mixed_precision_dtype)
  if runtime.num_logical_cpus > 1:
    return _mirrored_cpus(runtime.num_logical_cpus)
  if runtime.distribution_strategy != 'tpu':
    _hide_gpus_from(runtime.num_gpus)
  cluster = workers.configure(runtime)
  timeout = runtime.arrival_timeout_seconds
  with meeting.joined(cluster, timeout, settings):
    try:
      return distribute_utils.get_distribution_strategy(
        distribution_strategy=runtime.distribution_strategy,
        all_reduce_alg=runtime.all_reduce_alg,
        num_gpus=runtime.num_gpus,
        num_packs=runtime.num_packs,
        tpu_address=runtime.tpu,
      )
    except (ValueError, OSError, tf.errors.OpError) as error:
      reason = str(error).splitlines()[0]
      if runtime.distribution_strategy == 'tpu':
        raise _no_tpu(runtime) from error
      if cluster.several:
        raise UserError(
          f'{cluster.name(cluster.index)} cannot join the others ({reason}); '
          'see whether another process has its port.'
        ) from error
      raise UserError(f'runtime: {reason}') from error


def _hide_gpus_from(count: int) -> None:
  """Leaves the GPUs that are not used to others, with all of their memory.

  Where TensorFlow has begun to compute, as to write a data set, it is too late.
  """
  gpus = tf.config.list_physical_devices('GPU')
  if count < len(gpus):
    with contextlib.suppress(RuntimeError):
      tf.config.set_visible_devices(gpus[:count], 'GPU')


def set_seed(seed: int) -> None:
  """Makes what is random, and names, begin as in a process of their own."""
  tf_keras.backend.reset_uids()
  tf_keras.utils.set_random_seed(seed)


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


def _check_strategy(runtime: RuntimeConfig, cluster: Cluster) -> None:
  name = runtime.distribution_strategy = runtime.distribution_strategy.lower()
  if name not in STRATEGIES:
    raise UserError(
      f"runtime.distribution_strategy='{name}' does not exist; use one of "
      f'{", ".join(STRATEGIES)}.'
    )
  if cluster.several and name not in ('auto', 'multi_worker_mirrored'):
    raise UserError(
      f"runtime.distribution_strategy='{name}' does not span the "
      f'{len(cluster.hosts)} workers of the cluster; leave it out.'
    )
  parts = runtime.num_logical_cpus
  fits = name in ('auto', 'mirrored') and runtime.num_gpus < 1
  if parts < 0 or (parts > 1 and (cluster.several or not fits)):
    raise UserError(
      f'runtime.num_logical_cpus={parts} must be 0, or a number of devices for '
      "distribution_strategy='mirrored' in one process without GPUs."
    )
  if runtime.arrival_timeout_seconds <= 0:
    raise UserError(
      'runtime.arrival_timeout_seconds='
      f'{runtime.arrival_timeout_seconds} must be more than 0.'
    )


def _best_strategy(runtime: RuntimeConfig, cluster: Cluster) -> str:
  if runtime.tpu:
    return 'tpu'
  if cluster.several:
    return 'multi_worker_mirrored'
  several = max(runtime.num_gpus, runtime.num_logical_cpus) > 1
  return 'mirrored' if several else 'one_device'


def _check_devices(runtime: RuntimeConfig) -> None:
  name = runtime.distribution_strategy
  if name in ('off', 'one_device') and runtime.num_gpus > 1:
    raise UserError(
      f"runtime.num_gpus={runtime.num_gpus}, but distribution_strategy='{name}'"
      " is for one device; use 'mirrored', or num_gpus=1."
    )
  address = (runtime.tpu or '').removeprefix('grpc://')
  # TensorFlow would wait for ever for one that does not answer.
  if name == 'tpu' and ':' in address and not addresses.answers(address):
    raise _no_tpu(runtime)


def _no_tpu(runtime: RuntimeConfig) -> UserError:
  return UserError(
    f'runtime.tpu={runtime.tpu!r} (--tpu) is no TPU that answers; name one, or '
    "'local' on a TPU's own machine, or leave it out."
  )


def _mirrored_cpus(count: int) -> tf.distribute.Strategy:
  """Returns a strategy over parts of the CPU; Garden's takes the whole one."""
  (cpu,) = tf.config.list_physical_devices('CPU')
  parts = [tf.config.LogicalDeviceConfiguration()] * count
  try:
    tf.config.set_logical_device_configuration(cpu, parts)
  except RuntimeError as error:
    raise UserError(
      f'runtime.num_logical_cpus={count} comes too late: TensorFlow has begun '
      'to compute; set it in a new process.'
    ) from error
  return tf.distribute.MirroredStrategy([f'CPU:{i}' for i in range(count)])


def _native_precision(gpus: list[tf.config.PhysicalDevice]) -> str:
  """Returns the fastest precision that all the devices compute natively."""
  if not gpus:
    return 'bfloat16' if _cpu_multiplies_bfloat16() else 'float32'
  details = map(tf.config.experimental.get_device_details, gpus)
  capability = min(d.get('compute_capability', (0, 0)) for d in details)
  # Tensor cores came with Volta (7.0), and bfloat16 ones with Ampere (8.0):
  # https://docs.nvidia.com/cuda/cuda-c-programming-guide/#compute-capabilities
  if capability >= (8, 0):
    return 'bfloat16'
  return 'float16' if capability >= (7, 0) else 'float32'


def _cpu_multiplies_bfloat16() -> bool:
  flags = _CPUINFO.read_text().split() if _CPUINFO.exists() else []
  return not _BFLOAT16_FLAGS.isdisjoint(flags)


def _check_precision(precision: str, num_gpus: int) -> None:
  if precision not in fields.PRECISIONS:
    raise UserError(
      f"runtime.mixed_precision_dtype='{precision}' is not one of "
      f'{", ".join(fields.PRECISIONS)}; use one, or leave it out.'
    )
  if precision == 'float16' and num_gpus == 0:
    raise UserError(
      "runtime.mixed_precision_dtype='float16' needs a GPU; use 'bfloat16' or "
      "'float32' here."
    )
