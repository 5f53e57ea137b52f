"""Finds a TFDS data set by name and, where need be, prepares it."""

import concurrent.futures
import contextlib
import difflib
import importlib
import io
import multiprocessing
import os
import pathlib
import re

import tensorflow_datasets as tfds

from official_ext.errors import UserError

# What TFDS writes last beside the examples.
_INFO, _FEATURES = 'dataset_info.json', 'features.json'


def open_builder(
  name: str, data_dir: str, place: str
) -> tfds.core.DatasetBuilder:
  """Opens a data set that TFDS knows, or that lies in `data_dir`.

  One that is not prepared is prepared, in full or not at all. What is to be
  downloaded, from where and how much, is printed before; a file of which TFDS
  has no checksum is not downloaded.

  Args:
    name: TFDS name, with a config and a version if need be.
    data_dir: Folder of TFDS data sets; empty for TFDS' default.
    place: Config of the two before, for errors.

  Returns:
    A builder whose data set is prepared.

  Raises:
    UserError: If the data set is unknown, half-written or cannot be prepared.
  """
  data_dir = os.path.expanduser(data_dir)
  where = f"{place}.tfds_name='{name}'"
  builder = find(name, data_dir, where)
  if builder.data_path.exists():
    if builder.is_prepared():
      return builder
    raise _half_written(where, builder.data_path)
  urls = builder.url_infos or {}
  if urls and data_dir and not os.path.isdir(data_dir):
    raise UserError(
      f"{place}.tfds_data_dir='{data_dir}' does not exist; create it to have "
      f'{name} downloaded there, or {_local_way(builder, data_dir)}.'
    )
  try:
    _prepare(builder, urls, data_dir)
  except Exception as error:  # Of any type: the network's, the disk's, TFDS'.
    # Another process may have prepared it in the meantime.
    if not builder.data_path.exists():
      other = 'choose another tfds_data_dir'
      mend = _local_way(builder, data_dir) if urls else other
      raise UserError(
        f'{where} could not be prepared in {builder.data_path}: '
        f'{_reason(error)}; {mend}.'
      ) from error
  return find(name, data_dir, where)


def prepare_in_own_process(name: str, data_dir: str, place: str) -> None:
  """Prepares a data set where that has not been done, as `open_builder` does.

  TFDS computes with TensorFlow, and TensorFlow's first operation settles which
  devices and workers there are.
  """
  data_dir = os.path.expanduser(data_dir)
  builder = find(name, data_dir, f"{place}.tfds_name='{name}'")
  if builder.data_path.exists():
    return
  # Where a data set is defined, it is registered.
  module = type(builder).__module__
  spawn = multiprocessing.get_context('spawn')
  with concurrent.futures.ProcessPoolExecutor(1, spawn) as process:
    process.submit(_open, module, name, data_dir, place).result()


def _open(module: str, name: str, data_dir: str, place: str) -> None:
  importlib.import_module(module)
  open_builder(name, data_dir, place)


def find(name: str, data_dir: str, where: str) -> tfds.core.DatasetBuilder:
  """Finds a data set by name, prepared or not.

  Args:
    name: TFDS name, with a config and a version if need be.
    data_dir: Folder of TFDS data sets; empty for TFDS' default.
    where: What chose it, for errors.

  Raises:
    UserError: If the data set is unknown.
  """
  folder = data_dir or str(tfds.core.constants.DATA_DIR)
  try:
    return tfds.builder(name, data_dir=data_dir or None)
  except tfds.core.registered.DatasetNotFoundError as error:
    base_name = re.split('[/:]', name)[0]
    if data_dir and not os.path.isdir(folder):
      raise UserError(
        f'{where} is no data set of TFDS, and {folder} is not there; mend the '
        'name of the folder, or of the data set.'
      ) from error
    there = _folders_in(folder)
    if base_name in there:
      place = pathlib.Path(folder) / base_name
      raise _unusable(where, base_name, place) from error
    known = {*there, *tfds.list_builders(with_community_datasets=False)}
    close = difflib.get_close_matches(base_name, sorted(known), cutoff=0.5)
    mend = f'did you mean {", ".join(close)}?' if close else 'mend the name.'
    raise UserError(
      f'{where} is neither a data set of TFDS nor in {folder}; {mend}'
    ) from error
  except Exception as error:  # Of any type: TFDS', JSON's, protobuf's.
    raise UserError(
      f'{where} cannot be opened in {folder}: {_reason(error)}; mend the name, '
      'or delete the data set there and prepare it again.'
    ) from error


def _folders_in(folder: str) -> list[str]:
  if not os.path.isdir(folder):
    return []
  with os.scandir(folder) as entries:
    return [entry.name for entry in entries if entry.is_dir()]


def _prepare(
  builder: tfds.core.DatasetBuilder,
  urls: dict[str, tfds.download.checksums.UrlInfo],
  data_dir: str,
) -> None:
  """Writes the data set, after saying what that takes."""
  name = builder.info.full_name
  if urls:
    size = tfds.core.utils.Size(sum(info.size for info in urls.values()))
    print(f'Downloading {size} for {name} from {", ".join(urls)}', flush=True)
    print(f'If that is slow, {_local_way(builder, data_dir)}.', flush=True)
  else:
    tfds.disable_progress_bar()  # It takes seconds; the bars name odd files.
  print(f'Writing {name} to {builder.data_path}', flush=True)
  # TFDS would say that it downloads, even where nothing is to be had.
  with contextlib.redirect_stdout(io.StringIO()):
    builder.download_and_prepare(
      download_config=tfds.download.DownloadConfig(
        try_download_gcs=False, force_checksums_validation=True
      )
    )


def _unusable(where: str, name: str, folder: pathlib.Path) -> UserError:
  """Says what is wrong with a folder that bears the name of a data set."""
  descriptions = [*folder.glob(f'*/{_INFO}'), *folder.glob(f'*/*/{_INFO}')]
  whole = [
    str(path.parent.relative_to(folder))
    for path in sorted(descriptions)
    if (path.parent / _FEATURES).exists()
  ]
  if whole:
    *config, version = whole[-1].split('/')
    example = ':'.join(['/'.join([name, *config]), version])
    return UserError(
      f'{where} is not in {folder}, which holds {", ".join(whole)}; use one '
      f"of them, such as '{example}'."
    )
  version = '[0-9]*.[0-9]*.[0-9]*'
  if descriptions or [*folder.glob(version), *folder.glob(f'*/{version}')]:
    return _half_written(where, folder)
  return UserError(
    f'{where}: {folder} is no data set of TFDS; choose another name, or the '
    'tfds_data_dir in which the data set is.'
  )


def _half_written(where: str, path: os.PathLike | str) -> UserError:
  return UserError(
    f'{where}: {path} is half-written; delete it and prepare the data set '
    'again.'
  )


def _local_way(builder: tfds.core.DatasetBuilder, data_dir: str) -> str:
  """Returns how to do without the download."""
  source = '--archive FILE_OR_FOLDER'
  if builder.name != 'cifar10':
    source = f'--folder FOLDER --name my_{builder.name}'
  return (
    f'take a local copy: python -m official_ext.prepare_data {source} '
    f'--data_dir {data_dir or "DIR"}'
  )


def _reason(error: Exception) -> str:
  """Returns the first line of an error, without what TFDS puts before it."""
  text = re.sub('^Failed to construct dataset .*}": ', '', str(error).strip())
  return text.partition('\n')[0].rstrip(' .') or type(error).__name__
