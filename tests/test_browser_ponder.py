"Pondering as a reader meets it: JupyterLab in a real browser, by mouse and by keyboard, with the network off."
import re
import time

import numpy as np
import pytest
import xarray as xr
from conftest import add_toy_notebook, errors_of_ours, expect_change, held, open_notebook, patience, run_all, watched
from playwright.sync_api import expect

from latent_lab.explore.pondering import Ponder, PonderExplorer, Speller, pondering, pondering_trace, said_of, why_here

mouse = 'the mouse sees an extraordinary house'


# ---- what the tests stand on

@pytest.fixture(scope='module')
def spelling(lab):
    "The lab, with a notebook on a toy that spells"
    return add_toy_notebook(lab, 'spelling.ipynb', 'from latent_lab.explore.pondering import PonderExplorer, Speller', f"PonderExplorer(Speller(), [{mouse!r}, 'a cat sleeps'])")


def ready(page, which=0):
    "The explorer, once its two pictures are drawn"
    element = page.locator('.ll-ponder').nth(which)
    for picture in ('.ll-columns', '.ll-map'): expect(element.locator(f'{picture} .main-svg').first).to_be_visible(timeout=patience)
    expect_change(lambda: ring(element), None, 'the map')
    return element


def ring(element):
    "Where the ring is on the map, as plotly has it"
    return element.locator('.ll-map').evaluate('plot => { const t = plot._fullData?.at(-1); return t ? [t.x[0], t.y[0]] : null }')


def cell_at(element, token, thought):
    "Where a cell of the picture is on the screen"
    return element.locator('.ll-columns').evaluate('''(plot, [token, thought]) => { const { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
        return [box.left + xaxis._offset + xaxis.d2p(token), box.top + yaxis._offset + yaxis.d2p(thought)] }''', [token, thought])


def selected(element):
    "The selection, as text, frame, table and map each have it: token, and thought"
    token = int(element.locator('.ll-token.ll-now').get_attribute('data-index'))
    frame = element.evaluate('''root => { const { xaxis, yaxis } = root.querySelector(".ll-columns")._fullLayout, cell = root.querySelector(".ll-cell"), px = (name) => parseFloat(cell.style[name]);
        return [Math.round(xaxis.p2d(px("left") + px("width")/2 - xaxis._offset)), Math.round(yaxis.p2d(px("top") + px("height")/2 - yaxis._offset))] }''')
    thought = int(re.match(r'\d+', element.locator('.ll-reasons tr.ll-now').inner_text())[0])
    assert frame == [token, thought], f'the frame is at {frame}, text and table at {[token, thought]}'
    return token, thought


def expect_selected(element, token, thought):
    expect(element.locator('.ll-token.ll-now')).to_have_attribute('data-index', str(token))
    expect(element.locator('.ll-reasons tr.ll-now')).to_contain_text(re.compile(f'^{thought}'))
    assert selected(element) == (token, thought)
    path = lambda: element.locator('.ll-map').evaluate('plot => [plot.data.at(-2).text.length, plot.data.at(-2).x, plot.data.at(-2).y]')
    expect_change(lambda: (p := path())[0] >= thought and ring(element) == [axis[thought-1] for axis in p[1:]], False, 'the ring')


# ---- what a reader does

def test_one_selection(spelling, browser):
    "Text, picture, table and map move together, by keyboard and by mouse"
    with watched(browser) as page:
        open_notebook(page, spelling, 'spelling.ipynb')
        run_all(page)
        element = ready(page)
        picture, options = element.get_by_role('application'), element.locator('.ll-option')
        expect_selected(element, 4, 8)                                            # where it thought longest
        expect(element.locator('.ll-why')).to_contain_text('ran out: 8 thoughts are allowed')

        # a move marks another column, and draws nothing again, however high the reasons below it are
        page.wait_for_timeout(500)                                                # whatever the first drawing left to do
        element.locator('.ll-columns').evaluate('plot => { plot.drawnAgain = 0; plot.on("plotly_afterplot", () => plot.drawnAgain++) }')
        heights = set()
        for token in (0, 1, 4):
            element.locator('.ll-token').nth(token).click()
            page.wait_for_timeout(100)
            heights.add(element.bounding_box()['height'])
        assert len(heights) > 1 and element.locator('.ll-columns').evaluate('plot => plot.drawnAgain') == 0

        # the picture by keyboard: tokens left and right, thoughts up and down, to the ends and not beyond
        picture.focus()
        page.keyboard.press('Home')
        expect_selected(element, 0, 3)
        page.keyboard.press('ArrowLeft')
        expect_selected(element, 0, 3)
        page.keyboard.press('ArrowRight')
        expect_selected(element, 1, 5)
        expect(element.locator('.ll-why')).to_contain_text('sure: after 5 thoughts')
        page.keyboard.press('ArrowUp')
        expect_selected(element, 1, 4)
        for _ in range(3): page.keyboard.press('ArrowDown')
        expect_selected(element, 1, 5)
        page.keyboard.press('End')
        expect_selected(element, 5, 5)

        # by mouse: a cell of the picture; one that was not thought leads to the last that was; a column; a row of the table; the text
        page.mouse.click(*cell_at(element, 1, 2))
        expect_selected(element, 1, 2)
        page.mouse.click(*cell_at(element, 3, 7))
        expect_selected(element, 3, 2)
        element.locator('.ll-token').nth(4).click()
        expect_selected(element, 4, 8)
        element.locator('.ll-reasons .ll-go').nth(2).click()
        expect_selected(element, 4, 3)
        page.keyboard.press('ArrowDown')
        expect_selected(element, 4, 4)
        expect(element.locator('.ll-reasons .ll-go').nth(3)).to_be_focused()

        # the text by keyboard; one of its tokens is in the tab order
        element.locator('.ll-token.ll-now').focus()
        page.keyboard.press('Home')
        page.keyboard.press('ArrowRight')
        expect_selected(element, 1, 5)
        expect(element.locator('.ll-token[tabindex="0"]')).to_have_count(1)
        expect(element.locator('.ll-token:focus')).to_have_attribute('aria-label', '“mouse” at 1, 5 thoughts')

        # what one thought less or more would have said: s, then e, and a sixth changes nothing
        expect(options).to_have_count(3)
        expect(options.nth(0)).to_contain_text(re.compile('4 thoughts.*says something else.*s', re.S))
        expect(options.nth(2)).to_contain_text(re.compile('6 thoughts.*says the same.*e', re.S))
        expect(options.locator('li span').nth(0)).to_have_text('s')
        assert not errors_of_ours(page), page.errors


def test_texts_and_mistakes(spelling, browser):
    with watched(browser) as page:
        open_notebook(page, spelling, 'spelling.ipynb')
        run_all(page)
        element = ready(page)
        text, tokens = page.get_by_label('Text', exact=True), element.locator('.ll-token')
        page.get_by_label('Example').select_option('a cat sleeps')
        expect(tokens).to_have_text(['a', 'cat', 'sleeps'])
        expect(text).to_have_value('a cat sleeps')
        text.fill('a <b>dog</b> understands')
        expect(tokens).to_have_text(['a', '<b>dog</b>', 'understands'])          # text stays text
        assert element.locator('.ll-tokens b').count() == 0
        expect(element.locator('.ll-option')).to_have_count(3)                    # and its questions are answered

        # a mistake is said in one line, and the picture stays
        for typed, said in ((' ', 'the text is empty'), ('z '*1100, '1,100 tokens')):
            text.fill(typed)
            expect(element.get_by_role('alert')).to_contain_text(said)
            expect(tokens).to_have_count(3)
        text.fill('fine again')
        expect(element.get_by_role('alert')).to_be_hidden()
        expect(tokens).to_have_count(2)

        # what shades the text
        expect(element.locator('.ll-shades')).to_have_text('45')                  # from four thoughts to five
        shades = lambda: tokens.evaluate_all('tokens => tokens.map((token) => token.style.background)')
        assert len(set(shades())) == 2
        page.get_by_label('Shade the text by').select_option('gate')
        expect(element.locator('.ll-shades')).to_have_text('0.40.475')
        expect(page.get_by_label('Layer')).to_be_hidden()                       # there is one layer, so nothing to choose
        element.get_by_text('As a table').click()
        expect(element.locator('.ll-scroll tbody tr')).to_have_count(2)
        assert not errors_of_ours(page), page.errors


def test_busy_kernel(spelling, browser):
    "While a cell runs the selection moves, and a question is answered"
    with watched(browser) as page:
        with held(spelling) as busy:
            open_notebook(page, spelling, 'spelling.ipynb')
            run_all(page)
            element = ready(page)
            busy()
            element.get_by_role('application').focus()
            page.keyboard.press('Home')
            expect(element.locator('.ll-token.ll-now')).to_have_attribute('data-index', '0')
            expect(element.locator('.ll-option h5').first).to_contain_text('2 thoughts')
            expect(page.locator('.jp-InputPrompt', has_text='[*]').first).to_be_visible()      # it runs still


@pytest.mark.parametrize('width', [1200, 390])
def test_snapshot(tmp_path, browser, width):
    "One file: opened from the disk it asks for nothing, selection and layers work, and it knows the answers that were asked for"
    ponder = Ponder(Speller(), 'the </script><img/src=x/onerror=alert(1)> house', position=2)
    ponder.ask_about()
    two = xr.concat([pondering_trace('surprise', 1), pondering_trace('position', 1)], 'reasoning_layer', data_vars='minimal')
    files = ponder.snapshot(tmp_path/'one.html'), PonderExplorer(two, layer=1).snapshot(tmp_path/'two.html')
    with watched(browser) as page:
        page.goto(files[0].as_uri())
        element = ready(page)
        expect(element.locator('.ll-option')).to_have_count(3)
        element.get_by_role('application').focus()
        page.keyboard.press('ArrowLeft')
        expect(element.locator('.ll-said')).to_contain_text('</script><img')
        expect(element.locator('.ll-whatif')).to_contain_text('Not asked before this page was saved')
        page.keyboard.press('ArrowRight')
        expect(element.locator('.ll-option')).to_have_count(3)
        assert page.locator('.ll-page img').count() == 0

        page.set_viewport_size(dict(width=width, height=900))
        page.goto(files[1].as_uri())
        element = ready(page)
        thoughts = lambda: element.locator('.ll-reasons tbody tr').count()
        expect(element.locator('.ll-verdict')).to_contain_text('Explained by position')
        page.get_by_label('Layer').select_option('layer 0')
        expect(element.locator('.ll-verdict')).to_contain_text('Rises with surprise')
        element.get_by_role('application').focus()
        page.keyboard.press('Home')
        here = thoughts()
        page.get_by_label('Layer').select_option('layer 1')
        expect_change(thoughts, here, 'the thoughts')
        assert selected(element)[0] == 0
        assert page.evaluate('document.documentElement.scrollWidth <= innerWidth'), 'wider than the screen'
        assert not page.failed and not page.errors, (page.failed, page.errors)
        assert all(url.startswith(('file:', 'data:', 'blob:')) for url in page.asked), page.asked


def test_numbers_become_sentences(tmp_path, browser):
    "The page says of each token what Python says, shows its text under the mouse, and puts chances where Python does"
    trace = pondering_trace('surprise', 1, 40, 7)
    trace.token_text[0, 1] = 'R&D<b>"it\'s"</b>'
    trace['halt'] = trace.halt*np.random.default_rng(0).uniform(.9, 1, trace.halt.shape)      # numbers with many digits
    p = pondering(trace)
    with watched(browser) as page:
        page.goto(Ponder(trace).snapshot(tmp_path/'it.html').as_uri())
        element = ready(page)
        said, why = element.evaluate("""root => { const said = [], why = [];
            for (const token of root.querySelectorAll(".ll-token")) { token.click(); said.push(root.querySelector(".ll-said").textContent); why.push(root.querySelector(".ll-why").textContent); }
            return [said, why] }""")
        assert said == [said_of(p, i) for i in range(40)] and why == [why_here(p, i) for i in range(40)]
        assert p.ran_out.any() and not p.ran_out.all()
        chances = element.locator('.ll-columns').evaluate('plot => plot.data[0].z')
        assert [[chance is not None for chance in row] for row in chances] == (p.chance.T == p.chance.T).tolist()
        assert max(abs(shown-true) for row, truth in zip(chances, p.chance.T) for shown, true in zip(row, truth) if shown is not None) < 2e-5
        element.locator('.ll-columns').scroll_into_view_if_needed()
        page.mouse.move(*cell_at(element, 1, 1))
        expect(element.locator('.ll-columns .hoverlayer')).to_contain_text('R&D<b>"it\'s"</b> at 1, thought 1')
        assert element.locator('.ll-map').evaluate('plot => plot.data[0].text[1]') == f'<b>R&amp;D&lt;b&gt;"it\'s"&lt;/b&gt;</b> at 1, {p.steps[1]} thought{"s" if p.steps[1] > 1 else ""}'
        assert not page.errors, page.errors


@pytest.mark.parametrize('length, listed', [(60, ['● stopped, sure', '✖ ran out', '┊ not thought']), (1200, ['✖ ran out', 'Of more than 1,000 tokens only those that ran out are marked'])])
def test_legend_lists_what_is_drawn(tmp_path, browser, length, listed):
    with watched(browser) as page:
        trace = pondering_trace('surprise', 1, length, 4)
        if length == 60: trace = trace.assign_coords(switch_position=('example', [20]))
        page.goto(Ponder(trace).snapshot(tmp_path/'it.html').as_uri())
        element = ready(page)
        expect(element.locator('.ll-columns .annotation-text')).to_have_text(['switch'] if length == 60 else [])      # what the truth says happened
        if length == 60:
            name, line = element.locator('.ll-columns .annotation-text').bounding_box(), cell_at(element, 20, 1)
            assert abs(name['x']+name['width']/2 - line[0]) < 2 and name['y']+name['height'] < line[1]
        expect(element.locator('.ll-marks > span')).to_have_text(listed)
        assert element.locator('.ll-columns').evaluate('plot => plot.data.slice(1, -4).map((trace) => trace.name)') == (['not thought any more', 'sure', 'ran out'] if length == 60 else ['ran out'])
        gutter = element.locator('.ll-gutter .ll-row, .ll-gutter .ll-tick').evaluate_all("""all => all.map((one) => { const box = document.createRange(); box.selectNodeContents(one); const { left, right, top, bottom } = box.getBoundingClientRect(); return [left, right, top, bottom] })""")
        assert element.locator('.ll-gutter .ll-row').all_inner_texts() == ['thought', 'thoughts', 'gate', "memory's\nsurprise", "memory's\nwrites"]
        assert not [(a, b) for i, a in enumerate(gutter) for b in gutter[:i] if a[0] < b[1] and b[0] < a[1] and a[2]+2 < b[3] and b[2]+2 < a[3]], 'names of rows overlap'


def test_what_is_drawn_is_cheap(tmp_path, browser):
    "A long heat map is one small image, stretched; a map out of sight is not drawn, and is there when it comes into sight"
    with watched(browser) as page:
        page.set_viewport_size(dict(width=1200, height=300))
        for length, painted in (60, False), (300, True):
            trace = pondering_trace('surprise', 1, length, 6)
            page.goto(Ponder(trace).snapshot(tmp_path/f'{length}.html').resolve().as_uri())
            element = ready(page)
            width = element.locator('.ll-columns image').evaluate('async (image) => { const copy = new Image(); copy.src = image.href.baseVal; await copy.decode(); return copy.naturalWidth }')
            assert (width == length) == painted, width
            chart, seen = element.locator('.ll-map'), 'map => map.querySelector(".main-svg").checkVisibility({ contentVisibilityAuto: true })'
            assert not chart.evaluate(seen)
            chart.scroll_into_view_if_needed()
            expect_change(lambda: chart.evaluate(seen), False, 'the map in sight')
            assert chart.bounding_box()['height'] >= 260


def foreseen_on(page):
    "What the kernel tells before it is asked: key of a text -> its tokens, the newest text last"
    told = {}
    def listen(data):
        for key, about in re.findall(rb'"foreseen": *"\[\\"(.*?)\\", \\"(.*?)\\"', data if isinstance(data, bytes) else data.encode()): told.setdefault(key, set()).add(about)
    page.on('websocket', lambda socket: socket.on('framereceived', listen))
    return told


def test_looks_ahead_without_a_click(spelling, browser):
    "The page asks about the token that is selected when it is drawn; so the others are answered before anybody clicks"
    with watched(browser) as page:
        foreseen = foreseen_on(page)
        open_notebook(page, spelling, 'spelling.ipynb')
        run_all(page)
        element = ready(page)
        expect_change(lambda: page.wait_for_timeout(50) or sum(map(len, foreseen.values())) >= element.locator('.ll-token').count()-1, False, 'what is foreseen')
        expect(element.locator('.ll-option')).to_have_count(3)


def test_lab_notebook(spelling, browser):
    "The lab notebook, on the shipped model: a sentence said twice, a text of one's own, and what one thought less would have said"
    with watched(browser) as page:
        foreseen = foreseen_on(page)
        open_notebook(page, spelling, 'ponder.ipynb')
        run_all(page)
        element = ready(page)
        tokens, options = element.locator('.ll-token'), element.locator('.ll-option')
        expect(page.locator('.jp-StatusBar-TextItem', has_text='| Idle').first).to_be_visible(timeout=5*patience)
        expect(options.first).to_be_visible()
        before = tokens.all_inner_texts()
        page.get_by_label('Example').select_option(index=3)
        expect_change(tokens.all_inner_texts, before, 'the text')
        page.get_by_label('Shade the text by').select_option('surprise')

        # a text of one's own: from typed to drawn
        own = 'The dog ran to the house, and the cat ran after the dog.'
        started = time.monotonic()
        page.get_by_label('Text', exact=True).fill(own)
        expect_change(lambda: ''.join(tokens.all_inner_texts()).replace('␣', '').startswith('Thedogran') and tokens.count() < 60, False, 'the text')
        print(f'typed to drawn: {time.monotonic()-started:.2f} s, of which .35 s tell typing from having typed')
        expect(options.first).to_be_visible()

        # from a click to the answer: what is asked, and what was answered before it was asked
        click = '''async (root, i) => { const start = performance.now();
            root.querySelectorAll(".ll-token")[i].click();
            const known = Boolean(root.querySelector(".ll-option"));
            while (!root.querySelector(".ll-option") && performance.now() - start < 30000) await new Promise((go) => setTimeout(go, 5));
            return [known, Math.round(performance.now() - start)] }'''
        print('click to answer: known before, milliseconds:', [element.evaluate(click, i) for i in (1, 4, 7)])
        expect_change(lambda: page.wait_for_timeout(50) or len(list(foreseen.values())[-1]) >= tokens.count()-4, False, 'what is foreseen')    # the first token and three clicks were asked about
        then = [element.evaluate(click, i) for i in range(tokens.count())]
        print('after looking ahead:', then)
        assert all(known for known, _ in then)

        # a longer text, all of which its box shows, and clicks before anything was foreseen there: the last such token, and others on the way to the front
        box = page.get_by_label('Text', exact=True)
        box.fill(' '.join([own]*12))
        expect_change(lambda: tokens.count() > 150, False, 'the text')
        assert box.evaluate('box => box.scrollHeight - box.clientHeight') <= 1
        expect(options.first).to_be_visible()
        late, waited = next((i, took) for i in reversed(range(tokens.count())) for known, took in [element.evaluate(click, i)] if not known)
        print(f'click to answer, unforeseen: token {late} of {tokens.count()}, {waited} ms; then known before, milliseconds:', {i: element.evaluate(click, i) for i in (160, 140, 100, 60, 20)})
        assert late > 100
        element.get_by_role('application').focus()
        for key in ('Home', 'ArrowRight', 'ArrowDown', 'End'):
            page.keyboard.press(key)
            expect(element.locator('.ll-was li')).to_have_count(5)
        assert not errors_of_ours(page), page.errors
