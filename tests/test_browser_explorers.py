"What every explorer promises on a page: one file without a network, every deed by keyboard, readable in light and dark, narrow and wide, and no barrier that axe finds."
import json
from importlib.resources import files

import pytest
from conftest import EXPLORERS, add_notebook, errors_of_ours, expect_change, in_each_theme, open_notebook, patience, run_all, toy_explorer, watched
from playwright.sync_api import expect

from latent_lab.explore.forks import Edit

each_explorer = pytest.mark.parametrize('kind', EXPLORERS)
CONTROL = dict(trajectory='.ll-slider', interpolation='.ll-slide', pondering='.ll-scroller', debugger='.ll-scroller', learning='.ll-slider')   # what arrows move
SAYS = dict(trajectory='.ll-said', interpolation='.ll-sentence', pondering='.ll-said', debugger='.ll-said', learning='.ll-said')             # where a move is read
MOVE = dict(trajectory='End', interpolation='PageUp', pondering='Home', debugger='ArrowRight', learning='Home')                          # a key that goes elsewhere
PAGE = dict(trajectory='.ll-walk', interpolation='.ll-way', pondering='.ll-ponder', debugger='.ll-debugger', learning='.ll-walk')


def barriers(page, within):
    "What axe finds serious, with the first element that shows it"
    if not page.evaluate('"axe" in window'): page.evaluate((files('axe_playwright_python')/'axe.min.js').read_text(encoding='utf-8'))
    found = page.evaluate('within => axe.run(within, { resultTypes: ["violations"] })', within)['violations']
    return [(v['id'], v['nodes'][0]['html'][:200], v['nodes'][0]['failureSummary']) for v in found if v['impact'] in ('serious', 'critical')]


def open_drawn(page, kind, number=0):
    "The page of an explorer, once its pictures are drawn; the first with such a page, or another"
    element = page.locator(PAGE[kind]).nth(number)
    expect(element.locator('.main-svg').first).to_be_visible(timeout=patience)
    return element


def too_wide(page):
    "What reaches beyond the right edge of a page that can be scrolled there"
    return page.evaluate('''() => document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth)
        .map((e) => `${e.tagName}.${e.className} ${Math.round(e.getBoundingClientRect().right)}`).slice(0, 9)''')


def press(element, name): element.get_by_role('button', name=name, exact=True).click()


@each_explorer
def test_one_file(kind, tmp_path, browser):
    explorer, _ = toy_explorer(kind)
    if kind == 'debugger': explorer.fork(2, Edit('zero'))
    explorer.keep()
    file = explorer.snapshot(tmp_path/'it.html')
    assert file.stat().st_size < 6e6
    with watched(browser) as page:
        page.goto(file.as_uri())
        element = open_drawn(page, kind)
        says, code = element.locator(SAYS[kind]), element.locator('.ll-code')
        start, spelled = says.inner_text(), code.text_content()
        assert spelled == explorer.as_code()

        # a move by keyboard; the call follows it, as the explorer itself would write it
        element.locator(CONTROL[kind]).focus()
        page.keyboard.press(MOVE[kind])
        expect(says).not_to_have_text(start)
        moved = says.inner_text()
        for name, value in dict(trajectory=dict(position=39), interpolation=dict(alpha=.7), pondering=dict(position=0, thought=2), debugger=dict(step='thought 2'), learning=dict(position=0))[kind].items(): setattr(explorer.page, name, value)
        expect(code).to_have_text(explorer.as_code())
        press(element, 'Copy as code')
        expect(element.get_by_role('status').filter(has_text='cop').first).to_be_visible()
        expect(code).to_be_visible()                                     # where the clipboard is closed, one copies it by hand

        # back, and forward again; what was kept, here and before the page was saved
        press(element, 'Keep')
        kept = element.locator('.ll-kept tbody tr')
        expect(kept).to_have_count(2)
        element.locator(CONTROL[kind]).focus()
        page.keyboard.press('Control+z')
        if kind == 'debugger':                                           # it goes back to the answer that was forked
            expect(element.locator('.ll-branch').first).to_have_attribute('aria-selected', 'true')
            page.keyboard.press('Control+Shift+Z')
            expect(element.locator('.ll-branch').nth(1)).to_have_attribute('aria-selected', 'true')
        else:
            expect(says).to_have_text(start)
            expect(element.get_by_role('button', name='Undo')).to_be_disabled()
            page.keyboard.press('Control+y')
            expect(says).to_have_text(moved)
        kept.first.locator('.ll-return').click()
        expect(says).to_have_text(start)
        kept.nth(1).locator('.ll-return').click()
        expect(says).to_have_text(moved)

        # nothing is cut off and nothing is hard to read
        for width in 1400, 390:
            for theme in 'light', 'dark':
                page.set_viewport_size(dict(width=width, height=900))
                page.emulate_media(color_scheme=theme)
                element.get_by_text('As a table').first.evaluate('summary => { summary.parentElement.open = true }') if kind != 'interpolation' else None
                page.wait_for_timeout(300)                               # pictures follow the width
                assert not (found := too_wide(page)), (width, theme, found)
                assert not (found := barriers(page, 'body')), (width, theme, found)
        for left in 1, 0:
            kept.first.get_by_role('button', name='Forget').click()
            expect(kept).to_have_count(left)
        assert not page.failed and not page.errors, (page.failed, page.errors)
        assert all(url.startswith(('file:', 'data:', 'blob:')) for url in page.asked), page.asked


@each_explorer
def test_focus_is_seen(kind, tmp_path, browser):
    "Tab leads through the page, each stop is outlined, and all that can be done is among them"
    explorer, _ = toy_explorer(kind)
    with watched(browser) as page:
        page.goto(explorer.snapshot(tmp_path/'it.html').as_uri())
        open_drawn(page, kind)
        stops = []
        for _ in range(60):
            page.keyboard.press('Tab')
            name, seen = page.evaluate('''() => { const at = document.activeElement, look = getComputedStyle(at);
                return [at === document.body ? null : at.textContent.slice(0, 20) || at.className, look.outlineStyle !== "none" && parseFloat(look.outlineWidth) > 0] }''')
            if name is None: break
            assert seen, f'nobody sees that {name} has the focus'
            stops.append(name)
        assert {'Undo', 'Redo', 'Keep', 'Copy as code', 'As code'} <= set(stops), stops


every = '''import sys
sys.path.insert(0, {tests!r})
from IPython.display import display
from conftest import EXPLORERS, toy_explorer
---
every = [toy_explorer(kind)[0] for kind in EXPLORERS]
for one in every: display(one)
---
print(*(one.as_code() for one in every), sep='\\n')'''


def test_in_jupyterlab(lab, browser, tmp_path_factory):
    "With a kernel: undo brings back a text, what is kept comes back, the page writes the kernel's code; and no barrier in either theme"
    from pathlib import Path
    add_notebook(lab, 'every.ipynb', every.format(tests=str(Path(__file__).parent)))
    with watched(browser) as page:
        open_notebook(page, lab, 'every.ipynb')
        run_all(page)
        pages = [PAGE[kind] for kind in EXPLORERS]
        elements = {kind: open_drawn(page, kind, pages[:i].count(PAGE[kind])) for i, kind in enumerate(EXPLORERS)}
        for kind, element in elements.items():
            says = element.locator(SAYS[kind])
            start = says.inner_text()
            element.locator(CONTROL[kind]).focus()
            page.keyboard.press(MOVE[kind])
            expect(says).not_to_have_text(start)
            moved, spelled = says.inner_text(), element.locator('.ll-code').text_content()
            press(element, 'Keep')
            expect(element.locator('.ll-kept tbody code')).to_have_text(spelled)      # the kernel wrote the same
            if kind == 'debugger': page.keyboard.press('Home'); element.locator(CONTROL[kind]).press('Home')
            else:
                element.locator(CONTROL[kind]).focus()
                page.keyboard.press('Control+z')
            expect(says).to_have_text(start)
            element.locator('.ll-kept .ll-return').click()
            expect(says).to_have_text(moved)
            element.get_by_role('button', name='Forget').click()
            expect(element.locator('.ll-kept')).to_be_hidden()

        # a text is of the kernel; Ctrl+Z in its box is the box's own
        tokens, text = elements['pondering'].locator('.ll-token'), page.get_by_role('textbox', name='Text', exact=True)
        text.fill('a dog sleeps')
        expect(tokens).to_have_text(['a', 'dog', 'sleeps'])
        press(elements['pondering'], 'Undo')
        expect(tokens).to_have_count(6)
        expect(text).to_have_value('the mouse sees an extraordinary house')

        for theme in in_each_theme(page):
            assert not (found := barriers(page, '.ll-explorer')), (theme, found)
        assert not errors_of_ours(page), page.errors


def test_linked_in_one_file(tmp_path, browser):
    "Two explorers of one text in one file: a token that is chosen in one is chosen in the other, and what cannot be linked is left alone"
    from latent_lab.lab import Lab
    desk = Lab('titans-tiny', 'Once there was a girl who lived by a river.')
    file = desk.snapshot(tmp_path/'lab.html')
    assert file.stat().st_size < 6e6
    with watched(browser) as page:
        page.goto(file.as_uri())
        ponder, path = open_drawn(page, 'pondering'), open_drawn(page, 'trajectory')
        now = lambda element: element.locator('.ll-token.ll-now').get_attribute('data-index')
        expect(path.locator('.ll-token.ll-now')).to_have_attribute('data-index', now(ponder))
        ponder.locator('.ll-token').nth(3).click()
        expect(path.locator('.ll-token.ll-now')).to_have_attribute('data-index', '3')
        page.wait_for_timeout(800)                                       # where nobody rests nothing is remembered
        ring = lambda: path.locator('.ll-plot').evaluate('plot => [plot.data.at(-1).x[0], plot.data.at(-1).y[0]]')
        before = ring()
        path.locator('.ll-slider').focus()
        page.keyboard.press('ArrowRight')
        expect(ponder.locator('.ll-token.ll-now')).to_have_attribute('data-index', '4')
        expect_change(ring, before, 'the ring')
        page.keyboard.press('Control+z')                                 # in the one that has the focus; the other goes along
        expect(ponder.locator('.ll-token.ll-now')).to_have_attribute('data-index', '3')
        page.set_viewport_size(dict(width=390, height=900))
        page.wait_for_timeout(300)
        assert not (found := too_wide(page)), found
        assert not (found := barriers(page, 'body')), found
        assert not page.failed and not page.errors, (page.failed, page.errors)
        assert all(url.startswith(('file:', 'data:', 'blob:')) for url in page.asked), page.asked
