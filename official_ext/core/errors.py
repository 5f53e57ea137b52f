"""The one exception that ends a command with one line instead of a trace."""


class UserError(ValueError):
  """A mistake that the user can mend.

  Its text is one line that names the offending value, the place it came from
  and the mend, for example::

    task.train_data.global_batch_size=60000 is more than the 50000 images of
    cifar10:train; use a batch_size of at most 50000.

  Every command of this package prints it after `error: ` and exits with
  status 2; `--traceback` shows where it was raised.
  """
