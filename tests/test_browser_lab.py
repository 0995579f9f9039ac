"The lab as a reader meets it: one place for all models, in JupyterLab in a real browser, by mouse and by keyboard, with the network off."
from conftest import errors_of_ours, expect_change, open_notebook, patience, run_all, watched
from playwright.sync_api import expect


def choose(page, name):
    "Choose a model from the list"
    page.get_by_label('Model', exact=True).select_option(name)


def type_name(page, name):
    "Type the name of a model, and Enter"
    page.get_by_label('or another', exact=True).fill(name)
    page.keyboard.press('Enter')


def now(stage):
    "Which token is selected in an explorer"
    return int(stage.locator('.ll-token.ll-now').first.get_attribute('data-index'))


def test_one_place(lab, browser):
    "Open a model, choose a token, find it in the other tab; open another model, write a question, find it in the other tab; a name that is none is said, and nothing is lost"
    with watched(browser) as page:
        open_notebook(page, lab, 'index.ipynb')
        run_all(page)
        status, tabs = page.get_by_role('status').filter(has_text='weights').first, page.get_by_role('tab')
        expect(status).to_contain_text('titans-tiny', timeout=patience)
        pondering = page.locator('.ll-ponder').first
        expect(pondering.locator('.ll-columns .main-svg').first).to_be_visible(timeout=patience)

        # one selection: a token that is chosen among the chances is chosen on the path
        pondering.locator('.ll-token[data-index="5"]').click()
        expect_change(lambda: now(pondering) == 5, False, 'the token')
        page.get_by_role('tab', name='Path of a state').click()
        path = page.locator('.ll-page:not(.ll-ponder)').locator('visible=true').first
        expect(path.locator('.ll-token.ll-now').first).to_have_attribute('data-index', '5', timeout=patience)

        # and by keyboard the other way round
        token = path.locator('.ll-token[data-index="5"]')
        token.focus()
        page.keyboard.press('ArrowRight')
        page.keyboard.press('Enter')
        expect(path.locator('.ll-token.ll-now').first).to_have_attribute('data-index', '6', timeout=patience)
        page.get_by_role('tab', name='How long, and why').click()
        expect(pondering.locator('.ll-token.ll-now')).to_have_attribute('data-index', '6', timeout=patience)

        # another model, another family
        choose(page, 'thought-tiny')
        expect(page.get_by_role('tab', name='Thoughts, what if')).to_be_visible(timeout=patience)
        expect(page.locator('.ll-head', has_text='thought').first).to_be_visible(timeout=patience)

        # its question is the text of the other tab
        page.get_by_role('textbox', name='Question').fill('4+7+1=')
        page.get_by_role('tab', name='Path of a state').click()
        expect(page.get_by_role('textbox', name='Text', exact=True)).to_have_value('4+7+1=', timeout=patience)
        page.get_by_role('tab', name='Thoughts, what if').click()

        # what cannot be opened is said in one line, and what is open stays, and is what the controls say
        for name, said in (('soup', "soup cannot be opened: 'soup' is no shipped checkpoint"), ('/etc', "/etc cannot be opened: folder '/etc' holds no config.json")):
            type_name(page, name)
            expect(page.get_by_role('alert').filter(has_text=said)).to_be_visible(timeout=patience)
            expect(page.get_by_role('alert').filter(has_text=said)).to_have_css('border-left-width', '4px')
            expect(page.get_by_label('Model', exact=True).locator('option:checked')).to_have_text('thought-tiny')
            expect(page.get_by_label('or another', exact=True)).to_have_value('')
            expect(page.locator('.ll-head', has_text='thought').first).to_be_visible()

        choose(page, 'idea-tiny')
        expect(page.get_by_role('tab', name='Between two texts')).to_be_visible(timeout=patience)
        expect(page.locator('.ll-way, .ll-page').locator('visible=true').first).to_be_visible(timeout=patience)
        assert not errors_of_ours(page), page.errors
