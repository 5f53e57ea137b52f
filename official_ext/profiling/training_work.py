"""What a training computes, counted from its layers."""

from official.core import config_definitions as cfg
from official.core import task_factory

from official_ext.configs import progressive_resizing
from official_ext.profiling import model_work

# Operations of a multiply-add of the way forward: two, there and for the
# gradients of inputs and of kernels.
_OPERATIONS_PER_MAC = 6


def operations(params: cfg.ExperimentConfig) -> float:
  """Returns the floating point operations of a training, of all its steps.

  Those of convolutions and dense layers, of the forward pass and of both
  gradients; not of normalisation, augmentation or evaluation. So do the authors
  of airbench count (https://arxiv.org/abs/2404.00498).

  Args:
    params: An experiment of image classification, its counts filled in.
  """
  task, steps = params.task, params.trainer.train_steps
  stages = progressive_resizing.stages(
    task.train_data.progressive_resizing, task.model.input_size, steps
  )
  images, begin = 0.0, 0
  for stage in stages:
    end = min(stage.end, steps)
    images += (end - begin) * _macs(params, stage.size)
    begin = end
  return images * task.train_data.global_batch_size * _OPERATIONS_PER_MAC


def _macs(params: cfg.ExperimentConfig, size: tuple[int, int]) -> int:
  """Returns the multiply-adds of an image of a size on its way forward."""
  model = params.task.model
  task = params.task.replace(
    model=model.replace(input_size=[*size, model.input_size[-1]]),
    train_data=params.task.train_data.replace(progressive_resizing=None),
  )
  return model_work.count_macs(task_factory.get_task(task).build_model())
