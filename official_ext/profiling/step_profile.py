"""Which operations the time of a step goes to, by TensorFlow's profiler."""

import collections
import pathlib
import re
import statistics
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

# Types of operations, from the start; oneDNN's begin with a prefix of its own.
GROUPS = {
  'convolutions': 'Conv2D$|_?FusedConv2D',
  'input gradients': 'Conv2DBackpropInput',
  'kernel gradients': 'Conv2DBackpropFilter|(Batch)?MatMul',
  'batch norm': '_?FusedBatchNorm',
  'ReLU': 'Relu|_FusedRelu',
  'pooling': 'MaxPool|AvgPool',
}
_CONVOLUTIONS = ('convolutions', 'input gradients', 'kernel gradients')
OTHER = 'all else'


def profile(run: Callable[[], Any], steps: int) -> list[dict[str, float]]:
  """Returns the seconds by type of operation of each of some steps.

  Operations that run at the same time count each in full: the sum is the time
  on the clock where TensorFlow runs one at a time.

  Args:
    run: Runs a step, which was run before.
    steps: How many.

  Returns:
    Seconds by type; empty where TensorFlow traces no operations of a CPU.
  """
  return [_trace(run) for _ in range(steps)]


def medians(steps: list[dict[str, float]]) -> dict[str, float]:
  """Returns the median seconds of each type, the longest first."""
  types = set().union(*steps)
  times = {
    name: statistics.median(step.get(name, 0.0) for step in steps)
    for name in types
  }
  return dict(sorted(times.items(), key=lambda item: -item[1]))


def convolution_seconds(seconds: dict[str, float]) -> float:
  """Returns the seconds of all convolutions, forward and backward."""
  return sum(
    time for name, time in seconds.items() if _group(name) in _CONVOLUTIONS
  )


def shares(seconds: dict[str, float]) -> dict[str, float]:
  """Returns the share of each of `GROUPS` and of `OTHER` in the sum."""
  total = sum(seconds.values())
  result = dict.fromkeys([*GROUPS, OTHER], 0.0) if seconds else {}
  for name, time in seconds.items():
    result[_group(name)] += time / total
  return result


def _group(name: str) -> str:
  for group, pattern in GROUPS.items():
    if re.match(f'(_Mkl(Native)?)?({pattern})', name):
      return group
  return OTHER


def _trace(run: Callable[[], Any]) -> dict[str, float]:
  with tempfile.TemporaryDirectory() as folder:
    with tf.profiler.experimental.Profile(folder):
      run()
      tf.test.experimental.sync_devices()
    space = xplane_pb2.XSpace()
    for file in pathlib.Path(folder).rglob('*.xplane.pb'):
      space.MergeFromString(file.read_bytes())
  times: dict[str, float] = collections.defaultdict(float)
  for name, seconds in _operations(space):
    times[name] += seconds
  return times


def _operations(space: xplane_pb2.XSpace) -> Iterator[tuple[str, float]]:
  """Yields the type and the seconds of each operation that ran on the host."""
  for plane in space.planes:
    if not plane.name.startswith('/host:CPU'):
      continue
    for line in plane.lines:
      for event in line.events:
        name = plane.event_metadata[event.metadata_id].name
        # `path/of/the/node:Type`; other events have no colon, or two.
        operation = re.fullmatch(r'[^:]+:(\w+)(#.*)?', name)
        if operation:
          yield operation[1], event.duration_ps / 1e12
