"""What TensorFlow reads from the environment as it is imported."""

import os
import platform


def prepare() -> None:
  """Sets what suits this package; what the user has set stays."""
  # TensorFlow's errors reach Python as exceptions; what it prints is which
  # devices and instructions it has not found.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

  # Other processes use the same GPU, `export` starts some itself.
  os.environ.setdefault('TF_FORCE_GPU_ALLOW_GROWTH', 'true')

  # By itself TensorFlow uses oneDNN only where the processor has instructions
  # for neural networks, though it is the faster everywhere: with AVX2 alone a
  # step of ResNet9 takes 0.57 of the time.
  if platform.machine() == 'x86_64':
    os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')
