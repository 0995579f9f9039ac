"What every test process shares. The settings come before anything heavy is imported, because libraries read them only once."
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

os.environ.setdefault('HF_HUB_OFFLINE', '1')                       # tests ask no network
os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')           # no warnings from forked workers
os.environ.setdefault('PLOTLY_RENDERER', 'plotly_mimetype')        # a figure shown in a notebook opens no browser
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')                 # threads that wait for each other over small matrices

root = Path(__file__).resolve().parents[1]
token = 'only-for-this-test'
patience = 120_000                                                 # milliseconds; CI's machine may be slow, a pass is not


# ---- a browser and JupyterLab, one of each for all tests

@contextmanager
def chromium():
    "Chromium with the network off, or an error that says how to get it"
    from playwright.sync_api import sync_playwright
    program = os.environ.get('CHROMIUM') or shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    if program is None: raise FileNotFoundError('Chromium is needed and was not found: `apt-get install chromium`, or set CHROMIUM to its path')
    flags = ['--no-sandbox', '--disable-gpu', '--enable-unsafe-swiftshader', '--disable-background-networking', '--disable-component-update', '--disable-sync',
             '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1']   # no name resolves
    with sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=program, args=flags)
        yield instance
        instance.close()


@pytest.fixture(scope='session')
def browser():
    "Browser tests are never skipped. One for all of them, because Playwright allows one at a time"
    with chromium() as one: yield one


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def answers(url):
    try: return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError: return False


@contextmanager
def served(settings, ready, *words, folder=None):
    "A server for as long as this lasts, its settings and its log in a folder of their own; `words` are a Python module and what it is told"
    home = {name: str(settings/part) for name, part in (('JUPYTER_CONFIG_DIR', 'config'), ('JUPYTERLAB_SETTINGS_DIR', 'lab/user-settings'), ('JUPYTERLAB_WORKSPACES_DIR', 'workspaces'), ('IPYTHONDIR', 'ipython'))}
    with open(settings/'log', 'w') as log:
        server = subprocess.Popen([sys.executable, '-m', *words], env=os.environ | home, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        try:
            deadline = time.monotonic()+patience/1000
            while not ready():
                if server.poll() is not None or time.monotonic() > deadline: pytest.fail(f'{words[0]} did not start:\n' + (settings/'log').read_text()[-3000:])
                time.sleep(.2)
            yield
        finally:
            server.terminate()
            try: server.wait(20)
            except subprocess.TimeoutExpired: server.kill()


@contextmanager
def jupyterlab(folder, settings):
    "JupyterLab on a folder; gives its address"
    quiet = settings/'lab/user-settings/@jupyterlab/apputils-extension'
    quiet.mkdir(parents=True)
    (quiet/'notification.jupyterlab-settings').write_text(json.dumps(dict(fetchNews='false', checkForUpdates=False)))
    address = f'http://127.0.0.1:{(port := free_port())}'
    words = ['jupyterlab', '--no-browser', '--allow-root', '--ServerApp.ip=127.0.0.1', f'--ServerApp.port={port}', '--ServerApp.port_retries=0', f'--IdentityProvider.token={token}', f'--ServerApp.root_dir={folder}']
    with served(settings, lambda: answers(f'{address}/api/status?token={token}'), *words): yield address


@pytest.fixture(scope='session')
def lab(tmp_path_factory):
    "JupyterLab on copies of the lab notebooks; gives its address and its folder"
    folder = tmp_path_factory.mktemp('lab')
    for notebook in (root/'nbs/lab').glob('*.ipynb'): shutil.copy(notebook, folder)
    with jupyterlab(folder, tmp_path_factory.mktemp('settings')) as address: yield address, folder


def add_notebook(lab, name, source):
    "A notebook beside the others; `---` stands between its cells"
    import nbformat
    cells = [nbformat.v4.new_code_cell(cell) for cell in source.split('\n---\n')]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=dict(kernelspec=dict(name='python3', display_name='python3', language='python'))), lab[1]/name)


def add_toy_notebook(lab, name, imports, explorer):
    "A notebook with an explorer, whose last cell runs as long as a file `hold` lies beside it; gives the lab"
    add_notebook(lab, name, f'''from pathlib import Path
import time
{imports}
---
{explorer}
---
if Path('hold').exists():
    Path('held').touch()
    while Path('hold').exists(): time.sleep(.05)''')
    return lab


@contextmanager
def held(lab):
    "While this lasts the last cell of a toy notebook runs; gives what waits until it does"
    hold, running = lab[1]/'hold', lab[1]/'held'
    running.unlink(missing_ok=True)
    hold.touch()
    try: yield lambda: expect_change(running.exists, False, 'the busy cell')
    finally: hold.unlink()


# ---- what a reader does on a page

@contextmanager
def watched(browser, known=None, **how):
    "A page whose requests, failures and errors are remembered, and must be none but our own server's; `known` is in those that a server makes of its own accord"
    from playwright.sync_api import expect
    expect.set_options(timeout=patience)
    context = browser.new_context(viewport=dict(width=1400, height=1000), **how)
    page, asked, failed, errors = context.new_page(), [], [], []
    page.set_default_timeout(patience)
    page.on('request', lambda r: asked.append(r.url))
    page.on('requestfailed', lambda r: failed.append((r.url, r.failure)))
    page.on('pageerror', lambda e: errors.append(str(e)))
    page.on('console', lambda m: errors.append(m.text) if m.type == 'error' else None)
    page.asked, page.failed, page.errors = asked, failed, errors
    try: yield page
    finally: context.close()
    outside = [url for url in asked if not re.match(r'(http|ws)://127\.0\.0\.1[:/]|blob:|data:|file:', url) and not (known and known in url)]
    assert not outside, f'the page asked the network: {outside[:3]}'


def open_notebook(page, lab, name):
    from playwright.sync_api import expect
    address, _ = lab
    page.goto(f'{address}/lab/workspaces/{Path(name).stem}/tree/{name}?token={token}&reset')
    expect(page.locator('.jp-StatusBar-TextItem', has_text='| Idle').first).to_be_visible(timeout=patience)    # an earlier Run All is lost


def run_all(page):
    page.get_by_role('menuitem', name='Run', exact=True).click()
    page.get_by_role('menuitem', name=re.compile('^Run All Cells')).click()


def in_each_theme(page):
    "JupyterLab in the dark and in the light, which is as it was, for whoever comes next"
    from playwright.sync_api import expect
    for theme in 'Dark', 'Light':
        page.get_by_role('menuitem', name='Settings', exact=True).click()
        page.locator('.lm-Menu-item', has_text='Theme').first.hover()
        page.locator('.lm-Menu-item', has_text=f'JupyterLab {theme}').first.click()
        expect(page.locator(f'body[data-jp-theme-light="{str(theme == "Light").lower()}"]')).to_have_count(1)
        page.wait_for_timeout(500)
        yield theme


def ring(element):
    "Where the ring is on the map, as plotly has it"
    return element.locator('.ll-plot').evaluate('plot => { const t = plot._fullData?.at(-1); return t ? [t.x[0], t.y[0]] : null }')


def expect_change(read, before, what):
    "Wait until something is no longer as it was"
    deadline = time.monotonic() + patience/1000
    while (now := read()) == before or now is None:
        assert time.monotonic() < deadline, f'{what} did not change: still {before}'
        time.sleep(.02)
    return now


def errors_of_ours(page):
    "Errors on the page; anywidget complains when a busy page takes two seconds to load an element, which then works all the same"
    return [e for e in page.errors if re.search(r'plotly|anywidget|widget|ll-|trajectory', e, re.I) and 'Failed to initialize model' not in e]


def drawn(element):
    "The element of an explorer, once it is drawn"
    from playwright.sync_api import expect
    expect(element.locator('.ll-plot .main-svg').first).to_be_visible(timeout=patience)
    expect_change(lambda: ring(element), None, 'the figure')
    return element


# ---- toys that each explorer can look into

EXPLORERS = 'trajectory', 'interpolation', 'pondering', 'debugger', 'learning'


@cache
def toy_thinker():
    "A model that thinks three times before it answers a sum, with random weights"
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    from latent_lab.models.thought import LatentThoughtConfig, LatentThoughtForCausalLM
    letters = Tokenizer(models.WordLevel({c: i for i, c in enumerate(['<s>', '</s>', '?', *'0123456789+='])}, unk_token='?'))
    letters.pre_tokenizer, letters.decoder = pre_tokenizers.Split('', 'isolated'), decoders.Fuse()
    torch.manual_seed(0)
    backbone = LlamaConfig(vocab_size=15, bos_token_id=0, eos_token_id=1, initializer_range=.5, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64)
    model = LatentThoughtForCausalLM(LatentThoughtConfig(decoder=backbone, decoder_source=None, train_decoder=True, latent_ratio=1., num_passes=3, latent_weight=0., thoughts=3)).eval()
    model.tokenizer = PreTrainedTokenizerFast(tokenizer_object=letters, bos_token='<s>', eos_token='</s>', unk_token='?')
    return model


def toy_film():
    "Three moments of a training that never was"
    from latent_lab.explore.learning import Moments, learning
    from latent_lab.explore.project import spiral_trace
    moments = Moments()
    for step in (0, 10, 20):
        trace = spiral_trace(3, length=12, seed=1)
        said = ('example', [f'said at {step}']*3)
        moments.add(trace.assign(state=trace.state*(1+step/10)).assign_coords(asked=('example', ['one', 'two', 'three']), said=said).assign_attrs(training_step=step))
    return learning(moments)


def toy_explorer(kind, /, **choices):
    "An explorer of a toy, and what its code is about"
    from latent_lab.explore.debugger import ThoughtExplorer
    from latent_lab.explore.interpolate import ToyIdeas, all_toy_texts
    from latent_lab.explore.interpolation import InterpolationExplorer
    from latent_lab.explore.learning import LearningExplorer
    from latent_lab.explore.pondering import PonderExplorer, Speller
    from latent_lab.explore.project import spiral_trace
    from latent_lab.explore.widgets import TrajectoryExplorer
    names = dict(TrajectoryExplorer=TrajectoryExplorer, InterpolationExplorer=InterpolationExplorer, PonderExplorer=PonderExplorer, ThoughtExplorer=ThoughtExplorer, LearningExplorer=LearningExplorer)
    if kind == 'learning':
        names['film'] = toy_film()
        return LearningExplorer(names['film'], **choices), names
    if kind == 'trajectory':
        names['trace'] = spiral_trace(3, length=40)
        return TrajectoryExplorer(names['trace'], **choices), names
    if kind == 'interpolation':
        names |= dict(model=ToyIdeas(), ideas=all_toy_texts()[::29])
        return InterpolationExplorer(names['model'], ['The tiny mouse sleeps in bed.', 'The huge wolf sleeps far away.'], names['ideas'], **choices), names
    if kind == 'pondering':
        names['model'] = Speller()
        return PonderExplorer(names['model'], ['the mouse sees an extraordinary house', 'a cat sleeps'], **choices), names
    names |= dict(model=toy_thinker(), questions=[f'{a}+{a+7}=' for a in range(11, 71, 12)])
    return ThoughtExplorer(names['model'], names['questions'], **dict(max_new_tokens=5) | choices), names
