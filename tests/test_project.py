"The project's own rules, held by code: reading order, one direction of imports, nothing left over, nothing that only this machine knows."
import ast
import configparser
import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

root = Path(__file__).resolve().parents[1]
notebooks = sorted(p for p in (root/'nbs').rglob('*.ipynb') if not any(part[0] in '._' for part in p.relative_to(root).parts))
api = [p for p in notebooks if p.parent.name == 'api']
name = lambda path: str(path.relative_to(root/'nbs').with_suffix(''))
each_notebook = pytest.mark.parametrize('path', notebooks, ids=name)
each_api_notebook = pytest.mark.parametrize('path', api, ids=name)

# Who may use whom, by folder of the package. `hub`, `recipes` and `cli` stand on everything, so they are not listed.
allowed = {
    'blocks': {'blocks'},
    'trace': set(),
    'pondering': {'trace'},
    'planner': {'trace'},
    'data': {'data'},
    'models': {'blocks', 'trace', 'models.contract'},
    'train': {'train', 'trace', 'pondering', 'data', 'blocks', 'models.contract'},
    'explore': {'explore', 'trace', 'pondering'},
}


def cells(path, kind='code'):
    return [cell for cell in json.loads(path.read_text())['cells'] if cell['cell_type'] == kind]

def source(cell): return ''.join(cell['source'])

def is_export(cell): return re.match(r'\s*#\|\s*exports?\b', source(cell))

def number(path): return int(path.name.split('_')[0])

def module(path):
    "What a notebook exports, '' if nothing"
    return next((m[1] for cell in cells(path) if (m := re.search(r'^#\|\s*default_exp\s+(\S+)', source(cell), re.M))), '')

def tree(cell):
    "A cell's code without magics and shell lines"
    if source(cell).startswith('%%'): return ast.parse('')
    return ast.parse('\n'.join(line for line in source(cell).splitlines() if not re.match(r'\s*[%!]', line)))

def imports(node): return [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]

def only_imports(node):
    "An import, or one that is tried because the package is optional"
    return isinstance(node, ast.Import | ast.ImportFrom) or isinstance(node, ast.Try) and all(map(only_imports, node.body))

def uses(cell):
    "The modules of this package that a cell imports, wherever in the cell"
    found = set()
    for node in imports(tree(cell)):
        if isinstance(node, ast.Import): names = [alias.name for alias in node.names]
        elif node.module == 'latent_lab': names = [f'latent_lab.{alias.name}' for alias in node.names if alias.name != '__version__']
        else: names = [node.module or '']
        found |= {n.removeprefix('latent_lab.') for n in names if n.startswith('latent_lab.')}
    return found

order = {module(path): number(path) for path in api if module(path)}


@each_api_notebook
def test_name_number_and_module_agree(path):
    "The file name is the module name; the number is in the title cell, where the documentation site reads it"
    title = source(cells(path, 'markdown')[0])
    assert re.match(r'# \S.*\n+> \S.*', title), 'the first cell is `# Title`, then `> one sentence`'
    assert f'- order: {number(path)}' in title
    if module(path): assert path.stem.split('_', 1)[1] == module(path)


@each_api_notebook
def test_imports_only_smaller_numbers(path):
    later = {(m, order[m]) for cell in cells(path) for m in uses(cell) if m != module(path) and order.get(m, -1) >= number(path)}
    assert not later, f'{path.name} imports a later room: {later}'


@each_api_notebook
def test_imports_go_one_way(path):
    "data knows no model, a model knows no other model and no trainer, explore knows traces"
    if (room := module(path).split('.')[0]) not in allowed: return
    used = {m for cell in cells(path) if is_export(cell) for m in uses(cell)}
    wrong = {m for m in used if m not in allowed[room] and m.split('.')[0] not in allowed[room]}
    assert not wrong, f'{module(path)} may use {sorted(allowed[room])}, not {sorted(wrong)}'


def test_every_module_has_its_notebook():
    exported, strays = {f'nbs/api/{path.name}' for path in api if module(path)}, []
    for path in (root/'latent_lab').rglob('*.py'):
        if path.name in ('__init__.py', '_modidx.py'): continue
        made_from = re.search(r'File to edit: (?:\.\./)+(\S+\.ipynb)', path.read_text())
        if not made_from or made_from[1] not in exported: strays.append(path.name)
    assert not strays, f'no notebook behind {strays}: export never deletes, so remove them'


@each_notebook
def test_imports_have_their_own_cells(path):
    "When the documentation is built, cells with an import are run: nothing else may be in them. No star imports: a name says where it lives"
    for cell in cells(path):
        body = tree(cell).body
        assert not any(alias.name == '*' for node in imports(tree(cell)) for alias in node.names), f'star import:\n{source(cell)}'
        alone = [only_imports(node) for node in body]
        mixed = any(alone) and not all(alone) or not is_export(cell) and not all(alone) and imports(tree(cell))
        assert not mixed, f'an import shares its cell with code:\n{source(cell)}'


@each_api_notebook
def test_imports_only_what_is_public(path):
    "A helper that another room uses has no underscore"
    hidden = {alias.name for cell in cells(path) for node in imports(tree(cell)) if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('latent_lab.')
              for alias in node.names if alias.name.startswith('_')}
    assert not hidden, f'{path.name} imports what another room keeps to itself: {hidden}'


@each_api_notebook
def test_exported_cells_are_small(path):
    for cell in cells(path):
        lines = [line for line in source(cell).splitlines() if line.strip()]
        if is_export(cell): assert len(lines) <= 41, f'{len(lines)-1} lines, 40 at most:\n' + '\n'.join(lines[:5])


@each_notebook
def test_stored_outputs_are_fit_to_publish(path):
    "No error, no path of one machine, no widget state, nothing fetched from elsewhere, and a size that git can carry"
    book = json.loads(path.read_text())
    assert 'widgets' not in book['metadata'], 'widget state is stored: clear it'
    assert path.stat().st_size < 1_500_000, f'{path.stat().st_size/1e6:.1f} MB'
    for cell in cells(path):
        for output in cell['outputs']:
            assert output['output_type'] != 'error', f'a stored error:\n{source(cell)}'
            shown = json.dumps({mime: data for mime, data in output.get('data', {}).items() if not mime.startswith('image/')} or output.get('text', ''))
            assert not (found := re.search(r'(?<![\w.])/(work|tmp|root|home|Users)/\w+', shown)), f'{found[0]}… in the output of:\n{source(cell)}'
            assert not (found := re.search(r'<(script|link|img)[^>]+(src|href)=\\?["\']https?:[^>]*', shown)), f'fetched from elsewhere: {found[0]}'


@pytest.mark.parametrize('folder', sorted((root/'latent_lab/checkpoints').iterdir()), ids=lambda folder: folder.name)
def test_a_shipped_checkpoint_is_whole_and_small(folder):
    "Weights in files that git can carry, and a card that says how it was made and what it can do"
    weights, card = list(folder.glob('*.safetensors')), (folder/'README.md').read_text()
    assert weights and all(file.stat().st_size < 16e6 for file in weights)
    assert card.startswith(f'# {folder.name}\n\n> ') and all(part in card for part in ('## How it was made', 'latent-lab train', '**Data**', '**Licence**', '**hardware**', '## What it can do'))
    assert all((folder/part).exists() for part in ('config.json', 'recipe.json', 'tokenizer.json', 'loss.svg'))


def test_import_is_light():
    "`import latent_lab` costs nothing: what is heavy is imported where it is used"
    code = 'import sys, latent_lab; print(*sorted({"torch", "transformers", "numpy", "plotly", "umap", "numba"} & set(sys.modules)))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '', f'`import latent_lab` pulls in {done.stdout}'


def settings():
    parser = configparser.ConfigParser(delimiters=['='])
    parser.read(root/'settings.ini')
    return parser['DEFAULT']


def plain(package): return re.sub(r'[-_.]+', '-', package).lower()


def test_every_import_is_a_requirement():
    "What the package imports, it asks for by name, rather than hoping that another package brings it"
    lists = [value for name, value in settings().items() if name.endswith('requirements') and not name.startswith('dev')]
    asked, brings = {plain(Requirement(r).name) for value in lists for r in value.split()}, packages_distributions()
    for path in (root/'latent_lab').rglob('*.py'):
        for node in imports(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level: continue
            names = {node.module} if isinstance(node, ast.ImportFrom) else {alias.name for alias in node.names}
            for top in {n.split('.')[0] for n in names} - sys.stdlib_module_names - {'latent_lab'}:
                assert asked & {plain(p) for p in brings.get(top, [top])}, f'{path.name} imports {top}, which settings.ini does not require'


def test_constraints_are_a_tested_set():
    "`constraints.txt` pins every direct requirement to a version that the requirement allows"
    pins = dict(line.split('==') for line in (root/'constraints.txt').read_text().splitlines() if line and line[0] != '#')
    pins = {plain(package): version for package, version in pins.items()}
    for needed in map(Requirement, (settings()['requirements'] + ' ' + settings()['dev_requirements']).split()):
        version = pins.get(plain(needed.name))
        assert version and needed.specifier.contains(version), f'{needed} is pinned to {version}'


def test_readme_is_index_notebook():
    from build_readme import readme
    for path, data in readme(root).items():
        assert (root/path).read_bytes() == data, f'{path} is old: run `python docs/build_readme.py`'


def test_readme_opens_with_the_two_commands():
    first_screen = (root/'README.md').read_text().splitlines()[:60]
    assert "pip install -c constraints.txt -e . && latent-lab lab" in first_screen
    assert "pip install -c constraints.txt -e '.[dev]' && pytest" in first_screen


def test_named_tests_exist():
    "A test that a notebook names as a proof is there"
    named = {name for path in notebooks for cell in cells(path, 'markdown') for name in re.findall(r'`(tests/\w+\.py(?:::\w+)?)`', source(cell))}
    assert named
    for file, _, test in (name.partition('::') for name in named): assert f'def {test}' in (root/file).read_text(), f'{file}::{test}'
