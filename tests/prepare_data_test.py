"""Tests of official_ext.prepare_data and official_ext.datasets.writer."""

import os
import re
import resource
import shlex
import signal
import types

import gin
import numpy as np
import pytest
import tensorflow_datasets as tfds
from helpers import commands
from helpers.pictures import noise, save
from PIL import Image

from official_ext import prepare_data
from official_ext.errors import UserError
from official_ext.local_data import cifar10_archive, image_folder, picture
from official_ext.machine import stopping

N = 20  # images in a batch, instead of 10,000
CLASSES = list(cifar10_archive.CLASS_NAMES)
VERSION = tfds.builder_cls('cifar10').VERSION  # of the installed TFDS


@pytest.fixture
def run(monkeypatch):
  """Runs the command in this process, whose flags stay as they are."""
  handlers = {n: signal.getsignal(n) for n in stopping.signals()}

  def run(**flags):
    options = {
      name for names in prepare_data.OPTIONS.values() for name in names
    }
    values = dict.fromkeys((*prepare_data.OPTIONS, *options, 'data_dir'))
    values |= {
      key: str(value) if isinstance(value, os.PathLike) else value
      for key, value in flags.items()
    }
    monkeypatch.setattr(prepare_data, 'FLAGS', types.SimpleNamespace(**values))
    prepare_data.main()

  yield run
  for number, handler in handlers.items():
    signal.signal(number, handler)


@pytest.fixture(scope='module')
def records():
  """Six batches of records: a label and the planes of an image."""
  rng = np.random.default_rng(0)
  records = rng.integers(0, 256, (6, N, 3073), dtype=np.uint8)
  records[..., 0] %= 10
  return records


@pytest.fixture
def archive(tmp_path, monkeypatch, records):
  """A small CIFAR-10, unpacked."""
  monkeypatch.setattr(cifar10_archive, 'BATCH_SIZE', N)
  folder = tmp_path / 'cifar-10-batches-bin'
  folder.mkdir()
  names = [*(f'data_batch_{i}.bin' for i in range(1, 6)), 'test_batch.bin']
  for name, batch in zip(names, records, strict=True):
    (folder / name).write_bytes(batch.tobytes())
  (folder / 'batches.meta.txt').write_text('\n'.join(CLASSES) + '\n\n')
  return folder


@pytest.fixture
def photos(tmp_path):
  """Images of 10×8 of three classes, of which one is greyscale."""
  rng = np.random.default_rng(1)
  folder = tmp_path / 'photos'
  for split, count in (('train', 4), ('test', 2)):
    for name in ('bee', 'ant', 'cat'):
      (folder / split / name).mkdir(parents=True)
      for i in range(count):
        shape = (8, 10) if name == 'cat' else (8, 10, 3)
        image = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
        image.save(folder / split / name / f'{i}.png')
  return folder


def below(folder):
  """Returns all that lies below a folder: paths and the bytes of files."""
  return {
    path.relative_to(folder): path.read_bytes() if path.is_file() else None
    for path in folder.rglob('*')
  }


def next_command(output):
  """Returns the words of the command that was printed last."""
  before, command = output.splitlines()[-1].split('Next: ')
  assert not before
  words = shlex.split(command)
  assert words[:4] == ['python', '-m', 'official_ext.train', '--gin_file']
  return words[4:]


def bindings_of(recipe):
  """Returns what a recipe binds itself, as gin reads it."""
  names = types.SimpleNamespace(
    configurable_reference=lambda name, evaluate: f'@{name}'
  )
  return {
    f'{statement.selector}.{statement.arg_name}': statement.value
    for statement in gin.config_parser.ConfigParser(recipe.read_text(), names)
    if isinstance(statement, gin.config_parser.BindingStatement)
  }


def test_tfds_loads_the_archive_as_cifar10(
  archive, run, records, tmp_path, capsys
):
  out = tmp_path / 'out dir'
  run(archive=archive, data_dir=out)
  datasets, info = tfds.load('cifar10', data_dir=out, with_info=True)
  assert info.features['label'].names == CLASSES
  examples = {
    str(example['id'], 'utf-8'): (example['label'], example['image'])
    for dataset in datasets.values()
    for example in tfds.as_numpy(dataset)
  }
  flat = [*records[:5].reshape(-1, 3073), *records[5]]
  ids = [f'train_{i:05d}' for i in range(5 * N)]
  ids += [f'test_{i:05d}' for i in range(N)]
  assert examples.keys() == set(ids)
  for name, record in zip(ids, flat, strict=True):
    label, image = examples[name]
    assert label == record[0]
    planes = record[1:].reshape(3, 32, 32)
    np.testing.assert_array_equal(np.moveaxis(image, -1, 0), planes)
  output = capsys.readouterr().out
  assert (
    f'Wrote cifar10/{VERSION} to {out}/cifar10/{VERSION}: 100 train and 20 '
    'test images of 32×32 pixels in 10 classes (airplane, autom' in output
  )
  assert next_command(output) == [
    'gin/resnet9_v100.gin',
    '--gin_params',
    f'data.data_dir="{out}"',
  ]


def test_writes_what_tfds_itself_writes(archive, run, tmp_path, monkeypatch):
  monkeypatch.setattr(
    tfds.download.DownloadManager,
    'download_and_extract',
    lambda self, url: str(tmp_path),
  )
  theirs, ours = tmp_path / 'theirs', tmp_path / 'ours'
  tfds.builder('cifar10', data_dir=theirs).download_and_prepare()
  run(archive=tmp_path, data_dir=ours)
  files, our_files = below(theirs / 'cifar10'), below(ours / 'cifar10')
  assert files.keys() == our_files.keys()
  # The module of the builder, and the order of the fields in a record, differ.
  for path in files:
    if not path.name.startswith(('dataset_info', 'cifar10-')):
      assert files[path] == our_files[path]
  for split in ('train', 'test'):
    examples, our_examples = (
      list(tfds.as_numpy(tfds.load('cifar10', data_dir=place, split=split)))
      for place in (theirs, ours)
    )
    for example, our_example in zip(examples, our_examples, strict=True):
      assert example.keys() == our_example.keys()
      for key, value in example.items():
        np.testing.assert_array_equal(value, our_example[key])


def test_tfds_reads_a_folder_under_its_new_name(photos, run, tmp_path, capsys):
  out = tmp_path / 'out'
  run(folder=photos, name='my_bugs', data_dir=out)
  builder = tfds.builder('my_bugs', data_dir=out)
  assert builder.info.features['label'].names == ['ant', 'bee', 'cat']
  assert builder.info.features['image'].shape == (8, 10, 3)
  assert builder.info.supervised_keys == ('image', 'label')
  total = []
  for split, count in (('train', 12), ('test', 6)):
    assert builder.info.splits[split].num_examples == count
    written = sorted(
      (int(label), image.tobytes())
      for image, label in tfds.as_numpy(
        builder.as_dataset(split=split, as_supervised=True)
      )
    )
    expected = sorted(
      (label, np.asarray(Image.open(path).convert('RGB')).tobytes())
      for label, name in enumerate(('ant', 'bee', 'cat'))
      for path in (photos / split / name).iterdir()
    )
    assert written == expected
    if split == 'train':
      total = np.frombuffer(b''.join(image for _, image in expected), np.uint8)
  output = capsys.readouterr().out
  assert '6 of 18 images are grey; they are stored as RGB, as the oth' in output
  (recipe,) = next_command(output)
  assert recipe == str(out / 'my_bugs.gin')
  bindings = bindings_of(out / 'my_bugs.gin')
  assert bindings.pop('data.mean_rgb') == pytest.approx(
    total.reshape(-1, 3).mean(0), abs=0.01
  )
  assert bindings.pop('data.stddev_rgb') == pytest.approx(
    total.reshape(-1, 3).std(0), abs=0.01
  )
  assert bindings.pop('data.data_dir') == str(out)
  assert bindings.pop('data.dataset') == 'my_bugs'
  assert bindings.pop('data.batch_size') == 12 // 4
  assert bindings['crop.padding'] == 1  # Of a side of 8 pixels.
  assert bindings['cutout.size'] == 2


def test_a_channel_that_is_empty_and_a_place_of_rare_letters(
  run, tmp_path, capsys
):
  """Gin takes what is printed: a deviation above 0, a path as it is."""
  pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
  pixels[..., 2] = 0
  for split in ('train', 'test'):
    for name in ('ant', 'bee'):
      place = tmp_path / 'photos' / split / name
      place.mkdir(parents=True)
      Image.fromarray(pixels).save(place / '0.png')
  out = tmp_path / '𠮷😀'
  run(folder=tmp_path / 'photos', name='dyes', data_dir=out)
  assert next_command(capsys.readouterr().out) == [str(out / 'dyes.gin')]
  bindings = bindings_of(out / 'dyes.gin')
  assert bindings['data.data_dir'] == str(out)
  assert bindings['data.stddev_rgb'][2] == 1.0
  assert min(bindings['data.stddev_rgb']) >= 1


def test_pictures_that_are_too_small_are_not_written(run, tmp_path):
  for split in ('train', 'test'):
    for name in ('ant', 'bee'):
      place = tmp_path / 'photos' / split / name
      place.mkdir(parents=True)
      Image.new('RGB', (9, 7)).save(place / '0.png')
  with pytest.raises(UserError, match=r'\(9×7\) and 3 more: less than 8 pix'):
    run(folder=tmp_path / 'photos', name='tiny', data_dir=tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


def test_leaves_an_existing_data_set_as_it_is(archive, run, tmp_path):
  out = tmp_path / 'out'
  run(archive=archive, data_dir=out)
  before = below(out)
  with pytest.raises(UserError, match=r'cifar10/3\.0\.2 is there already and'):
    run(archive=archive, data_dir=out)
  assert below(out) == before


def test_writes_beside_other_data_sets(photos, run, tmp_path):
  out = tmp_path / 'out'
  run(folder=photos, name='first', data_dir=out)
  before = below(out)
  run(folder=photos, name='second', data_dir=out)
  after = below(out)
  firsts = {p for p in after if p.parts[0].startswith('first')}
  assert firsts == before.keys()
  assert before.items() <= after.items()
  assert {p.parts[0] for p in after} == {
    'first',
    'first.gin',
    'second',
    'second.gin',
  }


def words_of(examples):
  """Returns labels and pixels of a data set, sorted."""
  return sorted((int(label), image.tobytes()) for image, label in examples)


def test_a_messy_folder_becomes_a_data_set(run, tmp_path, capsys):
  """Not split, of several sizes and formats, with a system's files between."""
  folder, out = tmp_path / 'mess', tmp_path / 'out'
  seed = 0
  for name, count in (('ant', 20), ('bee', 5)):
    for i in range(count):
      size = (40, 30) if i % 2 else (24, 24)
      form = ('png', 'webp', 'bmp')[i % 3]
      save(folder / name / f'{i}.{form}', noise(seed, (*size, 3)))
      seed += 1
    save(folder / name / 'grey.jpg', noise(seed, (24, 24)))
    save(folder / name / 'inks.jpg', noise(seed, (24, 24, 3)), 'CMYK')
    (folder / name / 'Thumbs.db').touch()
  run(folder=folder, name='mess', data_dir=out, resize=16, test_share=0.2)
  builder = tfds.builder('mess', data_dir=out)
  splits = {
    split: words_of(
      tfds.as_numpy(builder.as_dataset(split=split, as_supervised=True))
    )
    for split in ('train', 'test')
  }
  counts = {
    split: [sum(label == i for label, _ in pairs) for i in range(2)]
    for split, pairs in splits.items()
  }
  assert counts == {'train': [18, 6], 'test': [4, 1]}
  options = picture.Options(side=16)
  assert sorted(splits['train'] + splits['test']) == words_of(
    (picture.read(path, options).pixels, label)
    for label, name in enumerate(('ant', 'bee'))
    for path in (folder / name).iterdir()
    if path.name != 'Thumbs.db'
  )
  output = capsys.readouterr().out
  notes = output.partition('Wrote ')[0].splitlines()
  assert notes == [
    f'Left out: {folder}/ant/Thumbs.db and 1 more (hidden, or a file of the '
    'system).',
    "CMYK, stored as RGB by Pillow's formula without a colour profile: "
    f'{folder}/ant/inks.jpg and 1 more.',
    'Brought to 16×16: 29 of 29 images, by scaling the shorter side '
    '(antialiased, Lanczos) and cropping around the centre; 0 of them were '
    'smaller.',
    'Drawn for test: 5 of 29 images, 20% of each class, by --seed 0; equal '
    'images stay together.',
    '2 of 29 images are grey; they are stored as RGB, as the others have '
    'colours.',
  ]
  pixels = np.frombuffer(b''.join(p for _, p in splits['train']), np.uint8)
  bindings = bindings_of(out / 'mess.gin')
  assert bindings['data.mean_rgb'] == pytest.approx(
    pixels.reshape(-1, 3).mean(0), abs=0.01
  )
  assert bindings['data.batch_size'] == 24 // 4


def test_a_folder_is_drawn_from_alike_however_it_is_listed(run, tmp_path):
  written = []
  for order in (1, -1):
    folder, out = tmp_path / f'in{order}', tmp_path / f'out{order}'
    for seed in range(20):
      save(folder / 'ab'[seed % 2] / f'{order * seed}.png', noise(seed))
    run(folder=folder, name='two', data_dir=out, test_share=0.3, seed=5)
    test = tfds.load('two', data_dir=out, split='test', as_supervised=True)
    written.append(words_of(tfds.as_numpy(test)))
  assert len(written[0]) == 6
  assert written[0] == written[1]


def test_arrays_become_a_data_set(run, tmp_path, capsys):
  pixels = {'train': noise(0, (12, 28, 28)), 'test': noise(1, (4, 28, 28))}
  labels = np.arange(12) % 3
  path, out = tmp_path / 'a.npz', tmp_path / 'out'
  np.savez(
    path,
    x_train=pixels['train'],
    y_train=labels,
    x_test=pixels['test'],
    y_test=labels[:4],
  )
  run(npz=path, name='digits', data_dir=out, classes='one,two,three')
  builder = tfds.builder('digits', data_dir=out)
  assert builder.info.features['label'].names == ['one', 'two', 'three']
  assert builder.info.features['image'].shape == (28, 28, 1)
  for split, expected in pixels.items():
    read = builder.as_dataset(split=split, as_supervised=True)
    assert words_of(tfds.as_numpy(read)) == words_of(
      zip(expected, labels, strict=False)
    )
  output = capsys.readouterr().out
  assert output.startswith('All images are grey: they are stored with one ch')
  bindings = bindings_of(out / 'digits.gin')
  assert bindings['data.mean_rgb'] == [
    pytest.approx(pixels['train'].mean(), abs=0.01)
  ]
  assert bindings['data.stddev_rgb'] == [
    pytest.approx(pixels['train'].std(), abs=0.01)
  ]
  run(npz=path, name='colours', data_dir=out, rgb=True)
  builder = tfds.builder('colours', data_dir=out)
  assert builder.info.features['image'].shape == (28, 28, 3)


def test_validation_images_are_written_too(photos, run, tmp_path):
  for name in ('ant', 'bee', 'cat'):
    save(photos / 'val' / name / '0.png', noise(7))
  run(folder=photos, name='three', data_dir=tmp_path / 'out')
  info = tfds.builder('three', data_dir=tmp_path / 'out').info
  counts = {name: split.num_examples for name, split in info.splits.items()}
  assert counts == {'train': 12, 'test': 6, 'validation': 3}


def interrupt(*unused_args):
  os.kill(os.getpid(), signal.SIGTERM)


def fail(*unused_args):
  raise OSError(28, 'No space left on device')


def fill(*unused_args):
  """No file grows any more, which looks like a full disk to who writes."""
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))


@pytest.fixture
def limits():
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  yield
  resource.setrlimit(resource.RLIMIT_FSIZE, before)
  signal.signal(signal.SIGXFSZ, handler)


def change(path, unused_options):
  save(path, noise(99))


@pytest.mark.parametrize(
  ('happens', 'error', 'text'),
  [
    (interrupt, SystemExit, '143'),
    (
      fail,
      UserError,
      r'my_bugs/1\.0\.0 cannot be written \(No space left on device\); free ',
    ),
    (
      fill,
      UserError,
      r'my_bugs/1\.0\.0 cannot be written \(File too large\); free space or ',
    ),
    (
      change,
      UserError,
      r'^\S*/test/bee/0\.png has changed while the images were read; run the ',
    ),
  ],
)
@pytest.mark.parametrize('filled', [False, True])
def test_a_failure_half_way_leaves_nothing(
  photos, run, tmp_path, monkeypatch, limits, happens, error, text, filled
):
  out = tmp_path / 'new' / 'out'
  if filled:
    (out / 'my_bugs' / '0.9.0').mkdir(parents=True)
  before = below(tmp_path / 'new')
  read, seen = picture.read, []

  def read_some(path, options):
    seen.append(path)
    if len(seen) == 18 + 15:  # All are read, those of training written.
      assert list(tmp_path.glob('new/out/my_bugs/*/*train.tfrecord*'))
      happens(path, options)
    return read(path, options)

  monkeypatch.setattr(picture, 'read', read_some)
  monkeypatch.setattr(image_folder, '_KEPT_BYTES', 0)
  with pytest.raises(error, match=text):
    run(folder=photos, name='my_bugs', data_dir=out)
  assert len(seen) >= 18 + 15
  assert below(tmp_path / 'new') == before
  assert (tmp_path / 'new').exists() == filled


def test_a_bad_source_leaves_nothing(archive, photos, run, tmp_path):
  (archive / 'data_batch_5.bin').unlink()
  (photos / 'test/cat/0.png').write_bytes(b'x')
  with pytest.raises(UserError, match=r'lacks data_batch_5\.bin'):
    run(archive=archive, data_dir=tmp_path / 'out')
  with pytest.raises(UserError, match=r'cat/0\.png: no picture in PNG'):
    run(folder=photos, name='my_bugs', data_dir=tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
  'name', ['Bugs', 'my-bugs', '2bugs', '', 'a/b', '../bugs', 'class', 'é']
)
def test_refuses_a_name_that_is_not_in_snake_case(photos, run, tmp_path, name):
  with pytest.raises(UserError, match=r'is not a name in|go togeth'):
    run(folder=photos, name=name, data_dir=tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('name', ['cifar10', 'mnist', 'procedural_shapes'])
def test_refuses_the_name_of_a_known_data_set(photos, run, tmp_path, name):
  with pytest.raises(
    UserError, match=f"'{name}' is a data set that TFDS knows"
  ):
    run(folder=photos, name=name, data_dir=tmp_path / 'out')


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    ({}, 'give one of --archive, --folder, --idx and --npz; see --help'),
    ({'archive': 'a', 'folder': 'b'}, 'give one of --archive, --folder, --i'),
    ({'folder': 'b'}, '--folder and --name go together'),
    ({'npz': 'b'}, '--npz and --name go together'),
    (
      {'archive': 'a', 'name': 'c'},
      '--name goes with --folder or --idx or --npz, not with --archive; see',
    ),
    (
      {'npz': 'a', 'name': 'c', 'resize': 32},
      '--resize goes with --folder, not with --npz',
    ),
    (
      {'folder': 'a', 'name': 'c', 'classes': 'x,y'},
      '--classes goes with --idx or --npz, not with --folder',
    ),
    (
      {'idx': 'a', 'name': 'c', 'data_dir': 'd', 'test_share': 1.0},
      r'--test_share=1\.0 is not between 0 and 1; use 0\.1',
    ),
    (
      {'idx': 'a', 'name': 'c', 'data_dir': 'd', 'seed': 0},
      '--seed is that of --test_share; give both or neither',
    ),
    (
      {'folder': 'a', 'name': 'c', 'data_dir': 'd', 'resize': 0},
      '--resize=0 is not between 8 and 1024 pixels; use 32',
    ),
    ({'archive': 'a'}, 'give --data_dir, the folder to write to'),
    ({'archive': 'a', 'data_dir': 'gs://b/c'}, 'gs://b/c is not on this mach'),
  ],
)
def test_says_which_flags_are_needed(run, flags, message):
  with pytest.raises(UserError, match=message):
    run(**flags)


def test_refuses_a_data_dir_that_is_a_file(archive, run, tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(UserError, match='file is not a folder that can be writ'):
    run(archive=archive, data_dir=tmp_path / 'file' / 'out')


def test_ends_with_one_line_and_no_trace(tmp_path):
  (tmp_path / 'cifar-10-python.tar.gz').write_bytes(b'\x1f\x8b broken')
  arguments = '--archive=cifar-10-python.tar.gz', '--data_dir=out'
  result = commands.run('prepare_data', *arguments, cwd=tmp_path)
  assert result.returncode == 2
  *_, last = result.stderr.splitlines()
  assert last.startswith(f'error: {tmp_path}/cifar-10-python.tar.gz is damaged')
  assert 'Traceback' not in result.stderr
  assert not (tmp_path / 'out').exists()


def test_ends_with_a_line_for_each_mistake(tmp_path):
  for name in ('ant', 'bee'):
    save(tmp_path / 'in' / name / '0.png', noise(0))
    (tmp_path / 'in' / name / '1.png').touch()
  arguments = '--folder=in', '--name=bugs', '--data_dir=out'
  result = commands.run('prepare_data', *arguments, cwd=tmp_path)
  assert result.returncode == 2
  errors = re.findall('^error: .*', result.stderr, re.MULTILINE)
  assert errors == [
    f'error: {tmp_path}/in: no test images; give --test_share 0.1, which draws '
    'a tenth of each class.',
    f'error: {tmp_path}/in/ant/1.png and 1 more: empty; remove, or get anew.',
  ]
  assert result.stderr.endswith(f'{errors[-1]}\n')
  assert not (tmp_path / 'out').exists()
