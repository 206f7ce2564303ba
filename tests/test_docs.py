"""What the pages say: links lead somewhere, commands can be typed, the example of a new method trains and is tested."""

import re
import shlex
import sys
import tomllib
from collections import Counter
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise

import numpy as np
import pytest
import torch
from markdown_it import MarkdownIt
from mmengine.config import Config
from mmpretrain.models import ResNet

import mmrs_ssl
from mmrs_ssl.registry import MODELS
from mmrs_ssl.synthetic.layouts import LAYOUTS
from mmrs_ssl.synthetic.writing import write_geotiff
from mmrs_ssl.transfer import load_backbone
from mmrs_ssl_commands.main import COMMANDS, main, parser_of
from tests.commands.test_main import TOOLS
from tests.conftest import ROOT, log_of

SKIPPED = ('.venv', 'work_dirs', '_build', 'node_modules')
PAGES = [
    path
    for path in sorted(ROOT.rglob('*.md'))
    if not any(part in SKIPPED or (part.startswith('.') and part != '.github') for part in path.relative_to(ROOT).parts)
]
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]
MARKDOWN = MarkdownIt('commonmark').enable('table')


def tokens(page):
    """All tokens of a page, those of its texts too."""
    for token in MARKDOWN.parse(page.read_text()):
        yield token
        yield from token.children or ()


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    all_tokens = MARKDOWN.parse(page.read_text())
    titles = [
        ''.join(part.content for part in after.children)
        for token, after in pairwise(all_tokens)
        if token.type == 'heading_open'
    ]
    slugs = [re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles]
    seen: Counter[str] = Counter()
    for slug in slugs:
        yield f'{slug}-{seen[slug]}' if seen[slug] else slug
        seen[slug] += 1


@pytest.mark.parametrize('name', NAMES)
def test_links_lead_somewhere(name):
    page = ROOT / name
    links = [str(token.attrs['href']) for token in tokens(page) if token.type == 'link_open']
    links += [str(token.attrs['src']) for token in tokens(page) if token.type == 'image']
    for link in links:
        if re.match(r'\w+:', link):
            continue
        path, _, anchor = link.partition('#')
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor:
            assert anchor in set(anchors(target)), link


def typed(page):
    """The commands of this project in a page's blocks of code, and with arguments in its lines: words, and if whole."""
    for token in tokens(page):
        if token.type in ('fence', 'code_block'):
            lines = token.content.replace('\\\n', ' ').splitlines() if not token.info.startswith('python') else []
        else:
            lines = [token.content.replace('\n', ' ')] if token.type == 'code_inline' else []
        for line in lines:
            words = re.sub(r'^\s*(\$ )?(\.venv/bin/|mim run )?(python3? )?', '', line)
            if re.match(r'(mmrs-ssl [a-z-]+|tools/\w+\.py) \S', words):
                words = re.sub(r'\bN\b', '8', words)  # a number of yours
                yield shlex.split(words, comments=True), token.type != 'code_inline'


def test_commands_are_found():
    """So that the next test has something to look at."""
    found = Counter(page.name for page in PAGES for _ in typed(page))
    assert found['README.md'] > 10
    assert found['pretrain_my_archive.md'] > 8
    assert found['use_a_backbone.md'] > 2


@pytest.mark.parametrize('name', NAMES)
def test_commands_can_be_typed(name, capsys):
    for (first, *words), whole in typed(ROOT / name):
        if first == 'mmrs-ssl':
            command, words, tool = words[0], words[1:], ''
        else:
            command, tool = TOOLS.get(first.removeprefix('tools/'), ''), first
            assert (ROOT / tool).is_file(), tool
        if tool and not command:  # gpu_check.py has a parser of its own
            continue
        assert command in COMMANDS, (command, words)
        if words in (['--help'], ['COMMAND', '--help']):
            continue
        try:
            args = parser_of(command, tool).parse_args(words)
        except SystemExit:
            said = capsys.readouterr().err
            if whole or 'arguments are required' not in said:  # in a line of text an option may stand alone
                pytest.fail(f'{first} {command} {words}: {said}')
            continue
        check_config_and_names(args, by_name=not tool)


def check_config_and_names(args, by_name):
    """A config that is named ships, and has what --cfg-options name."""
    config = getattr(args, 'config', None) or ''
    known = config.startswith('configs/') or (
        by_name and re.match(r'(cmid|dino_mc|mssdf|mmpretrain|downstream)/', config)
    )
    if not known or not isinstance(config, str):
        return
    if config.startswith('configs/'):
        cfg = Config.fromfile(ROOT / config)
    else:
        cfg = mmrs_ssl.get_config(config.removesuffix('.py'))
    for key in getattr(args, 'cfg_options', None) or {}:
        assert key.split('.')[0] in {*cfg, *cfg.get('short_names', {})}, (config, key)


def test_files_that_are_named_are_there():
    text = (ROOT / 'PROVENANCE.md').read_text()
    named = [path for path in re.findall(r'`([\w/]+(?:\.py|/))`', text) if '/' in path]
    assert len(named) > 15
    assert not [path for path in named if not any((folder / path).exists() for folder in (ROOT, ROOT / 'mmrs_ssl'))]


def test_layouts_are_counted():
    assert f'in {len(LAYOUTS)} layouts' in (ROOT / 'README.md').read_text()


def test_every_room_has_a_page():
    rooms = {path.parent.name for path in (ROOT / 'mmrs_ssl').glob('*/__init__.py')}
    pages = {path.stem: path.read_text() for path in (ROOT / 'docs' / 'api').glob('*.rst')}
    assert pages.pop('package').endswith('.. room:: mmrs_ssl\n')
    assert pages.keys() == rooms
    assert all(text.endswith(f'.. room:: mmrs_ssl.{room}\n') for room, text in pages.items())
    index = (ROOT / 'docs' / 'api' / 'index.md').read_text()
    assert {f'{room}.rst' for room in (*rooms, 'package')} == set(re.findall(r'\]\((\w+\.rst)\)', index))


# ----- docs/add_a_method.md -----------------------------------------------------------------------------------------

BLOCKS = {  # by the path that their first line says
    match[2]: match[1] + match[3]
    for match in re.finditer(r'```python\n(# (\S+\.py)\n)(.*?)```', (ROOT / 'docs/add_a_method.md').read_text(), re.S)
}
METHOD, CONFIG, TEST = BLOCKS
MUTANT = re.search(r'```toml\n(.*?)```', (ROOT / 'docs/add_a_method.md').read_text(), re.S)[1]


def run_module(path, name, code):
    """Import code as the module of this name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)
    spec = spec_from_file_location(name, path)
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def method(tmp_path):
    """Registers the page's method, or a changed one; it is forgotten afterwards."""

    def register(code=BLOCKS[METHOD]):
        MODELS.module_dict.pop('PairDistillation', None)
        return run_module(tmp_path / METHOD, 'mmrs_ssl.models.algorithms.pair_distillation', code)

    yield register
    MODELS.module_dict.pop('PairDistillation', None)
    sys.modules.pop('mmrs_ssl.models.algorithms.pair_distillation', None)


def test_the_example_is_tested_and_its_mistake_is_noticed(method, tmp_path):
    method()
    example = run_module(tmp_path / TEST, 'test_pair_distillation', BLOCKS[TEST])
    (mutant,) = tomllib.loads(MUTANT)['mutant']
    assert mutant['file'] == METHOD
    path, name = mutant['tests'][0].split('::')
    assert path == TEST
    getattr(example, name)()
    assert BLOCKS[METHOD].count(mutant['old']) == 1
    method(BLOCKS[METHOD].replace(mutant['old'], mutant['new']))
    with pytest.raises(AssertionError, match='Scalars are not close'):
        getattr(example, name)()


@pytest.mark.parametrize('bands', [3, 5])
def test_the_example_trains_and_its_export_loads(method, tmp_path, image_folder, bands):
    """On pictures, and on GeoTIFFs of five bands, by one base and the statistics."""
    method()
    config = tmp_path / CONFIG
    config.parent.mkdir(parents=True)
    text, of_scenes, data = BLOCKS[CONFIG], [], image_folder
    if bands == 5:
        data = tmp_path / 'scenes'
        data.mkdir()
        for number in range(4):
            pixels = np.random.default_rng(number).integers(0, 3000, (80, 80, 5), dtype=np.uint16)
            write_geotiff(data / f'{number}.tif', pixels, 10.0)
        text = text.replace('contrast_views_224px.py', 'geotiff_contrast_views.py')
        of_scenes = [f'statistics={[[1500.0] * 5, [900.0] * 5]}', 'window=72', 'max_value=3000']
    config.write_text(text)
    (tmp_path / 'configs' / '_base_').symlink_to(ROOT / 'configs' / '_base_')
    small = ['batch=4', 'epochs=2', 'size=64', 'train_dataloader.num_workers=0']
    small += ['train_dataloader.persistent_workers=False', 'default_hooks.logger.interval=1']
    small += ['model.backbone.stem_channels=8', 'model.backbone.base_channels=8']
    work = tmp_path / 'work'
    assert (
        main(['train', str(config), '--work-dir', str(work), '--cfg-options', f'data_root={data}', *small, *of_scenes])
        == 0
    )
    assert re.search(r'teacher_std: \d', log_of(work))
    state = torch.load(work / 'epoch_2.pth', weights_only=True)['state_dict']
    key = 'backbone.layer4.0.conv1.weight'
    assert not torch.equal(state[key], state[f'teacher.module.{key}'])
    assert main(['export', str(work / 'epoch_2.pth'), str(tmp_path / 'backbone.pth')]) == 0
    network = ResNet(depth=18, stem_channels=8, base_channels=8, in_channels=bands)
    load_backbone(network, tmp_path / 'backbone.pth')
    teacher = state[f'teacher.module.{key}']
    torch.testing.assert_close(network.state_dict()[key.removeprefix('backbone.')], teacher)
