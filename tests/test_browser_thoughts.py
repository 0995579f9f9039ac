"Thoughts as a reader meets them: JupyterLab in a real browser, by mouse and by keyboard, with the network off."
import re
import time

import pytest
import torch
from conftest import add_toy_notebook, errors_of_ours, expect_change, held, open_notebook, patience, run_all, watched
from playwright.sync_api import expect
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, PreTrainedTokenizerFast

from latent_lab import hub
from latent_lab.explore.debugger import Debugger
from latent_lab.explore.forks import Edit
from latent_lab.models.thought import LatentThoughtConfig, LatentThoughtForCausalLM, thought_rows

sums = [(38, 48), (45, 77), (81, 86), (12, 19), (60, 25), (27, 94), (33, 18), (59, 61), (72, 15), (96, 47), (14, 83), (65, 29)]
questions = [f'{a}+{b}=' for a, b in sums]


# ---- what the tests stand on

@pytest.fixture(scope='module')
def pupil():
    "A tiny model that has learnt twelve sums by heart, in three thoughts: units, carry, tens"
    letters = Tokenizer(models.WordLevel({c: i for i, c in enumerate(['<s>', '</s>', '?', *'0123456789+=<>bi/'])}, unk_token='?'))
    letters.pre_tokenizer, letters.decoder = pre_tokenizers.Split('', 'isolated'), decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=letters, bos_token='<s>', eos_token='</s>', unk_token='?')
    ids = lambda texts, end=[]: [row + end for row in tokenizer(texts)['input_ids']]
    rows = thought_rows(ids(questions), ids([f'{(a+b)%10}{(a%10 + b%10)//10}{(a+b)//10%10}' for a, b in sums]), ids([str(a+b) for a, b in sums], [1]))
    torch.manual_seed(0)
    backbone = LlamaConfig(vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=1, initializer_range=.1, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64)
    model = LatentThoughtForCausalLM(LatentThoughtConfig(decoder=backbone, decoder_source=None, train_decoder=True, latent_ratio=1., num_passes=3, latent_weight=0., thoughts=3)).train()
    optimizer, threads = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0., fused=True), torch.get_num_threads()
    torch.set_num_threads(1)                                                    # a model this small only waits for a second core
    for _ in range(60):
        loss = model(**rows).loss
        optimizer.zero_grad(), loss.backward(), optimizer.step()
    torch.set_num_threads(threads)
    model.tokenizer = tokenizer
    assert model.eval().answer(questions) == [str(a+b) for a, b in sums]
    return model


@pytest.fixture(scope='module')
def adding(lab, pupil):
    "The lab, with the pupil as a checkpoint and a notebook that asks it"
    pupil.save_pretrained(lab[1]/'pupil'), pupil.tokenizer.save_pretrained(lab[1]/'pupil')
    return add_toy_notebook(lab, 'adding.ipynb', 'from latent_lab import hub\nfrom latent_lab.explore.debugger import ThoughtExplorer', f"ThoughtExplorer(hub.load('./pupil'), {questions!r})")


def ready(page):
    "The explorer, once its map is drawn"
    stage = page.locator('.ll-debugger')
    expect(stage.locator('.ll-map .main-svg').first).to_be_visible(timeout=patience)
    expect_change(lambda: ring(stage), None, 'the map')
    return stage


def ring(stage):
    "Where the ring is on the map, as plotly has it; an empty list if it is nowhere"
    return stage.locator('.ll-map').evaluate('plot => { const t = plot._fullData?.at(-1); return t ? [...t.x, ...t.y] : null }')


def in_sight(stage):
    "Whether every dot of the map lies within its axes"
    return stage.locator('.ll-map').evaluate('''plot => { const within = (axis, values) => [...(values || [])].every((v) => v >= axis.range[0] && v <= axis.range[1]), { xaxis, yaxis } = plot._fullLayout;
        return plot._fullData.every((t) => within(xaxis, t.x) && within(yaxis, t.y)) }''')


def asked(stage, question):
    "Wait until the steps are those of a question"
    expect(stage.get_by_role('application')).to_have_attribute('aria-label', re.compile(re.escape(f'Steps of “{question}”')))


def card(stage, row, step): return stage.locator(f'.ll-row-{row} [data-step="{step}"]')


def words(stage, row): return [text for text in stage.locator(f'.ll-row-{row} .ll-card b').all_inner_texts()]


def expect_step(stage, name):
    "One selection: head, column, sentence and heading are about the same step, and so is the ring"
    expect(stage.locator('.ll-head.ll-selected')).to_have_attribute('data-step', name)
    number = re.search(r'\d+', name)[0]
    expect(stage.locator('.ll-said')).to_contain_text(name.capitalize() if name.startswith('thought') else f'Token {number} of the answer')
    path = stage.locator('.ll-map').evaluate('plot => { const { x, y } = plot._fullData.at(-4); return [...x].map((value, i) => [value, y[i]]) }')      # as it was
    at = int(number)-1 if name.startswith('thought') else len(path)-1 if number == '1' else None
    here = [] if at is None else pytest.approx(path[at], abs=1e-3)
    if stage.locator('.ll-row-now').count() == 0: expect_change(lambda: ring(stage) == here, False, 'the ring')


def think_on(page, stage, kind, **more):
    "Fill in the form and send it; how long the answer took"
    branches, form = stage.locator('.ll-branch').count(), stage.locator('.ll-form')
    form.get_by_label('What it reads instead').select_option(kind)
    for name, value in more.items(): (form.get_by_label(name).select_option if name == 'Question' else form.get_by_label(name).fill)(value)
    return stage.evaluate('''async (root, before) => { const start = performance.now();
        root.querySelector(".ll-form .ll-button").click();
        while (root.querySelectorAll(".ll-branch").length === before && performance.now() - start < 60000) await new Promise((go) => setTimeout(go, 5));
        return Math.round(performance.now() - start) }''', branches)


# ---- what a reader does

def test_one_selection(adding, browser):
    "Steps, layers, sentence, form and map are about one step, by keyboard and by mouse"
    with watched(browser) as page:
        open_notebook(page, adding, 'adding.ipynb')
        run_all(page)
        stage = ready(page)
        steps = stage.get_by_role('application')
        expect_step(stage, 'thought 1')
        assert words(stage, 'was') == ['6', '1', '8', '8', '6', 'end']
        assert stage.locator('.ll-lens th').all_inner_texts() == ['last layer', 'layer 1', 'as read']
        assert stage.locator('.ll-lens').first.locator('td').all_inner_texts()[:5] == ['6', '1', '8', '8', '6']      # the last layer says what is said

        steps.focus()
        page.keyboard.press('ArrowRight')
        expect_step(stage, 'thought 2')
        page.keyboard.press('End')
        expect_step(stage, 'token 3')
        page.keyboard.press('ArrowRight')
        expect_step(stage, 'token 3')
        expect(stage.locator('.ll-form')).to_be_hidden()                        # a token is not a thought
        expect(stage.get_by_text('Select a thought to change it.')).to_be_visible()
        page.keyboard.press('Home')
        expect_step(stage, 'thought 1')

        card(stage, 'was', 'token 1').click()
        expect_step(stage, 'token 1')
        stage.locator('.ll-lens [data-step="thought 3"]').first.click()
        expect_step(stage, 'thought 3')
        page.keyboard.press('Enter')
        expect(stage.get_by_label('What it reads instead')).to_be_focused()
        assert not errors_of_ours(page), page.errors


def test_another_thought(adding, browser, pupil):
    "A thought is changed, the answers stand side by side, and the history leads back"
    with watched(browser) as page:
        open_notebook(page, adding, 'adding.ipynb')
        run_all(page)
        stage = ready(page)
        branches, differs = stage.locator('.ll-branch'), stage.locator('.ll-changed .ll-differs')
        expect(stage.get_by_role('button', name='Undo')).to_be_disabled()

        # thought 3 is made a word; the answer is another, and where it begins to differ is marked
        stage.locator('.ll-head', has_text='thought 3').click()
        taken = [think_on(page, stage, 'word', Word='1')]
        expect(branches).to_have_count(2)
        expect(branches.nth(1)).to_contain_text('thought 3: the word “1”')
        expect(branches.nth(1)).to_have_attribute('aria-selected', 'true')
        expect(card(stage, 'now', 'thought 3').locator('em')).to_have_text('the word “1”')
        was, now = words(stage, 'was'), words(stage, 'now')
        assert now[:3] == was[:3] and now[3:] != was[3:]
        expect(differs.first).to_be_visible()
        expect(stage.locator('.ll-sentence')).to_contain_text('“86” becomes')
        expect(stage.locator('.ll-words .ll-option')).to_have_count(2)

        # on top of that thought 1 is borrowed; undo, redo; another branch; back to the first
        stage.locator('.ll-head', has_text='thought 1').click()
        taken.append(think_on(page, stage, 'borrow', Question='96+47='))
        expect(stage.locator('.ll-changed h5')).to_contain_text('2 thoughts changed')
        page.get_by_role('button', name='Undo').click()
        expect(branches.nth(1)).to_have_attribute('aria-selected', 'true')
        page.get_by_role('button', name='Redo').click()
        expect(branches.nth(2)).to_have_attribute('aria-selected', 'true')
        branches.nth(0).click()
        expect(stage.locator('.ll-row-now')).to_have_count(0)
        taken.append(think_on(page, stage, 'answer'))
        thoughtless = Debugger(pupil, questions).fork(1, 'answer')
        expect(stage.locator('.ll-changed small')).to_contain_text(f'{thoughtless.steps} step')
        expect(branches.nth(3).locator('.ll-answered')).to_have_text(thoughtless.answer)
        expect(card(stage, 'now', 'thought 1')).to_have_text('–')               # it does not think at all
        branches.nth(3).focus()
        page.keyboard.press('ArrowUp')
        expect(branches.nth(2)).to_be_focused()
        expect(branches.nth(2)).to_have_attribute('aria-selected', 'true')
        print(f'click to answer, milliseconds: {taken}')

        # a wish that cannot be fulfilled is refused in one line, and nothing is lost; noise is other noise each time
        branches.nth(0).click()
        form = stage.locator('.ll-form')
        form.get_by_label('What it reads instead').select_option('word')
        form.get_by_label('Word').fill('47')
        page.keyboard.press('Enter')
        expect(stage.get_by_role('alert')).to_contain_text('“47” is 2 tokens (4, 7)')
        expect(branches).to_have_count(4)
        think_on(page, stage, 'noise', **{'How much': '2'})
        expect(stage.get_by_role('alert')).to_be_hidden()
        branches.nth(0).click()
        think_on(page, stage, 'noise')
        expect(branches.nth(5)).to_contain_text('(1)')
        stage.get_by_text('As a table').click()
        expect(stage.locator('.ll-scroll tbody tr').first).to_contain_text('as it was')
        assert not errors_of_ours(page), page.errors


def test_questions(adding, browser):
    "Another question, more thoughts, none at all; a mistake is said in one line"
    with watched(browser) as page:
        open_notebook(page, adding, 'adding.ipynb')
        run_all(page)
        stage, question = ready(page), page.get_by_label('Question', exact=True).first
        page.get_by_label('Examples').select_option('45+77=')
        asked(stage, '45+77=')
        assert words(stage, 'was')[3:] == ['1', '2', '2', 'end']
        expect(question).to_have_value('45+77=')

        started = time.monotonic()
        question.fill('<b>1</b>+2=')
        asked(stage, '<b>1</b>+2=')                                             # text stays text
        print(f'typed to answer: {time.monotonic()-started:.2f} s, of which .35 s tell typing from having typed')
        question.fill(' ')
        expect(stage.get_by_role('alert')).to_contain_text('the question is empty')
        question.fill('1'*90)
        expect(stage.get_by_role('alert')).to_contain_text('positions')
        question.fill('12+19=')
        expect(stage.get_by_role('alert')).to_be_hidden()

        slider = page.get_by_role('slider', name='Thoughts')
        slider.focus()
        page.keyboard.press('ArrowRight')
        expect(stage.locator('.ll-head', has_text='thought 4')).to_be_visible()
        page.get_by_label('Reasons').select_option('aloud')
        expect(stage.locator('.ll-head', has_text='thought')).to_have_count(0)
        expect(stage.get_by_text('It reasons aloud')).to_be_visible()
        expect_step(stage, 'token 1')
        expect_change(lambda: ring(stage) != [] and in_sight(stage), False, 'the map')         # fewer dots than before, all of them in sight, and the ring

        # back through what was asked, to a fork, and past it; forward again
        undo, redo = (page.get_by_role('button', name=name) for name in ('Undo', 'Redo'))
        undo.click()
        expect(stage.locator('.ll-head', has_text='thought 4')).to_be_visible()
        expect(page.get_by_label('Reasons')).to_have_value('in thoughts')
        expect(stage.locator('.ll-branch')).to_have_count(1)
        think_on(page, stage, 'zero')
        question.fill('21+43=')
        asked(stage, '21+43=')
        expect(stage.locator('.ll-branch')).to_have_count(1)
        undo.click()
        asked(stage, '12+19=')
        expect(question).to_have_value('12+19=')
        expect(stage.locator('.ll-branch').nth(1)).to_have_attribute('aria-selected', 'true')
        undo.click()
        expect(stage.locator('.ll-branch').nth(0)).to_have_attribute('aria-selected', 'true')
        redo.click()
        expect(stage.locator('.ll-branch').nth(1)).to_have_attribute('aria-selected', 'true')
        redo.click()
        asked(stage, '21+43=')
        expect(redo).to_have_attribute('aria-disabled', 'true')
        assert not errors_of_ours(page), page.errors


def test_busy_kernel(adding, browser):
    "While a cell runs one can look around; a thought is answered when the cell ends, if not before"
    with watched(browser) as page:
        with held(adding) as busy:
            open_notebook(page, adding, 'adding.ipynb')
            run_all(page)
            stage = ready(page)
            busy()
            stage.get_by_role('application').focus()
            page.keyboard.press('ArrowRight')
            expect(stage.locator('.ll-head.ll-selected')).to_have_attribute('data-step', 'thought 2')
            stage.get_by_role('button', name='Think on').click()
            expect(page.locator('.jp-InputPrompt', has_text='[*]').first).to_be_visible()
        expect(stage.locator('.ll-branch')).to_have_count(2)


def test_lab_notebook(lab, browser):
    "The lab notebook, on the shipped model: a sum of one's own, and each of its thoughts changed, by mouse and by keyboard"
    model, own, longer = hub.load('thought-tiny'), '7+2+9+4+6=', '8+1+5+5+3+9+2+7+6='
    with watched(browser) as page:
        open_notebook(page, lab, 'thoughts.ipynb')
        run_all(page)
        stage, question = ready(page), page.get_by_label('Question', exact=True).first
        heads, branches = stage.locator('.ll-head', has_text='thought'), stage.locator('.ll-branch')
        expect(page.locator('.jp-StatusBar-TextItem', has_text='| Idle').first).to_be_visible(timeout=5*patience)      # the probes and the tables are done
        expect(page.locator('.jp-OutputArea-output .js-plotly-plot .main-svg').first).to_be_visible()
        assert heads.count() == model.config.thoughts

        # a sum of one's own: from typed to drawn
        started = time.monotonic()
        question.fill(own)
        asked(stage, own)
        print(f'typed to answer: {time.monotonic()-started:.2f} s, of which .35 s tell typing from having typed')
        assert ''.join(words(stage, 'was')[heads.count():-1]) == model.answer(own)[0]

        # each thought is emptied, always from the untouched answer
        taken = []
        for i in range(heads.count()):
            branches.first.click()
            heads.nth(i).click()
            taken.append(think_on(page, stage, 'zero'))
            expect(branches).to_have_count(i+2)
        print(f'click to answer, milliseconds: {taken}')
        emptied = Debugger(model, [own]).fork(2, 'zero')
        expect(branches.nth(2).locator('.ll-answered')).to_have_text(emptied.answer)

        # the same without a mouse: another sum, to its third thought, left out, and back
        question.focus()
        page.keyboard.press('ControlOrMeta+a')
        page.keyboard.type(longer)
        asked(stage, longer)
        expect(branches).to_have_count(1)
        stage.get_by_role('application').focus()
        page.keyboard.press('Home')
        for _ in range(2): page.keyboard.press('ArrowRight')
        expect_step(stage, 'thought 3')
        page.keyboard.press('Enter')
        kind = stage.get_by_label('What it reads instead')
        expect(kind).to_be_focused()
        kind.select_option('drop')
        page.keyboard.press('Tab')
        page.keyboard.press('Enter')
        expect(branches).to_have_count(2)
        expect(card(stage, 'now', 'thought 3').locator('em')).to_have_text('left out')
        branches.nth(1).focus()
        page.keyboard.press('ArrowUp')
        expect(stage.locator('.ll-row-now')).to_have_count(0)
        assert not errors_of_ours(page), page.errors


@pytest.mark.parametrize('width', [1200, 390])
def test_snapshot(tmp_path, browser, pupil, width):
    "One file: opened from the disk it asks for nothing; steps, answers and history work"
    debugger = Debugger(pupil, ['<img/>', *questions], thoughts=5, step='thought 2')
    debugger.fork(2, Edit('word', text='7'))
    debugger.undo()
    debugger.fork(1, 'drop')
    with watched(browser) as page:
        page.set_viewport_size(dict(width=width, height=900))
        page.goto(debugger.snapshot(tmp_path/'thoughts.html').as_uri())
        stage = ready(page)
        assert page.locator('.ll-page img').count() == 0
        expect(stage.locator('.ll-branch')).to_have_count(3)
        expect(card(stage, 'now', 'thought 1').locator('em')).to_have_text('left out')
        expect(stage.locator('.ll-form')).to_be_hidden()
        expect(stage.get_by_text('A saved page has no model to ask').first).to_be_visible()
        page.get_by_role('button', name='Undo').click()
        expect(stage.locator('.ll-row-now')).to_have_count(0)
        stage.locator('.ll-branch').nth(1).click()
        expect(card(stage, 'now', 'thought 2').locator('em')).to_have_text('the word “7”')
        stage.get_by_role('application').focus()
        page.keyboard.press('Home')
        expect_step(stage, 'thought 1')
        assert page.evaluate('document.documentElement.scrollWidth <= innerWidth'), 'wider than the screen'
        assert not page.failed and not page.errors, (page.failed, page.errors)
        assert all(url.startswith(('file:', 'data:', 'blob:')) for url in page.asked), page.asked
