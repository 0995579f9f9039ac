"A run as a reader watches it: JupyterLab in a real browser, while the training cell runs, with the network off."
import re
import time

import nbformat
import pytest
from conftest import drawn, errors_of_ours, expect_change, held, open_notebook, ring, run_all, watched
from playwright.sync_api import expect


def moments(element):
    "How many moments the page knows"
    return 1+int(element.locator('.ll-slider').get_attribute('max'))


def timed(act, read, what):
    "Do something; seconds until what is read is no longer as it was"
    before, start = read(), time.monotonic()
    act()
    expect_change(read, before, what)
    return time.monotonic()-start


PATIENT = '''from pathlib import Path
import time
from transformers import TrainerCallback

class Patient(TrainerCallback):
    def on_step_begin(self, args, state, control, **kwargs):
        while state.global_step == 240 and Path('hold').exists(): time.sleep(.05)'''


@pytest.fixture
def patient(lab):
    "The lab with a run that does not take its last ten steps before its reader is done, however slow a machine shows the page"
    notebook = nbformat.read(lab[1]/'learning.ipynb', as_version=4)
    training = next(cell for cell in notebook.cells if 'callbacks=[watch]' in cell.source)
    training.source = PATIENT + '\n\n' + training.source.replace('callbacks=[watch]', 'callbacks=[watch, Patient()]')
    nbformat.write(notebook, lab[1]/'patient.ipynb')
    return lab


def test_watched_while_it_trains(patient, browser):
    "The page fills while the training cell runs, and slider and lists answer meanwhile"
    with watched(browser) as page:
        with held(patient):
            open_notebook(page, patient, 'patient.ipynb')
            run_all(page)
            element, last = page.locator('.ll-page').first, 26
            expect_change(lambda: element.count() and moments(element) > 2, False, 'the page')
            drawn(element)
            said, title = element.locator('.ll-said'), element.locator('.gtitle-subtitle')

            # the slider, by keyboard: another moment, another place of the ring, and what was said there
            slider = element.locator('.ll-slider')
            slider.focus()
            took = [timed(lambda: page.keyboard.press('Home'), said.inner_text, 'what is said')]
            expect(said).to_contain_text('step 0')
            here = ring(element)
            took.append(timed(lambda: page.keyboard.press('ArrowRight'), said.inner_text, 'what is said'))
            expect(said).to_contain_text(re.compile('step 10 · .*says “'))
            expect_change(lambda: ring(element), here, 'the ring')
            moved = moments(element)

            # a list, which the kernel serves: another text, another token, while it trains
            chosen = timed(lambda: page.get_by_label('Text', exact=True).select_option(index=1), said.inner_text, 'the text')
            expect(said).to_contain_text('step 10')                                # a reader who went back stays there
            served = moments(element)
            assert moved < last and served < last, f'training had ended: {moved} and {served} of {last} moments'
            print(f'while it trained: slider {[f"{1000*s:.0f} ms" for s in took]}, another text {1000*chosen:.0f} ms, at moments {moved} and {served} of {last}')

        # the map stays as it is until another step is chosen, and at the end everything is there
        expect_change(lambda: moments(element) == last, False, 'the end')
        expect(title).to_contain_text('and left so')
        before = title.text_content()
        page.get_by_label('Map of step', exact=True).select_option('250')
        expect_change(title.text_content, before, 'the map')
        expect(title).to_contain_text('PCA of step 250')
        slider.focus()
        page.keyboard.press('End')
        expect(said).to_contain_text(re.compile('step 250 · loss .* · says “20 15 10 5'))
        element.get_by_text('As a table').click()
        expect(element.locator('.ll-scroll tbody tr')).to_have_count(last)
        assert not errors_of_ours(page), page.errors
