"Sliding between ideas as a reader meets it: JupyterLab in a real browser, by mouse and by keyboard, with the network off."
import inspect
import re
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import add_toy_notebook, drawn, errors_of_ours, expect_change, held, open_notebook, patience, ring, run_all, watched
from playwright.sync_api import expect

from latent_lab.explore.interpolate import ToyIdeas, all_toy_texts
from latent_lab.explore.interpolation import InterpolationExplorer

mouse, wolf = 'The tiny mouse sleeps in bed.', 'The huge wolf sleeps far away.'


# ---- what the tests stand on

@pytest.fixture(scope='module')
def ways(lab):
    "The lab, with a notebook on a toy beside the lab notebooks"
    return add_toy_notebook(lab, 'words.ipynb', 'from latent_lab.explore.interpolate import ToyIdeas, all_toy_texts\nfrom latent_lab.explore.interpolation import InterpolationExplorer',
                            f'InterpolationExplorer(ToyIdeas(), [{mouse!r}, {wolf!r}], ideas=all_toy_texts()[::7], alpha=0.)')


def ready(page, which=0): return drawn(page.locator('.ll-way').nth(which))


def ring_pixel(element):
    "Where the ring is on the screen"
    return element.locator('.ll-plot').evaluate('''plot => { const t = plot._fullData.at(-1), { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
        return [box.left + xaxis._offset + xaxis.d2p(t.x[0]), box.top + yaxis._offset + yaxis.d2p(t.y[0])] }''')


def aloud(ideas, streamer=None, **generation):
    "A decoder of the toy that always says the same, and stops after its first words until a file says go on"
    for i in range(6 if streamer else 0):
        streamer.put(np.array([i]))
        while i == 2 and not Path('go-on').exists(): time.sleep(.05)
    return [mouse]*len(ideas)


def seconds_to_sentence(element, alpha):
    "How long the page takes from a move of the slider to the sentence on the screen"
    return element.evaluate('''async (element, alpha) => {
        const slider = element.querySelector(".ll-slide"), sentence = element.querySelector(".ll-sentence"), before = sentence.textContent, start = performance.now();
        slider.value = alpha;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        while (sentence.textContent === before && performance.now() - start < 5000) await new Promise(requestAnimationFrame);
        await new Promise(requestAnimationFrame);
        return (performance.now() - start) / 1000 }''', alpha)


def rows(element): return element.locator('.ll-table tbody').first.locator('tr')


# ---- what a reader does

def test_by_keyboard(ways, browser):
    with watched(browser) as page:
        open_notebook(page, ways, 'words.ipynb')
        run_all(page)
        element = ready(page)
        slider, count, sentence, facts = element.get_by_role('slider'), element.locator('.ll-count'), element.locator('.ll-sentence'), element.locator('.ll-facts')
        expect(sentence).to_have_text(mouse)
        expect(rows(element)).to_have_count(11)

        # arrows go from reading to reading, Page Up to the next change, Home and End to the ends
        start = ring(element)
        slider.focus()
        page.keyboard.press('ArrowRight')
        expect(count).to_have_text('α 0.10')
        expect(sentence).to_have_text(mouse)
        expect_change(lambda: ring(element), start, 'the ring')
        page.keyboard.press('PageUp')
        expect(sentence).to_have_text('The small cat sleeps at home.')
        expect(element.locator('tr.ll-now')).to_contain_text('0.20')
        page.keyboard.press('End')
        expect(sentence).to_have_text(wolf)
        page.keyboard.press('Home')
        expect(sentence).to_have_text(mouse)

        # a small step is between two readings: the nearest is shown, then it is read
        for _ in range(3): page.keyboard.press('Shift+ArrowRight')
        expect(count).to_have_text('α 0.03')
        expect(rows(element)).to_have_count(12)
        expect(facts).not_to_contain_text('nearest')

        # the table: one row is in the tab order, arrows lead to the others
        element.locator('tr.ll-now .ll-go').focus()
        page.keyboard.press('ArrowDown')
        expect(count).to_have_text('α 0.10')
        page.keyboard.press('ArrowDown')
        expect(sentence).to_have_text('The small cat sleeps at home.')

        # the map: push the ring, read there, go back
        element.locator('.ll-plot').focus()
        for _ in range(6): page.keyboard.press('ArrowLeft')
        expect(facts).to_contain_text('off the way')
        page.keyboard.press('Enter')
        expect(element.locator('.ll-pushed tr')).to_have_count(1)
        expect(facts).to_contain_text('pushed off the way at 0.20')
        page.keyboard.press('Escape')
        expect(facts).not_to_contain_text('off the way')

        # controls by keyboard
        page.get_by_role('button', name='straight', exact=True).focus()
        page.keyboard.press('Enter')
        expect(element.locator('.ll-pushed')).to_have_count(0)                    # another way, nothing is pushed yet
        page.get_by_role('button', name='Find every change').focus()
        page.keyboard.press('Enter')
        expect_change(lambda: rows(element).count() > 20, False, 'the table')
        assert not errors_of_ours(page), page.errors


def test_words_come_one_by_one(lab, browser):
    "What is said at a new place is read while it is being said"
    source = '\n'.join(['import time', 'from pathlib import Path', 'import numpy as np', f'mouse = {mouse!r}', inspect.getsource(aloud), 'toy = ToyIdeas()', 'toy.words, toy.decode = lambda ids: [" ".join(mouse.split()[:len(ids[0])])], aloud'])
    add_toy_notebook(lab, 'aloud.ipynb', f'from latent_lab.explore.interpolate import ToyIdeas\nfrom latent_lab.explore.interpolation import InterpolationExplorer\n{source}', f'InterpolationExplorer(toy, [{mouse!r}, {wolf!r}])')
    with watched(browser) as page:
        open_notebook(page, lab, 'aloud.ipynb')
        run_all(page)
        element = ready(page)
        sentence, facts = element.locator('.ll-sentence'), element.locator('.ll-facts')
        element.get_by_role('slider').focus()
        page.keyboard.press('Shift+ArrowRight')
        expect(facts).to_have_text('being said …')
        expect(sentence).to_have_attribute('aria-busy', 'true')
        early = sentence.inner_text()
        assert early and mouse.startswith(early) and early != mouse
        (lab[1]/'go-on').touch()
        expect(sentence).to_have_text(mouse)
        expect(facts).not_to_contain_text('being said')
        expect(sentence).to_have_attribute('aria-busy', 'false')
        expect(rows(element)).to_have_count(12)
        assert not errors_of_ours(page), page.errors


def test_by_mouse_and_mistakes(ways, browser):
    with watched(browser) as page:
        open_notebook(page, ways, 'words.ipynb')
        run_all(page)
        element = ready(page)
        slider, sentence, facts = element.get_by_role('slider'), element.locator('.ll-sentence'), element.locator('.ll-facts')
        box = slider.bounding_box()
        page.mouse.click(box['x']+.5*box['width'], box['y']+box['height']/2)
        expect(element.locator('.ll-count')).to_have_text('α 0.50')               # a reading attracts what comes near it
        rows(element).nth(7).click()
        expect(element.locator('.ll-count')).to_have_text('α 0.70')

        # drag the ring off the way, and let go
        element.locator('.ll-plot').scroll_into_view_if_needed()
        x, y = ring_pixel(element)
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x-60, y+40, steps=5)
        expect(facts).to_contain_text('let go')
        page.mouse.up()
        expect(element.locator('.ll-pushed tr')).to_have_count(1)
        expect(facts).to_contain_text('in length')

        # two new texts: a whole ribbon
        first, second = page.get_by_label('A', exact=True), page.get_by_label('B', exact=True)
        first.fill('The old dog waits in town.')
        second.fill('The small bear jumps far away.')
        expect(rows(element).last).to_contain_text('jumps')
        expect(rows(element)).to_have_count(11)
        rows(element).first.click()
        expect(sentence).to_have_text('The old dog waits in town.')

        # a mistake is one line, the picture stays; what is mended is forgiven
        second.fill(' ')
        expect(element.get_by_role('alert')).to_contain_text('text B is empty')
        second.fill('<img src=x onerror=alert(1)>')
        expect(element.get_by_role('alert')).to_contain_text('has no size')
        assert element.locator('img').count() == 0                               # text stays text
        expect(rows(element)).to_have_count(11)
        second.fill(wolf)
        expect(element.get_by_role('alert')).to_be_hidden()
        expect(rows(element).last).to_contain_text('far away')

        # a third text: the way goes on
        page.get_by_role('button', name='+ text').click()
        expect(rows(element)).to_have_count(21)
        expect(page.get_by_label('C', exact=True)).to_be_visible()
        assert not errors_of_ours(page), page.errors


def test_back_to_what_was_read(ways, browser):
    "Undo leads to the very place on a way, with all that was read on it"
    with watched(browser) as page:
        open_notebook(page, ways, 'words.ipynb')
        run_all(page)
        element = ready(page)
        slider, count, undo, redo = element.get_by_role('slider'), element.locator('.ll-count'), *(page.get_by_role('button', name=name) for name in ('Undo', 'Redo'))
        slider.focus()
        for key in ('PageUp', 'Shift+ArrowRight'): page.keyboard.press(key)       # beside a reading, which would attract a hand
        expect(rows(element)).to_have_count(12)
        element.locator('.ll-plot').focus()
        for key in (*['ArrowLeft']*6, 'Enter'): page.keyboard.press(key)
        expect(element.locator('.ll-pushed tr')).to_have_count(1)
        page.keyboard.press('Escape')
        expect(count).to_have_text('α 0.21')
        expect(element.locator('.ll-code')).to_contain_text('alpha=0.21, readings=[0.21], pushed=[(0.21, ')
        page.wait_for_timeout(600)                                                # long enough to be remembered
        page.get_by_role('button', name='+ text').click()
        expect(rows(element)).to_have_count(21)
        slider.focus()
        page.keyboard.press('End')
        expect(count).to_have_text('α 2.00')
        page.wait_for_timeout(800)
        steps = 0
        while rows(element).count() > 12 and steps < 6:
            undo.click(), page.wait_for_timeout(900)
            steps += 1
        expect(rows(element)).to_have_count(12)
        expect(element.locator('.ll-pushed tr')).to_have_count(1)
        expect(count).to_have_text('α 0.21')
        expect(undo).to_have_attribute('aria-disabled', 'false')
        expect(redo).to_have_attribute('aria-disabled', 'false')
        for _ in range(steps): redo.click(), page.wait_for_timeout(900)
        expect(redo).to_have_attribute('aria-disabled', 'true')
        expect(rows(element)).to_have_count(21)
        expect(count).to_have_text('α 2.00')
        assert not errors_of_ours(page), page.errors


def test_busy_kernel(ways, browser):
    "While a cell runs, the slider reads what was read within a tenth of a second"
    with held(ways) as busy, watched(browser) as page:
        open_notebook(page, ways, 'words.ipynb')
        run_all(page)
        element = ready(page)
        busy()
        took = sorted(seconds_to_sentence(element, alpha) for alpha in (.2, .4, .7, .9, 0, .5, 1))
        print('slider to sentence, in seconds:', [round(t, 3) for t in took])
        assert took[len(took)//2] <= .1, took
        expect(element.locator('.ll-sentence')).to_have_text(wolf)
        expect(page.locator('.jp-InputPrompt', has_text='[*]').first).to_be_visible()   # the cell has been running all along
        assert not errors_of_ours(page), page.errors


@pytest.mark.parametrize('scheme, width', [('light', 1200), ('dark', 390)])
def test_snapshot(tmp_path, browser, scheme, width):
    "One file: opened from the disk it asks for nothing, its slider works, and it fits the screen"
    class Hostile(ToyIdeas):
        def decode(self, ideas, **generation): return [text.replace('.', ' <img src=x onerror=alert(1)></script>') for text in super().decode(ideas)]
        def nll(self, ideas, texts): return [1.]*len(texts)
    file = InterpolationExplorer(Hostile(), [mouse, wolf], ideas=all_toy_texts()[::7]).snapshot(tmp_path/'way.html')
    with watched(browser, color_scheme=scheme, screen=dict(width=width, height=900)) as page:
        page.set_viewport_size(dict(width=width, height=900))
        page.goto(file.as_uri())
        element = ready(page)
        slider = element.get_by_role('slider')
        before = ring(element)
        slider.focus()
        page.keyboard.press('Home')
        expect(element.locator('.ll-sentence')).to_contain_text('The tiny mouse sleeps in bed <img')
        expect_change(lambda: ring(element), before, 'the ring')
        element.get_by_role('button', name='Play').click()
        expect(element.locator('.ll-count')).to_have_text('α 1.00')
        assert seconds_to_sentence(element, .3) < 1
        assert page.evaluate('document.documentElement.scrollWidth <= innerWidth'), 'wider than the screen'
        assert not page.failed and not page.errors, (page.failed, page.errors)
        assert all(url.startswith(('file:', 'data:', 'blob:')) for url in page.asked), page.asked
        assert element.locator('img').count() == 0


def test_lab_notebook(ways, browser):
    "The lab notebook, on the shipped model: two new texts give a whole ribbon, and the slider reads it"
    with watched(browser) as page:
        open_notebook(page, ways, 'interpolation.ipynb')
        run_all(page)
        element = ready(page)
        expect(rows(element)).to_have_count(11)
        expect(page.locator('.jp-StatusBar-TextItem', has_text='| Idle').first).to_be_visible(timeout=5*patience)
        before = rows(element).nth(10).inner_text()
        page.get_by_label('A', exact=True).first.fill('The old dog waited at home.')
        page.get_by_label('B', exact=True).first.fill('I would like a coffee.')
        started = time.monotonic()
        expect_change(lambda: element.evaluate('element => element.querySelectorAll(".ll-waiting").length === 0 && element.querySelector(".ll-end.ll-to").textContent.includes("coffee")'), False, 'the ribbon')
        print(f'two new texts to a whole ribbon: {time.monotonic()-started:.1f} s, of which .35 s tell typing from having typed')
        expect(rows(element)).to_have_count(11)
        assert rows(element).nth(10).inner_text() != before
        expect(rows(element).nth(0)).to_contain_text('The old dog waited at home.')
        took = sorted(seconds_to_sentence(element, alpha) for alpha in (0, 1, .5, 0, 1))
        print('slider to sentence, in seconds:', [round(t, 3) for t in took])
        assert took[2] <= .1, took
        page.get_by_label('B', exact=True).first.fill('one two three four five six seven eight nine ten '*4)
        expect(element.get_by_role('alert')).to_contain_text('is 24')
        assert '\n' not in element.get_by_role('alert').inner_text()
        assert not errors_of_ours(page), page.errors
