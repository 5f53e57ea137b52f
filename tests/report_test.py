"""The report's numbers, and the page as a browser shows it."""

import base64
import contextlib
import html.parser
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
from helpers import commands, tiny
from official.core import task_factory
from PIL import Image

from official_ext import report as command
from official_ext.errors import UserError
from official_ext.reporting import content, diagram, figures, page
from official_ext.serving import trained_model

ROOT = pathlib.Path(__file__).parents[1]
CHROMIUM = next(
  filter(
    None,
    map(
      shutil.which,
      ('chromium', 'chromium-browser', 'google-chrome', 'chrome'),
    ),
  ),
  None,
)


@pytest.fixture(scope='module')
def trained(trained_run):
  return trained_model.load_for_inference(str(trained_run))


@pytest.fixture(scope='module')
def gathered(trained):
  return content.gather(trained)


def decode(uri):
  head, _, data = uri.partition(',')
  assert head == 'data:image/png;base64'
  return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_the_counts_are_those_of_the_test_images(gathered, trained):
  data = trained.task.data.load(trained.params.task.validation_data)
  labels = data.labels.numpy()
  predicted = np.argmax(trained.logits(data.images), axis=1)
  assert gathered['accuracy'] == np.mean(labels == predicted)
  assert gathered['accuracy'] == pytest.approx(
    gathered['rows'][-1]['test_accuracy'], abs=1e-6
  )
  # The test images are a slice, in which classes are of unequal size.
  recalls = [np.mean(predicted[labels == i] == i) for i in np.unique(labels)]
  assert gathered['balanced_accuracy'] == pytest.approx(np.mean(recalls))
  assert gathered['balanced_accuracy'] == pytest.approx(
    gathered['rows'][-1]['test_balanced_accuracy'], abs=1e-6
  )
  for label, result in enumerate(gathered['classes']):
    of_class = labels == label
    assert result.name == trained.class_names[label]
    assert result.num_images == of_class.sum()
    assert result.num_right == (of_class & (predicted == label)).sum()
    if result.confused_with:
      wrong = trained.class_names.index(result.confused_with)
      wrongs = np.bincount(predicted[of_class & (predicted != label)])
      assert wrongs[wrong] == wrongs.max()


def test_mistakes_are_the_most_confident_wrong_ones(gathered, trained):
  data = trained.task.data.load(trained.params.task.validation_data)
  names = np.array(trained.class_names)
  logits = np.float64(trained.logits(data.images))
  odds = np.exp(logits)
  confidence = (odds / odds.sum(axis=1, keepdims=True)).max(axis=1)
  truth, taken = names[data.labels.numpy()], names[logits.argmax(axis=1)]
  mistakes = gathered['mistakes']
  order = sorted(np.flatnonzero(truth != taken), key=lambda i: -confidence[i])[
    : len(mistakes)
  ]
  assert 0 < len(mistakes) <= 24
  for mistake, i in zip(mistakes, order, strict=True):
    assert (mistake.name, mistake.predicted) == (truth[i], taken[i])
    assert mistake.probability == pytest.approx(confidence[i], rel=1e-4)
    np.testing.assert_array_equal(decode(mistake.picture), data.images[i])


@pytest.mark.parametrize('on_device', [False, True])
def test_the_sheet_shows_the_first_training_batch(shapes_dir, on_device):
  flag = f'data.preprocess_on_device = {on_device}'
  params = tiny.config(shapes_dir, [flag])
  task = task_factory.get_task(params.task)
  trained = trained_model.TrainedModel(
    '', params, task, task.build_model(), 0, False, []
  )
  images = content._augmented(trained)
  assert images.dtype == np.uint8
  # The same augmentation on the host, whatever the run does.
  params = tiny.config(shapes_dir)
  batch, _ = next(iter(task.build_inputs(params.task.train_data)))
  data = params.task.train_data
  seen = batch * data.stddev_rgb + data.mean_rgb
  np.testing.assert_allclose(images, seen, atol=0.6)


def test_a_sheet_is_made_of_its_images():
  images = np.random.RandomState(0).randint(0, 256, (7, 4, 5, 3), np.uint8)
  sheet = decode(figures.sheet(images, columns=3))
  assert sheet.shape == (2 * 6, 3 * 7, 3)
  np.testing.assert_array_equal(sheet[7:11, 8:13], images[4])


def test_a_sheet_of_fewer_images_than_columns():
  images = np.random.RandomState(0).randint(0, 256, (2, 4, 5, 3), np.uint8)
  sheet = decode(figures.sheet(images, columns=12))
  assert sheet.shape == (6, 2 * 7, 3)
  np.testing.assert_array_equal(sheet[1:5, 8:13], images[1])


@pytest.mark.parametrize('channels', [1, 2, 3])
def test_pictures_of_any_channels(channels):
  image = np.random.RandomState(0).randint(0, 256, (4, 5, channels), np.uint8)
  expected = image if channels == 3 else image[..., 0]
  np.testing.assert_array_equal(decode(figures.picture(image)), expected)


def test_the_diagram_is_the_network(trained):
  blocks = diagram.blocks(trained.model)
  conv = '{}_conv', ['conv 3×3, {}', 'batch norm', 'relu']
  pooled = '{}_conv', ['conv 3×3, {}', 'batch norm', 'max pool 2×2', 'relu']

  def row(kind, name, filters):
    return kind[0].format(name), [kind[1][0].format(filters), *kind[1][1:]]

  # ReLU commutes with the pooling before it.
  assert [(block.name, block.words) for block in blocks[1:]] == [
    row(conv, 'prep', 4),
    row(pooled, 'layer1', 8),
    row(conv, 'layer1_res1', 8),
    row(conv, 'layer1_res2', 8),
    ('layer1_add', ['add']),
    row(pooled, 'layer2', 16),
    row(pooled, 'layer3', 16),
    row(conv, 'layer3_res1', 16),
    row(conv, 'layer3_res2', 16),
    ('layer3_add', ['add', 'max pool 4×4', 'flatten']),
    ('linear', ['dense, 10', '× 0.125']),
  ]
  assert [block.inputs for block in blocks] == (
    [[], [0], [1], [2], [3], [2, 4], [5], [6], [7], [8], [7, 9], [10]]
  )
  assert [b.shape for b in blocks[:3]] == ['32×32×3', '32×32×4', '16×16×8']
  assert blocks[-1].shape == '10'
  total = sum(block.num_parameters for block in blocks)
  assert total == trained.model.count_params()


class Parser(html.parser.HTMLParser):
  """Collects what the page refers to, and checks that its tags fit."""

  def __init__(self):
    super().__init__()
    self.tags, self.references, self.images = [], [], []

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    for name, value in attrs:
      assert not name.startswith('on')
      if name in ('src', 'href', 'srcset', 'data', 'action', 'xlink:href'):
        self.references.append(value)
        if tag == 'img':
          self.images.append(value)


@pytest.fixture(scope='module')
def written(trained_run, tmp_path_factory):
  """The file that the command writes, over an earlier one."""
  output = tmp_path_factory.mktemp('work') / 'page.html'
  output.write_text('earlier')
  flags = types.SimpleNamespace(
    model_dir=str(trained_run),
    output=str(output),
    checkpoint='',
    data_dir='',
    records_dir=None,
  )
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(command, 'FLAGS', flags)
    command.main()
  assert os.listdir(output.parent) == ['page.html']
  return output


def test_the_page_carries_all_its_pictures(written, gathered):
  text = written.read_text()
  parser = Parser()
  parser.feed(text)
  # Curves, confusion matrix, mistakes, training images.
  assert len(parser.images) == 3 + len(gathered['mistakes'])
  for image in parser.images:
    assert decode(image).size
  assert all(uri.startswith('data:') for uri in parser.references)
  assert not {'script', 'iframe', 'object', 'embed'} & set(parser.tags)
  assert 'url(' not in text.replace('url(#tip)', '')
  assert '://' not in text
  for name in gathered['versions']:
    assert name in text
  assert 'triangular.peak_epoch = 1' in text


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ([], 'error: give --model_dir, the folder of a run; see --help.'),
    (['page.html'], "error: 'page.html' is not an option"),
  ],
)
def test_a_mistake_ends_in_one_line(arguments, message):
  result = commands.run('report', *arguments)
  assert result.returncode == 2
  (line,) = result.stderr.splitlines()
  assert line.startswith(message)


def test_a_folder_is_no_output(trained_run, tmp_path, monkeypatch):
  flags = types.SimpleNamespace(
    model_dir=str(trained_run),
    output=str(tmp_path),
    checkpoint='',
    data_dir='',
    records_dir=None,
  )
  monkeypatch.setattr(command, 'FLAGS', flags)
  with pytest.raises(UserError, match=f'--output={tmp_path} is a folder; name'):
    command.main()
  assert list(tmp_path.parent.glob(f'.{tmp_path.name}*')) == []


def test_names_are_escaped(gathered):
  evil = '<script>alert(1)</script>'
  text = page.render(gathered | {'title': evil, 'texts': {evil: evil}})
  assert evil not in text
  assert text.count('&lt;script&gt;') == 4


def test_formulas_in_names_are_drawn_as_they_are():
  names = ['$x', 'a$b$', r'\alpha$']
  assert decode(
    figures.uri(figures.confusion(np.eye(3, dtype=int), names))
  ).size


@pytest.mark.parametrize(
  ('key', 'title'),
  [
    ('test_accuracy_mirror', 'with the mirror image'),
    ('test_balanced_accuracy', 'balanced accuracy'),
  ],
)
def test_other_accuracies_have_columns(gathered, key, title):
  """Rows of before they were asked for have none."""
  first, *others = [
    {name: row[name] for name in row if name != key} for row in gathered['rows']
  ]
  with_it = [first, *(row | {key: 0.12345} for row in others)]
  for rows, count in (([first, *others], 0), (with_it, len(others))):
    text = page.render(gathered | {'rows': rows})
    assert text.count(f'<th>{title}') == (count > 0)
    assert text.count('<td>0.1235') == count


def test_the_mean_of_the_classes_is_said_where_it_is_another(gathered):
  for value, said in ((0.12345, ['12.35%']), (None, [])):
    text = page.render(gathered | {'balanced_accuracy': value})
    found = re.findall(r'<strong>([\d.%]+)</strong>: the mean of those', text)
    assert found == said


def test_a_run_without_epochs_and_without_mistakes_has_a_page(gathered):
  changed = {'rows': [], 'curves': None, 'mistakes': []}
  text = page.render(gathered | changed)
  assert 'No epoch has ended yet.' in text
  assert 'Every test image is classified rightly.' in text


class Browser:
  """Speaks Chromium's DevTools protocol over a pair of pipes."""

  def __init__(self, command_pipe, answer_pipe):
    self._commands, self._answers = command_pipe, answer_pipe
    self._count, self._session = 0, {}
    self.events = []

  def call(self, method, **params):
    self._count += 1
    message = {'id': self._count, 'method': method, 'params': params}
    text = json.dumps(message | self._session)
    self._commands.write(text.encode() + b'\0')
    self._commands.flush()
    while (answer := self._read()).get('id') != self._count:
      self.events.append(answer)
    return answer['result']

  def open_tab(self):
    target = self.call('Target.createTarget', url='about:blank')['targetId']
    answer = self.call('Target.attachToTarget', targetId=target, flatten=True)
    self._session = {'sessionId': answer['sessionId']}

  def wait_for(self, event):
    while event not in [e.get('method') for e in self.events]:
      self.events.append(self._read())

  def evaluate(self, expression):
    answer = self.call(
      'Runtime.evaluate', expression=expression, returnByValue=True
    )
    return answer['result']['value']

  def _read(self):
    data = bytearray()
    while (byte := self._answers.read(1)) != b'\0':
      assert byte, 'Chromium has ended.'
      data += byte
    return json.loads(data)


# Chromium reads what it is told from file 3, and answers in file 4.
LAUNCH = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(arg), fcntl.F_DUPFD, 10) for arg in sys.argv[1:3]]
for pipe, number in zip(pipes, (3, 4)):
  os.dup2(pipe, number)
os.execv(sys.argv[3], sys.argv[3:])
"""


@contextlib.contextmanager
def chromium(folder):
  (child_in, to_child), (from_child, child_out) = os.pipe(), os.pipe()
  options = ('--headless', '--no-sandbox', '--disable-gpu', '--no-first-run')
  options += ('--remote-debugging-pipe', f'--user-data-dir={folder}')
  pipes = (str(child_in), str(child_out))
  process = subprocess.Popen(
    [sys.executable, '-c', LAUNCH, *pipes, CHROMIUM, *options],
    pass_fds=(child_in, child_out),
    stdin=subprocess.DEVNULL,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  os.close(child_in)
  os.close(child_out)
  try:
    with open(to_child, 'wb') as commands, open(from_child, 'rb') as answers:
      browser = Browser(commands, answers)
      yield browser
      browser.call('Browser.close')
  finally:
    process.kill()
    process.wait()


@pytest.mark.skipif(not CHROMIUM, reason='no Chromium is installed')
def test_a_browser_shows_every_picture_offline(written, gathered, tmp_path):
  with chromium(tmp_path) as browser:
    browser.open_tab()
    for domain in ('Runtime', 'Log', 'Network', 'Page'):
      browser.call(f'{domain}.enable')
    browser.call(
      'Network.emulateNetworkConditions',
      offline=True,
      latency=0,
      downloadThroughput=0,
      uploadThroughput=0,
    )
    browser.call('Page.navigate', url=written.as_uri())
    browser.wait_for('Page.loadEventFired')
    images = browser.evaluate(
      """[...document.images].map(image => ({
        width: image.naturalWidth,
        shown: image.checkVisibility() && image.clientHeight > 10,
        inside: image.getBoundingClientRect().right <= innerWidth,
      }))"""
    )
    assert len(images) == 3 + len(gathered['mistakes'])
    for image in images:
      assert image['width'] > 0
      assert image['shown']
      assert image['inside']
    boxes, arrows = browser.evaluate(
      "['rect', 'svg > path'].map(what => [...document.querySelectorAll(what)]"
      '.filter(x => x.getBoundingClientRect().height > 1).length)'
    )
    blocks = gathered['blocks']
    assert boxes == len(blocks)
    assert arrows == sum(len(block.inputs) for block in blocks)
    wide = 'document.documentElement.scrollWidth > innerWidth'
    assert not browser.evaluate(wide)
  methods = [event.get('method') for event in browser.events]
  assert 'Runtime.exceptionThrown' not in methods
  assert 'Runtime.consoleAPICalled' not in methods
  assert 'Log.entryAdded' not in methods
  requests = [
    event['params']['request']['url']
    for event in browser.events
    if event.get('method') == 'Network.requestWillBeSent'
  ]
  assert {url.split(':')[0] for url in requests} == {'file', 'data'}
