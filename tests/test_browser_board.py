"The board as a reader meets it: a table of variants, each row of which opens, by mouse and by keyboard, with the network off."
import contextlib
import io

import pytest
from conftest import add_notebook, errors_of_ours, expect_change, in_each_theme, open_notebook, patience, run_all, watched
from playwright.sync_api import expect
from test_browser_explorers import barriers, open_drawn, too_wide

from latent_lab.recipes import Recipe, changed, run

gate, none = 'gate_bias=-2.0', 'gate_bias=null'


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    "A model in which tokens think, with its gate from two seeds and without it from one: a few steps each"
    folder = tmp_path_factory.mktemp('runs')
    brief = Recipe(name='brief', about='Almost nothing', model=dict(model_type='titans', attn_dim=16, num_attention_heads=2, dropout=0., chunk_size=32, max_thoughts=4),
        data=dict(kind='sequences', tasks=['structured_tokens'], stages=[[16, 3]], rows_per_step=4, eval_rows=4), evaluation=dict(lengths=[16], num_rows=4),
        training=dict(use_cpu=True, disable_tqdm=True, logging_strategy='no', save_strategy='no', per_device_train_batch_size=4, seed=0))
    with contextlib.redirect_stdout(io.StringIO()):
        for name, change, seed in (('a0', {}, 0), ('a1', {}, 1), ('b0', {'model.gate_bias': None}, 0)): run(changed(brief, change | {'training.seed': seed}), folder/name)
    return folder


def test_rows_open(lab, runs, browser):
    "A row is opened by keyboard, its explorers share a token; another row takes its place, and once more it closes; no barrier in either theme"
    add_notebook(lab, 'board.ipynb', f'from latent_lab.board import Board\n---\nboard = Board({str(runs)!r})\nboard')
    with watched(browser) as page:
        open_notebook(page, lab, 'board.ipynb')
        run_all(page)
        table = page.locator('.ll-board').first
        expect(table.locator('.main-svg').first).to_be_visible(timeout=patience)
        region = table.get_by_role('region', name='Table of variants')
        expect(region.get_by_role('columnheader')).to_have_text(['variant', 'runs', 'eval_loss', 'structured_tokens@16.accuracy', 'structured_tokens@16.share'])
        rows = {name: region.get_by_role('button', name=name) for name in (gate, none)}
        expect(region.get_by_role('row').nth(2)).to_contain_text('no interval')            # of a single run

        # by keyboard alone
        rows[gate].focus()
        page.keyboard.press('Enter')
        expect(rows[gate]).to_have_attribute('aria-expanded', 'true', timeout=patience)
        expect(page.get_by_role('status').filter(has_text='a0: ').first).to_be_visible(timeout=patience)
        pondering = page.locator('.ll-ponder')
        expect(pondering.locator('.main-svg').first).to_be_visible(timeout=patience)
        expect(rows[gate]).to_be_focused()                                                 # who went there stays there
        expect(page.locator('.ll-board').nth(1)).to_contain_text('Up to 16 tokens, as long as it was trained on', timeout=patience)
        expect(page.locator('.ll-board').nth(1).locator('.main-svg').first).to_be_visible(timeout=patience)

        # the explorers of a row share the token
        pondering.locator('.ll-token[data-index="5"]').click()
        page.get_by_role('tab', name='Path of a state').click()
        expect(page.locator('.ll-walk .ll-token.ll-now')).to_have_attribute('data-index', '5', timeout=patience)

        # another row
        rows[gate].focus()
        page.keyboard.press('Tab')
        page.keyboard.press('Space')
        expect(rows[none]).to_have_attribute('aria-expanded', 'true', timeout=patience)
        expect(rows[gate]).to_have_attribute('aria-expanded', 'false')
        expect(page.get_by_role('status').filter(has_text='b0: ').first).to_be_visible(timeout=patience)
        expect(page.get_by_role('tab', name='How long, and why')).to_have_count(1)
        expect(page.locator('.ll-board')).to_have_count(2, timeout=patience)

        # beside another variant; other figures
        first = region.get_by_role('row').nth(1)
        before = first.inner_text()
        page.get_by_label('Compared with').select_option(none)
        expect_change(first.inner_text, before, 'the first row')
        expect(first).to_contain_text('(no interval)')
        page.get_by_label('Figures').select_option(['parameters'])
        expect(region.get_by_role('columnheader')).to_have_text(['variant', 'runs', 'parameters'])

        for theme in in_each_theme(page):
            assert not (found := barriers(page, '.ll-explorer')), (theme, found)

        rows[none].press('Enter')
        expect(pondering).to_have_count(0, timeout=patience)
        expect(page.locator('.ll-board')).to_have_count(1)
        assert not errors_of_ours(page), page.errors


def test_in_one_file(tmp_path, runs, browser):
    "The board and what is open, without a kernel: read in light and dark, wide and narrow, and nothing that pretends to open"
    from latent_lab.board import Board
    file = Board(runs, opened=none).settle().snapshot(tmp_path/'board.html')
    assert file.stat().st_size < 6e6
    with watched(browser) as page:
        page.goto(file.as_uri())
        open_drawn(page, 'pondering')
        boards = page.locator('.ll-board')
        expect(boards).to_have_count(2)
        for number in 0, 1: expect(boards.nth(number).locator('.main-svg').first).to_be_visible(timeout=patience)
        expect(boards.first.get_by_role('rowheader')).to_have_text([gate, none])
        expect(boards.first.locator('.ll-open')).to_have_count(0)
        for width in 1400, 390:
            for theme in 'light', 'dark':
                page.set_viewport_size(dict(width=width, height=900))
                page.emulate_media(color_scheme=theme)
                page.wait_for_timeout(300)                                                 # pictures follow the width
                assert not (found := too_wide(page)), (width, theme, found)
                assert not (found := barriers(page, 'body')), (width, theme, found)
        assert not page.failed and not page.errors, (page.failed, page.errors)
        assert all(url.startswith(('file:', 'data:', 'blob:')) for url in page.asked), page.asked
