"The explorers as a reader meets them: JupyterLab in a real browser, by mouse and by keyboard, with the network off."
import re

import pytest
from conftest import add_notebook, drawn, errors_of_ours, expect_change, open_notebook, patience, ring, run_all, watched
from playwright.sync_api import expect
from plotly.offline import get_plotlyjs_version

from latent_lab.explore.project import spiral_trace
from latent_lab.explore.widgets import TrajectoryExplorer

busy_notebook = '''from pathlib import Path
import time
from latent_lab.explore.project import spiral_trace
from latent_lab.explore.widgets import TrajectoryExplorer
---
TrajectoryExplorer(spiral_trace())
---
Path('started').touch()
while not Path('stop').exists(): time.sleep(.05)'''


# ---- what the tests stand on

@pytest.fixture(scope='module')
def busy(lab):
    "The lab with a notebook whose last cell runs until it is told to stop"
    add_notebook(lab, 'busy.ipynb', busy_notebook)
    yield lab
    (lab[1]/'stop').touch()


def ready(page, which=0): return drawn(page.locator('.ll-page').nth(which))


# ---- what a reader does

def test_lab_notebook(lab, browser):
    with watched(browser) as page:
        open_notebook(page, lab, 'trajectories.ipynb')
        run_all(page)
        element = ready(page)
        slider, count = element.get_by_role('slider', name='Token'), element.locator('.ll-count')

        # by keyboard: arrows, Home, End move token, ring and sentence together
        start = ring(element)
        slider.focus()
        page.keyboard.press('ArrowRight')
        expect(count).to_have_text(re.compile('^1 /'))
        second = expect_change(lambda: ring(element), start, 'the ring')
        page.keyboard.press('End')
        expect(count).to_have_text(re.compile(r'^(\d+) / \1$'))
        expect(element.locator('.ll-said')).to_contain_text('at 95')
        expect_change(lambda: ring(element), second, 'the ring')
        page.keyboard.press('Home')
        expect(count).to_have_text(re.compile('^0 /'))

        # by mouse: a token of the text, then the slider itself
        element.locator('.ll-token').nth(40).click()
        expect(count).to_have_text(re.compile('^40 /'))
        box = slider.bounding_box()
        page.mouse.click(box['x']+.75*box['width'], box['y']+box['height']/2)
        expect(count).to_have_text(re.compile(r'^7\d /'))

        # the text by keyboard: Tab leads to the token that is now, arrows walk without moving it, Enter and Space go there
        slider.focus()
        page.keyboard.press('Home')
        page.keyboard.press('Tab')
        text, focused = element.get_by_role('listbox'), element.locator('.ll-token:focus')
        expect(text).to_have_attribute('aria-label', re.compile('arrows walk'))
        expect(focused).to_have_attribute('data-index', '0')
        before = ring(element)
        for _ in range(3): page.keyboard.press('ArrowRight')
        page.keyboard.press('ArrowLeft')
        expect(focused).to_have_attribute('data-index', '2')
        expect(focused).to_have_attribute('aria-label', re.compile('^“.+” at 2$'))
        expect(count).to_have_text(re.compile('^0 /'))
        page.keyboard.press('Enter')
        expect(count).to_have_text(re.compile('^2 /'))
        expect_change(lambda: ring(element), before, 'the ring')
        expect(text.get_by_role('option', selected=True)).to_have_attribute('data-index', '2')
        line = lambda: focused.evaluate('token => token.offsetTop')
        first = line()
        page.keyboard.press('ArrowDown')
        assert line() > first
        page.keyboard.press('ArrowUp')
        assert line() == first
        page.keyboard.press('ArrowUp')                                          # there is none above
        assert line() == first
        page.keyboard.press('End')
        page.keyboard.press('ArrowRight')                                       # nor one after the last
        expect(focused).to_have_attribute('data-index', '95')
        expect(text.locator('[tabindex="0"]')).to_have_count(1)
        page.keyboard.press('Space')
        expect(count).to_have_text(re.compile(r'^(\d+) / \1$'))
        page.keyboard.press('Home')
        page.keyboard.press('Shift+Tab')                                        # away from the first token, and back to the one that is now
        expect(slider).to_be_focused()
        page.keyboard.press('Tab')
        expect(focused).to_have_attribute('data-index', '95')

        # a control by mouse: another colour; the position stays
        figure = lambda: element.locator('.ll-plot').evaluate('plot => plot.data.map(t => t.name).join("|")')
        before, here = figure(), count.inner_text()
        page.get_by_label('Colour by').first.select_option('phase')
        expect_change(figure, before, 'the colours')
        expect(count).to_have_text(here)

        # a picture that arrives while one is in the text leaves one there
        text.locator('.ll-now').focus()
        before, at = figure(), focused.get_attribute('data-index')
        page.get_by_label('Colour by').first.evaluate('select => { select.selectedIndex = 0; select.dispatchEvent(new Event("change", { bubbles: true })) }')
        expect_change(figure, before, 'the colours')
        expect(focused).to_have_attribute('data-index', at)

        # a control by keyboard: three dimensions, then another example
        page.get_by_role('button', name='3-D').first.focus()
        page.keyboard.press('Enter')
        expect_change(lambda: element.locator('.ll-plot').evaluate('plot => plot.data[0].type'), 'scatter', 'the dimensions')
        title = lambda: element.locator('.ll-plot').evaluate('plot => plot.layout.title.text')
        before = title()
        page.get_by_label('Example').first.focus()
        page.keyboard.press('ArrowDown')
        expect_change(title, before, 'the example')

        # a map that takes a while says how long, and a bar follows the clock
        busy, bar = element.locator('.ll-busy'), element.get_by_role('progressbar')
        page.get_by_role('button', name='t-SNE').first.click()
        expect(busy).to_have_text(re.compile(r'^t-SNE of [\d,]+ states: about \d+ s$'))
        expect(bar).to_be_visible()
        assert bar.evaluate('bar => bar.max') > .5
        expect(element.locator('.ll-quality')).to_contain_text('t-SNE')
        expect(busy).to_have_text('')
        expect(bar).to_be_hidden()

        # the live model reads what is typed
        live = ready(page, 1)
        page.get_by_label('Text', exact=True).fill('<switch> 1 2 3 4 5 6')
        expect(live.locator('.ll-token')).to_have_count(7)
        assert page.locator('.ll-tokens switch').count() == 0                  # text stays text
        page.get_by_label('Text', exact=True).fill(' ')
        expect(live.get_by_role('alert')).to_contain_text('the text is empty')  # an error is said, and the picture stays
        expect(live.locator('.ll-token')).to_have_count(7)

        # the table says the same
        element.get_by_text('As a table').click()
        expect(element.locator('.ll-scroll tbody tr')).to_have_count(96)
        assert not errors_of_ours(page), page.errors


def test_plotly_comes_with_the_import(lab, browser):
    "plotly.js is ready before the first explorer is made"
    add_notebook(lab, 'imports.ipynb', 'from latent_lab.explore.widgets import TrajectoryExplorer')
    with watched(browser) as page:
        open_notebook(page, lab, 'imports.ipynb')
        assert page.evaluate('globalThis.latentLabPlotly === undefined')
        run_all(page)
        page.wait_for_function('globalThis.latentLabPlotly !== undefined', timeout=patience)
        assert page.evaluate('globalThis.latentLabPlotly.then((library) => library.version)') == get_plotlyjs_version()
        assert not errors_of_ours(page), page.errors


def test_busy_kernel(busy, browser):
    "While a cell trains a model the slider answers at once, and what else was asked is served, at the latest when the cell ends"
    with watched(browser) as page:
        open_notebook(page, busy, 'busy.ipynb')
        run_all(page)
        element = ready(page)
        expect_change(lambda: (busy[1]/'started').exists(), False, 'the busy cell')
        slider, count = element.get_by_role('slider', name='Token'), element.locator('.ll-count')
        before = ring(element)
        slider.focus()
        page.keyboard.press('End')
        expect(count).to_have_text('95 / 95')
        expect_change(lambda: ring(element), before, 'the ring')
        expect(page.locator('.jp-InputPrompt', has_text='[*]').first).to_be_visible()   # the cell has been running all along
        names = lambda: element.locator('.ll-plot').evaluate('plot => plot.data.map(t => t.name).join("|")')
        before = names()
        page.get_by_label('Colour by').select_option('confidence')
        page.get_by_label('Colour by').select_option('phase')
        (busy[1]/'stop').touch()
        expect_change(names, before, 'the colours')
        expect(count).to_have_text('95 / 95')


def test_snapshot(tmp_path, browser):
    "One file: opened from the disk it asks for nothing, and its slider works"
    trace = spiral_trace(2, 40)
    trace['token_text'][0, 3] = '</script><img src=x onerror=alert(1)>'
    file = TrajectoryExplorer(trace, color='confidence').snapshot(tmp_path/'thought.html')
    with watched(browser) as page:
        page.goto(file.as_uri())
        element = ready(page)
        slider = element.get_by_role('slider', name='Token')
        before = ring(element)
        slider.focus()
        for _ in range(3): page.keyboard.press('ArrowRight')
        expect(element.locator('.ll-said')).to_contain_text('</script><img')
        expect_change(lambda: ring(element), before, 'the ring')
        box = slider.bounding_box()
        page.mouse.click(box['x']+box['width']/2, box['y']+box['height']/2)
        expect(element.locator('.ll-count')).to_have_text(re.compile('^(19|20) / 39'))
        page.keyboard.press('Tab')
        page.keyboard.press('Home')
        page.keyboard.press('Enter')
        expect(element.locator('.ll-count')).to_have_text('0 / 39')
        element.get_by_role('button', name='Play').click()
        expect(element.locator('.ll-count')).to_have_text('39 / 39')
        assert not page.failed and not page.errors, (page.failed, page.errors)
        assert all(url.startswith(('file:', 'data:', 'blob:')) for url in page.asked), page.asked
        assert page.locator('.ll-page img').count() == 0
