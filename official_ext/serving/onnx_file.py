"""Writes a SavedModel as an ONNX file, by tf2onnx."""

import importlib.util
import pathlib
import subprocess
import sys

from official_ext.errors import RunError, UserError

# The newest that all of ONNX Runtime's releases of three years read:
# https://onnxruntime.ai/docs/reference/compatibility.html
_OPSET = 17


def check_installed() -> None:
  """Raises where what converts and what compares are not there.

  Raises:
    UserError: If one of them is not installed.
  """
  for module in ('tf2onnx', 'onnxruntime'):
    if importlib.util.find_spec(module) is None:
      raise UserError(
        f"--onnx needs {module}; pip install 'official_ext[onnx]' brings it."
      )


def write(saved_model: str, file: pathlib.Path) -> None:
  """Converts a SavedModel in a process of its own.

  The converter changes TensorFlow's state, and says all that it does.

  Args:
    saved_model: Folder of a SavedModel without strings.
    file: Where to write.

  Raises:
    RunError: If it cannot be converted.
  """
  command = [sys.executable, '-m', 'tf2onnx.convert']
  command += ['--saved-model', saved_model, '--output', str(file)]
  command += ['--opset', str(_OPSET)]
  ended = subprocess.run(command, capture_output=True, text=True, check=False)
  if ended.returncode:
    reason = (ended.stderr.strip().splitlines() or ['no message'])[-1]
    raise RunError(f'tf2onnx cannot convert the model: {reason}.')
