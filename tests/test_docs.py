"The documentation site: everything public is in it, nothing in it is dead, and it asks for nothing outside itself."
import ast
import functools
import http.server
import re
import threading
from pathlib import Path

import pytest
from build_site import Page, build, faults
from conftest import patience

root = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp('docs')/'site'
    build(root, folder, live=True)
    return folder


def public(path):
    "The names that a generated module offers, read without importing it"
    return next((ast.literal_eval(s.value) for s in ast.parse(path.read_text()).body if isinstance(s, ast.Assign) and s.targets[0].id == '__all__'), [])


def test_every_public_name_has_a_place(site):
    for path in sorted((root/'latent_lab').rglob('*.py')):
        if path.name in ('__init__.py', '_modidx.py'): continue
        module = '.'.join(path.relative_to(root/'latent_lab').with_suffix('').parts)
        anchors = Page((site/'api'/f'{module}.html').read_text()).anchors
        missing = {name for name in public(path) if name.lower() not in anchors}
        assert not missing, f'{module}: {missing}'


def test_no_dead_links_and_nothing_from_elsewhere(site):
    assert list(faults(site)) == []


def test_faults_are_found(tmp_path):
    "The check above can fail: a dead link, a dead anchor and a script from a CDN are each told apart"
    (tmp_path/'a.html').write_text('<p id=here></p><a href="b.html"></a><a href="#there"></a><a href="#here"></a><script src="https://cdn.example/x.js"></script>')
    said = list(faults(tmp_path))
    assert len(said) == 3 and all(any(word in line for line in said) for word in ('cdn.example', 'b.html', '#there'))


@pytest.fixture(scope='module')
def address(site):
    "The site behind a plain file server"
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *ignored): pass
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()


@pytest.fixture
def page(browser):
    "As on a telephone; closed afterwards, since the front page's picture moves for as long as its page is open"
    page = browser.new_page(viewport={'width': 390, 'height': 844})
    page.set_default_timeout(patience)
    yield page
    page.close()


def test_every_page_opens_in_a_browser(site, address, page):
    "No error on any page, no request that leaves the site, nothing wider than a telephone, every equation set"
    wrong, pages = [], {}
    page.on('pageerror', lambda error: wrong.append(str(error)))
    page.on('console', lambda message: wrong.append(message.text) if message.type in ('error', 'warning') else None)
    page.on('request', lambda request: wrong.append(f'asks for {request.url}') if not re.match(f'{address}|data:|blob:', request.url) else None)
    for path in sorted(site.rglob('*.html')):
        page.goto(f'{address}/{path.relative_to(site)}')
        unset = page.evaluate("[...document.querySelectorAll('.math')].filter(e => !e.querySelector('.katex') || e.querySelector('.katex-error')).length")
        wide = page.evaluate('document.documentElement.scrollWidth - innerWidth')
        if wrong or unset or wide > 0: pages[str(path.relative_to(site))] = f'{wrong}, {unset} equations not set, {wide} pixels too wide'
        wrong.clear()
    assert pages == {}


@pytest.mark.parametrize('name', ['blocks.recurrence', 'blocks.feedforward', 'blocks.pooling', 'blocks.prefix', 'trace', 'data.sequences', 'models.reasoner', 'models.idea', 'models.thought'])
def test_equations_are_seen_whole_on_a_telephone(name, address, page):
    page.goto(f'{address}/api/{name}.html')
    widths = page.evaluate("[...document.querySelectorAll('.math.display')].map(e => [e.scrollWidth, e.clientWidth])")
    assert widths and all(needed <= given for needed, given in widths), widths


def test_figures_are_live(site, address, page):
    path = next(path for path in sorted(site.rglob('*.html')) if 'class="live-figure"' in path.read_text())
    page.goto(f'{address}/{path.relative_to(site)}')
    page.locator('.live-figure').first.scroll_into_view_if_needed()
    page.wait_for_selector('.live-figure .main-svg')
    assert page.evaluate("document.querySelector('.live-figure').data.length") > 0


def test_explorers_work_in_the_page(site, address, page):
    "Every lab notebook has its explorer in its page, and a key moves what it shows, without Python"
    page.set_viewport_size({'width': 1280, 'height': 1000})
    names = {path.stem for path in (site/'lab'/'live').glob('*.html')}
    assert names == {path.stem for path in (site/'lab').glob('*.html')}
    page.goto(f'{address}/lab/trajectories.html')
    page.locator('.live-explorer').scroll_into_view_if_needed()
    explorer = page.frame_locator('.live-explorer')
    explorer.locator('.main-svg').first.wait_for()
    before = explorer.locator('.ll-token.ll-now').get_attribute('data-index')
    explorer.locator('.ll-token.ll-now').focus()
    page.keyboard.press('ArrowRight')
    page.keyboard.press('Enter')
    assert explorer.locator('.ll-token.ll-now').get_attribute('data-index') == str(int(before)+1)
    height = page.evaluate("document.querySelector('.live-explorer').clientHeight")
    assert height > 700, 'the frame is as high as the explorer'


@pytest.mark.parametrize('width', [1280, 390])
def test_search_finds_a_public_name(width, address, page):
    page.set_viewport_size({'width': width, 'height': 844})
    page.goto(f'{address}/index.html')
    if width == 390: page.locator('.navbar-toggler').click()       # on a telephone it is in the menu
    page.locator('.smalldocs-search input').first.fill('CausalAttention')
    found = page.locator('.search-result').first
    found.wait_for()
    assert 'blocks.attention.html' in found.get_attribute('href')
