"What a notebook cannot show of maps: 144 thousand points in a real browser, the same picture from another process, and a machine without the extra."
import re
import subprocess
import sys

import numpy as np
from conftest import add_notebook, expect_change, open_notebook, run_all, watched
from playwright.sync_api import expect

from latent_lab.explore.figures import Walk, draw_lines
from latent_lab.explore.points import chosen_tokens, points_at, points_of
from latent_lab.explore.project import Projector, project_paths, spiral_trace

many_notebook = '''from latent_lab.explore.points import PointsExplorer
from latent_lab.explore.project import spiral_trace
---
trace = spiral_trace(1500, length=96)
explorer = PointsExplorer(trace, columns=['phase', 'nll', 'token_text'])
heard = []
explorer.on_choice(heard.append)
explorer
---
explorer.choose([(3, 40), (7, 12)])
print(explorer.tokens)'''


def script(code):
    "What a process of its own prints"
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout


def test_without_the_extra():
    "The module is imported, still pictures are drawn; only the explorer asks for jupyter-scatter, and says how to get it"
    said = script('''
import sys
sys.modules['jscatter'] = None
from latent_lab.explore.points import PointsExplorer, explore_points, points_of
from latent_lab.explore.project import spiral_trace
print(type(explore_points(spiral_trace())).__name__)
try: PointsExplorer(spiral_trace())
except ImportError as error: print(error)''')
    assert said.splitlines() == ['Figure', 'a million points are drawn by jupyter-scatter, an extra: pip install "latent_lab[scatter]"']


picture = '''
import sys
import numpy as np
from latent_lab.explore.compare import overlay
from latent_lab.explore.figures import trajectory
from latent_lab.explore.project import Projector, load_projector, save_projector, spiral_trace
trace = spiral_trace()
later = trace.assign(state=trace.state.copy(data=np.tanh(trace.state.values[..., ::-1])))      # another checkpoint, turned and bent
figure = {figure}
sys.stdout.write(figure.to_json())'''


def test_same_input_same_pixels(tmp_path, browser):
    "Two processes draw one map of one trace, and a kept map another checkpoint: the same figures to the last digit, and the same pixels"
    import plotly.io
    kept = tmp_path/'map.npz'
    script(f"from latent_lab.explore.project import *\nimport numpy as np\ntrace = spiral_trace()\nsave_projector(Projector().fit(np.concatenate(list(trace.state.values[:3]))), {str(kept)!r})")
    for figure in ('trajectory(trace, [0, 3], color="phase")', f'overlay(trace, later, 1, projector=load_projector({str(kept)!r}))'):
        first, second = (script(picture.format(figure=figure)) for _ in range(2))
        assert first == second
        shots = []
        for number, told in enumerate((first, second)):
            page_file = tmp_path/f'{number}.html'
            plotly.io.from_json(told).write_html(page_file, include_plotlyjs=True, config=dict(staticPlot=True))
            with watched(browser) as page:
                page.goto(page_file.as_uri())
                expect(page.locator('.main-svg').first).to_be_visible()
                shots.append(page.screenshot())
        assert shots[0] == shots[1] and len(set(shots[0])) > 100


def test_a_path_that_umap_tears_is_marked():
    "A straight path of sixteen even steps between two groups: even on PCA and unmarked; on UMAP torn, and dashed where it is"
    rng = np.random.default_rng(0)
    groups = (rng.normal(size=(2, 150, 16)) + np.array([0, 6])[:, None, None]).astype('float32')
    straight = np.linspace(*groups.mean(1), 16)
    for kind, marked in (('pca', set()), ('umap', {('jump of the map', 'dash')})):
        projector = Projector(kind).fit(np.concatenate(groups))
        path, = project_paths(projector, [straight])
        lines = {(line.name.split(':')[0], line.line.dash) for line in draw_lines([Walk(0, np.arange(16), straight, path)], projector)[1:]}
        assert marked <= lines and (kind == 'umap' or not lines)


def test_a_trace_on_disk_is_placed_part_by_part(tmp_path):
    "The same points from a store, and each leads back to its token"
    from latent_lab.trace import open_trace, write_trace
    trace = spiral_trace(40)
    points, stored = points_of(trace), points_of(open_trace(write_trace(trace, tmp_path/'x.zarr')))
    np.testing.assert_array_equal(points.places, stored.places)
    some = np.random.default_rng(0).integers(0, len(points), 50)
    assert (points_at(stored, chosen_tokens(points, some)) == np.unique(some)).all()


def test_many_points_in_the_lab(lab, browser):
    "More points than plotly draws: a lasso chooses tokens, another colour is chosen by keyboard, and nothing is fetched"
    add_notebook(lab, 'points.ipynb', many_notebook)
    with watched(browser) as page:
        open_notebook(page, lab, 'points.ipynb')
        run_all(page)
        output = page.locator('.jp-OutputArea-output')
        expect(output.filter(has_text='[(3, 40), (7, 12)]')).to_be_visible()
        status = page.get_by_role('status').filter(has_text='points, from')
        expect(status).to_have_text(re.compile(r'^2 of 143,976 points, from 2 examples'))

        # what is chosen by mouse: the lasso, and a circle drawn round the middle
        page.get_by_title('Activate lasso selection').click()
        box = page.locator('.jp-OutputArea canvas').first.bounding_box()
        x, y, r = box['x']+box['width']/2, box['y']+box['height']/2, min(box['width'], box['height'])/3
        page.mouse.move(x+r, y)
        page.mouse.down()
        for angle in np.linspace(0, 2*np.pi, 24): page.mouse.move(x+r*np.cos(angle), y+r*np.sin(angle))
        page.mouse.up()
        expect_change(lambda: status.inner_text()[:4], '2 of', 'the choice')
        assert int(status.inner_text().split(' of ')[0].replace(',', '')) > 10_000
        expect(page.locator('mark').first).to_be_visible()                    # the tokens, in their place

        # another colour, by keyboard
        control = page.get_by_label('Colour by')
        control.focus()
        control.select_option('surprise (nll)')
        expect(page.get_by_text(re.compile('Coloured by nll'))).to_be_visible()
        expect(page.get_by_role('alert')).to_have_count(0)
        assert not [error for error in page.errors if re.search(r'jupyter-scatter|regl|anywidget', error, re.I) and 'Failed to initialize model' not in error]
