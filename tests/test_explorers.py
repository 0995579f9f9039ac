"What every explorer promises, without a browser: one set of names, code that shows the same again, a history, the latest wish wins, and errors that are not lost."
import dataclasses
import json
import re
import threading
import time

import pandas as pd
import plotly.graph_objects as go
import pytest
from conftest import EXPLORERS, toy_explorer

from latent_lab.explore.forks import Edit
from latent_lab.explore.interpolation import Interpolation
from latent_lab.explore.pondering import Ponder, pondering_trace
from latent_lab.explore.project import spiral_trace
from latent_lab.explore.widgets import Portable, TrajectoryExplorer, frame_json, page_asset

each_explorer = pytest.mark.parametrize('kind', EXPLORERS)

# A view of each that is not the first one, and what a control can be given: many wishes, of which the last must win
OTHER = dict(trajectory=dict(example=1, position=7, color='position', dimensions=3), interpolation=dict(alpha=.3, kind='linear'),
             pondering=dict(position=2, thought=0, color='gate'), debugger=dict(edits={2: Edit('zero')}, step='thought 2', thoughts=4), learning=dict(example=1, position=0, mapped_at=10, token=3))
WISHES = dict(trajectory=('example', [0, 1], 2), interpolation=('text', ['The old cat rests in town.', 'The big bear jumps in the hills.'], 'The small dog runs at home.'),
              pondering=('texts', ['a cat', 'a dog'], 'two mice'), debugger=('question', ['1+2=', '3+4='], '5+6='), learning=('example', [0, 1], 2))


def control(explorer, name): return explorer.boxes[0] if name == 'text' else explorer.controls[name]


def chosen(explorer, name): return explorer.view.texts[0] if name == 'text' else getattr(explorer.view, name)


@each_explorer
def test_the_same_names_without_a_front_end(kind, tmp_path):
    explorer, _ = toy_explorer(kind)
    assert isinstance(explorer.figure(), go.Figure) and len(explorer.figure().data)
    assert json.loads(frame_json(explorer.frame()))['summary'] in explorer.describe()
    assert len(explorer.table()) and isinstance(explorer.table(), pd.DataFrame)
    assert explorer.caption() and '\n' not in explorer.caption()
    assert explorer.to_html().startswith('<!doctype html>') and explorer.as_code().replace("'", '&#x27;') in explorer.to_html()
    file = explorer.snapshot(tmp_path/'it.html')
    assert 1e6 < file.stat().st_size < 6e6
    with pytest.raises(ValueError, match='must end in .html'): explorer.snapshot(tmp_path/'it.pdf')


@each_explorer
def test_code_shows_the_same_again(kind):
    explorer, names = toy_explorer(kind, **OTHER[kind])
    again = eval(explorer.as_code(), names)
    assert again.view == explorer.view
    assert json.loads(frame_json(again.frame())) == json.loads(frame_json(explorer.frame()))
    assert frame_json(toy_explorer(kind)[0].frame()) != frame_json(explorer.frame())


def test_code_shows_again_what_was_asked_for_on_the_way():
    "A reading between two others, one beside the way, every change: the interpolation explorer reads what its reader wants, and its code says what that was"
    explorer, names = toy_explorer('interpolation')
    plain = explorer.as_code()
    explorer.page.asked = explorer.page.alpha = .43
    explorer.settle().page.pushed = [.43, .4123456, -.2123456]           # in the digits of a mouse
    explorer.keep()
    assert len(explorer.settle().table()) == 13 and explorer.keep().code.tolist() == [explorer.as_code()]     # a view is kept once, as it is now
    assert explorer.as_code() == f'{plain[:-1]}, alpha=0.43, readings=[0.43], pushed=[(0.43, 0.4123, -0.2123)])'
    for again in (eval(explorer.as_code(), names), eval(explorer.as_code().replace('InterpolationExplorer', 'Interpolation'), names | dict(Interpolation=Interpolation))):
        assert again.view == explorer.view and again.as_code() == explorer.as_code() and again.describe() == explorer.describe()
        pd.testing.assert_frame_equal(again.table(), explorer.table())
        assert json.loads(frame_json(again.frame())) == json.loads(frame_json(explorer.frame()))
    explorer.controls['sharpen'].click()
    again = eval(explorer.settle().as_code(), names)
    assert len(again.table()) > 20 and json.loads(frame_json(again.frame())) == json.loads(frame_json(explorer.frame()))


def test_what_was_read_stays():
    "What was read on a way is there when one comes back to it, and the model is not asked again"
    explorer, names = toy_explorer('interpolation')
    explorer.rest, explorer.page.asked, decode = 0., .43, names['model'].decode
    explorer.settle().page.pushed = [.43, .4, -.2]
    explorer.settle().keep()
    left, old = explorer.table(), explorer.boxes[0].value
    assert len(left) == 13
    other = lambda: setattr(explorer.boxes[0], 'value', 'The old cat rests in town.')
    for away, back in ((other, explorer.undo), (lambda: setattr(explorer.controls['kind'], 'value', 'linear'), explorer.undo), (explorer.controls['more'].click, explorer.controls['fewer'].click),
                       (other, lambda: setattr(explorer.page, 'wish', json.dumps([time.time(), 'return', 0]))), (other, lambda: setattr(explorer.boxes[0], 'value', old))):
        names['model'].decode = decode
        away()
        assert len(explorer.settle().table()) != 13
        names['model'].decode = None                                     # nobody asks it
        back()
        pd.testing.assert_frame_equal(explorer.settle().table(), left)
    explorer.undo()
    explorer.redo()
    pd.testing.assert_frame_equal(explorer.settle().table(), left)


@each_explorer
def test_a_view_is_a_small_value(kind):
    view = toy_explorer(kind, **OTHER[kind])[0].view
    assert dataclasses.is_dataclass(view) and len(repr(view)) < 1000
    with pytest.raises(dataclasses.FrozenInstanceError): view.texts = view.question = 'another'


@each_explorer
def test_what_was_seen_comes_back(kind):
    explorer, _ = toy_explorer(kind)
    first, (name, _, last) = explorer.view, WISHES[kind]
    explorer.rest = 0.
    control(explorer, name).value = last
    second = explorer.settle().view
    assert second != first and explorer.page.steps == [1, 0]
    explorer.page.wish = json.dumps([1, 'undo'])                         # as the button does
    assert explorer.settle().view == first and explorer.page.steps == [0, 1]
    explorer.page.wish = json.dumps([2, 'keep'])
    explorer.page.wish = json.dumps([3, 'redo'])
    assert explorer.settle().view == second
    assert control(explorer, name).value == last
    assert [row['caption'] for row in json.loads(explorer.page.kept)] == explorer.kept()['view'].tolist() == [explorer.kept_views[0].caption]
    explorer.page.wish = json.dumps([4, 'return', 0])
    assert explorer.settle().view == first
    explorer.page.wish = json.dumps([5, 'return', 9])                    # there is none such: said, not lost
    assert 'IndexError' in explorer.page.error
    with pytest.raises(IndexError): explorer.settle()
    explorer.page.wish = json.dumps([6, 'return', 0])                    # the next that can be done takes it away
    assert explorer.settle().page.error == ''


@pytest.mark.parametrize('kind', [kind for kind, (name, *_) in WISHES.items() if name != 'example'])
def test_undo_takes_back_what_was_refused(kind):
    "And the view that was looked at meanwhile stays"
    explorer, _ = toy_explorer(kind)
    seen, box = explorer.view, control(explorer, WISHES[kind][0])
    was, box.value = box.value, ' '
    with pytest.raises(ValueError): explorer.settle()
    assert explorer.page.error
    explorer.page.wish = json.dumps([1, 'undo'])
    assert explorer.settle().view == seen and (box.value, explorer.page.error) == (was, '')


@each_explorer
def test_two_threads_change_controls(kind):
    "And nobody takes that for a reader's wish"
    explorer, _ = toy_explorer(kind)
    asked, explorer.latest.submit, view = [], lambda *request: asked.append(request), explorer.view
    def fill():
        for _ in range(50):
            with explorer.filling(): explorer.put(view); time.sleep(.0005); control(explorer, WISHES[kind][0]).value = WISHES[kind][1][0]
    threads = [threading.Thread(target=fill) for _ in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert not asked


@each_explorer
def test_the_latest_wish_wins(kind):
    "Fifty events within a second are two pieces of work at the most"
    explorer, _ = toy_explorer(kind)
    (name, wishes, last), work, served = WISHES[kind], explorer.latest.work, []
    explorer.latest.work = lambda *request: (served.append(request), work(*request))
    for i in range(49):
        control(explorer, name).value = wishes[i % 2]
        time.sleep(.005)
    control(explorer, name).value = last
    assert chosen(explorer.settle(), name) == last
    assert 1 <= len(served) <= 2, served


@each_explorer
def test_an_error_is_on_the_page_and_is_raised(kind, monkeypatch):
    explorer, _ = toy_explorer(kind)
    good, (name, _, last) = explorer.page.frame, WISHES[kind]
    def fails(*args): raise RuntimeError('the machine is on fire')
    with monkeypatch.context() as patched:
        patched.setattr(explorer, dict(trajectory='show', interpolation='travel', pondering='think', debugger='begin', learning='map')[kind], fails)
        control(explorer, name).value = last
        with pytest.raises(RuntimeError, match='on fire'): explorer.settle()
    assert 'the machine is on fire' in explorer.page.error and explorer.page.frame == good and explorer.page.busy == ''
    control(explorer, name).value = WISHES[kind][1][1]
    assert explorer.settle().page.error == '' and explorer.page.frame != good


@pytest.mark.parametrize('make', [lambda: TrajectoryExplorer(spiral_trace(1, length=5000)), lambda: Ponder(pondering_trace('surprise', 1, 5000, 8)), lambda: Ponder(pondering_trace('surprise', 1, 4096, 32))], ids=['trajectory', 'pondering', 'long pondering'])
def test_five_thousand_points_are_a_small_file(make):
    assert len(make().to_html().encode()) < 6e6


def test_a_script_can_keep_views_too():
    portable = Portable(spiral_trace(2, length=20), position=3)
    assert portable.keep().equals(portable.keep()) and len(portable.kept()) == 1
    assert '"place": {"position": 3}' in portable.to_html()


@pytest.mark.parametrize('style, root', [('trajectory', '.ll-walk'), ('interpolation', '.ll-way'), ('pondering', '.ll-ponder'), ('debugger', '.ll-debugger'), ('board', '.ll-board')])
def test_no_style_leaks_into_another_explorer(style, root):
    "Explorers stand on one page, so each rule names whose it is"
    rules = re.sub(r'/\*.*?\*/', '', page_asset(style, 'css'), flags=re.S)
    selectors = [s.strip() for group in re.findall(r'([^{}]+)\{', rules) if '@' not in group for s in group.split(',')]
    assert len(selectors) > 15 and not [s for s in selectors if not re.match(rf'{re.escape(root)}\b', s)]
