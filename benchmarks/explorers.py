"""How long a reader waits for the explorers: each interaction beside its budget, with the shipped models, in JupyterLab and Chromium.

    python benchmarks/explorers.py

A page is timed by its own clock, from the event to the frame after the change is there. Each row has a target and a hard limit: it holds if the median meets the target and the worst the limit. Nothing is asserted here: a busy machine is slower, so the load before and after is stored with the figures. `--only` measures some parts and leaves the other rows as they are.
"""
import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

root = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(root), str(root/'tests')]
os.environ['PYTHONPATH'] = os.pathsep.join([str(root), *filter(None, [os.environ.get('PYTHONPATH')])])       # the kernels read this very checkout

from conftest import add_notebook, chromium, expect_change, jupyterlab, open_notebook, run_all, watched  # noqa: E402

RESULTS = Path(__file__).parent/'results'

# interaction -> target and hard limit, in milliseconds unless said otherwise
BUDGETS = {
    'slider of a path: thumb to ring': (50, 100),
    'token of a text: click to all linked marks': (50, 100),
    'cached decode: slider to sentence': (100, 200),
    'new alpha: let go to first words': (250, 500),
    'new alpha: let go to the whole sentence': (1000, 5000),
    'new texts: typed to all 11 readings': (4000, 10000),
    'heat map 512 x 16: drawn again': (150, 500),
    'heat map 4,096 x 32: drawn again': (500, 500),
    'token selected: path highlighted': (100, 200),
    'PCA: 16 states on a fitted map': (5, 5),
    'UMAP, warm: 16 states on a fitted map': (1500, 1500),
    'first explorer of a page: cell to paint': (1000, 3000),
    'next explorer of a page: cell to paint': (1000, 3000),
    'lab notebooks: slowest cell with a shipped model (s)': (10, 30),
    'page of a path of 5,000 tokens (MB)': (6, 6),
    'while a model trains: slider to what it said': (1000, 1000),
    'while a model trains: another text': (1000, 1000),
    'while a model trains: it stands still for a copy': (50, 50),
}


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=12, help='times that each interaction is measured')
    parser.add_argument('--only', nargs='+', choices=PARTS, default=list(PARTS), help='which parts to measure')
    parser.add_argument('--output', type=Path, default=RESULTS/'explorers.json')
    return parser.parse_args()


# ---- JupyterLab and a browser

@contextmanager
def lab_notebooks():
    "JupyterLab on copies of the lab notebooks; gives its address and its folder"
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as settings:
        for notebook in (root/'nbs/lab').glob('*.ipynb'): shutil.copy(notebook, folder)
        with jupyterlab(folder, Path(settings)) as address: yield address, Path(folder)


# Runs in the page: `act` is done, and then frames are counted until `there` is true; one more frame, and it has been painted.
timed = '''async (root, [act, there, patience]) => {
    const frame = () => new Promise(requestAnimationFrame), A = Object.getPrototypeOf(async function(){}).constructor;
    const check = new Function("root", "before", "return " + there), start = performance.now();
    const before = await new A("root", act)(root);
    while (!check(root, before)) { if (performance.now() - start > patience) return null; await frame(); }
    await frame();
    return performance.now() - start; }'''


def waits(element, act, there, patience=60_000):
    "Milliseconds from doing something to seeing it"
    took = element.evaluate(timed, [act, there, patience])
    if took is None: raise TimeoutError(f'{act}: {there} never came')
    return took


def idle(page): page.locator('.jp-StatusBar-TextItem', has_text='| Idle').first.wait_for(timeout=300_000)

def visible(locator): locator.first.wait_for(timeout=300_000)


# ---- parts: each gives interaction -> measurements

def first_paints(page, lab, explorers):
    "Imports and a recording, and then some explorers one after another: how long each takes from the key to the picture"
    open_notebook(page, lab, 'paths.ipynb')
    page.locator('.jp-Cell').first.click()
    for _ in range(2): page.keyboard.press('Shift+Enter')
    page.wait_for_timeout(1000), idle(page), page.wait_for_timeout(1000)
    paints = []
    for i in range(explorers):
        start = time.monotonic()
        page.keyboard.press('Shift+Enter')
        page.wait_for_function('n => [...document.querySelectorAll(".ll-page")].filter((p) => p.querySelector(".ll-plot .main-svg")).length > n', arg=i, polling='raf')
        paints.append(1000*(time.monotonic()-start))
        idle(page), page.wait_for_timeout(700)
    return paints


def paths(lab, browser, rounds):
    "A path, its slider, and the first paint of explorers"
    add_notebook(lab, 'paths.ipynb', '\n---\n'.join(['''from latent_lab import hub
from latent_lab.data.sequences import hidden_rule_switch
from latent_lab.explore.widgets import TrajectoryExplorer
from latent_lab.trace import record''', '''trace = record(hub.load('reasoner-tiny'), hidden_rule_switch(num_rows=16, length=96, seed=7), progress=False)''', *["TrajectoryExplorer(trace, color='rule')"]*5]))
    firsts = []
    for _ in range(max(3, rounds//3)):                            # only one of a page's explorers is its first
        with watched(browser) as page: firsts.append(first_paints(page, lab, 1)[0])
    with watched(browser) as page:
        first, *others = first_paints(page, lab, 5)
        element = page.locator('.ll-page').nth(2)
        element.scroll_into_view_if_needed()
        act = 'const s = root.querySelector(".ll-slider"), t = root.querySelector(".ll-plot")._fullData.at(-1).x[0]; s.value = {}; s.dispatchEvent(new Event("input", {{ bubbles: true }})); return t'
        slid = [waits(element, act.format((13*i) % 90 + 1), 'root.querySelector(".ll-plot")._fullData.at(-1).x[0] !== before') for i in range(rounds+2)][2:]
    return {'first explorer of a page: cell to paint': [*firsts, first], 'next explorer of a page: cell to paint': others, 'slider of a path: thumb to ring': slid}


def pondering(lab, browser, rounds):
    "Linked marks, paths and heat maps"
    from latent_lab.explore.pondering import Ponder, pondering_trace
    add_notebook(lab, 'pondering.ipynb', '''from latent_lab.explore.pondering import PonderExplorer, pondering_trace
---
PonderExplorer(pondering_trace('surprise', 1, 512, 16))
---
PonderExplorer(pondering_trace('surprise', 1, 4096, 32))''')
    again = 'const P = await globalThis.latentLabPlotly; await P.redraw(root.querySelector(".ll-columns"))'
    found = {}
    with watched(browser) as page:
        open_notebook(page, lab, 'pondering.ipynb')
        run_all(page)
        for i, name in enumerate(['heat map 512 x 16: drawn again', 'heat map 4,096 x 32: drawn again']):
            element = page.locator('.ll-ponder').nth(i)
            visible(element.locator('.ll-columns .main-svg')), visible(element.locator('.ll-map .main-svg'))
            idle(page), page.wait_for_timeout(1500)
            element.scroll_into_view_if_needed()
            found[name] = [waits(element, again, 'true') for _ in range(rounds+1)][1:]
            if i: continue
            click, at = 'root.querySelectorAll(".ll-token")[{}].click()', 'root.querySelector(".ll-map")._fullData.at(-1).x[0]'
            tokens = [(37*k) % 400 + 20 for k in range(2*rounds+4)]
            linked = [waits(element, f'const b = [root.querySelector(".ll-cell").style.left, root.querySelector(".ll-said").textContent]; {click.format(t)}; return b',
                            f'root.querySelector(".ll-token.ll-now").dataset.index === "{t}" && root.querySelector(".ll-cell").style.left !== before[0] && root.querySelector(".ll-said").textContent !== before[1]') for t in tokens[::2]]
            ends = [path[-1][0] for path in Ponder(pondering_trace('surprise', 1, 512, 16)).frame()['layers'][0]['places']]
            moved, last = [], tokens[-2]                        # the token that was clicked last
            for t in tokens[1:]:
                if ends[t] == ends[last]: continue              # many tokens end at the same place
                moved, last = [*moved, waits(element, click.format(t), f'Math.abs({at} - {ends[t]}) < 1e-9')], t
            found |= {'token of a text: click to all linked marks': linked[2:], 'token selected: path highlighted': moved[2:]}
    return found


def ideas(lab, browser, rounds):
    "The way between two texts, as in its lab notebook"
    with watched(browser) as page:
        open_notebook(page, lab, 'interpolation.ipynb')
        run_all(page)
        element = page.locator('.ll-way').first
        visible(element.locator('.ll-plot .main-svg'))
        idle(page), page.wait_for_timeout(2000), idle(page)
        element.scroll_into_view_if_needed()
        slide = 'const s = root.querySelector(".ll-slide"); const b = root.querySelector(".ll-sentence").dataset.key; s.value = {}; s.dispatchEvent(new Event("input", {{ bubbles: true }})); {}; return b'
        known = [waits(element, slide.format(a/10, ''), 'root.querySelector(".ll-sentence").dataset.key !== before') for a in [(3*i) % 10+.0 for i in range(1, rounds+2)]][1:]
        read = '!root.querySelector(".ll-facts").textContent.includes("nearest") && root.querySelector(".ll-count").textContent === "α {:.2f}"'
        whole = read + ' && !root.querySelector(".ll-busy").textContent'
        def let_go(a, there):
            "From rest: nothing is being read any more"
            while element.locator('.ll-busy').inner_text(): page.wait_for_timeout(20)
            page.wait_for_timeout(500)
            return waits(element, slide.format(a, 's.dispatchEvent(new Event("change", { bubbles: true }))'), there.format(a))
        fresh = [let_go(round(.04+.1*i, 2), read) for i in range(min(rounds, 10))]
        chosen = [let_go(round(.07+.1*i, 2), whole) for i in range(min(rounds, 10))]
        ribbons, end = [], 'root.querySelector(".ll-end").textContent'
        write = f'const t = root.closest(".ll-explorer").querySelector("textarea"), b = {end}; t.value = {{}}; t.dispatchEvent(new Event("input", {{{{ bubbles: true }}}})); return b'
        all_read = f'{end} !== before && !root.querySelector(".ll-waiting") && root.querySelectorAll(".ll-table tbody tr").length >= 11'
        for i in range(max(3, rounds//4)):
            said = ['The small bird sang in the tree.', 'My mother works in a big shop.', 'A wolf came down from the hill.', 'He lost his key on the way home.'][i % 4]
            ribbons.append(waits(element, write.format(json.dumps(said)), all_read))
            idle(page), page.wait_for_timeout(500)
    return {'cached decode: slider to sentence': known, 'new alpha: let go to first words': fresh, 'new alpha: let go to the whole sentence': chosen, 'new texts: typed to all 11 readings': ribbons}


def training(lab, browser, rounds):
    "The lab notebook in which a model learns: the page while the training cell runs"
    said, texts = [], []
    with watched(browser) as page:
        open_notebook(page, lab, 'learning.ipynb')
        run_all(page)
        element = page.locator('.ll-page').first
        moments = lambda: 1+int(element.locator('.ll-slider').get_attribute('max'))
        expect_change(lambda: bool(element.count()) and moments() > 3, False, 'the page')
        heard = 'root.closest(".ll-explorer").querySelector(".ll-said").textContent'
        act = f'const s = root.querySelector(".ll-slider"), b = {heard}; s.value = {{}}; s.dispatchEvent(new Event("input", {{{{ bubbles: true }}}})); return b'
        while moments() < 26 and len(texts) < rounds:
            said.append(waits(element, act.format(len(said) % 3), f'{heard} !== before'))
            took = waits(page.get_by_label('Text', exact=True), f'const b = {heard}; root.selectedIndex = {(len(texts)+1) % 3}; root.dispatchEvent(new Event("change", {{ bubbles: true }})); return b', f'{heard} !== before')
            if moments() < 26: texts.append(took)
    return {'while a model trains: slider to what it said': said, 'while a model trains: another text': texts}


def copies(lab, browser, rounds):
    "How long training stands still for a copy, with the largest shipped model"
    from latent_lab import hub
    from latent_lab.explore.learning import WatchLearning
    model, watch = hub.load('idea-tiny'), WatchLearning('The little dog ran home.', every=1)
    for step in range(rounds+1): watch.look(model, step)
    watch.settle()
    return {'while a model trains: it stands still for a copy': [1000*copied for _, _, copied in watch.stood[1:]]}


def projections(lab, browser, rounds):
    "Maps that are fitted, and sixteen states on them; a page as a file"
    import numpy as np
    from latent_lab.explore.project import Projector, spiral_trace
    from latent_lab.explore.widgets import TrajectoryExplorer
    rng, found = np.random.default_rng(0), {}
    for kind, name in (('pca', 'PCA: 16 states on a fitted map'), ('umap', 'UMAP, warm: 16 states on a fitted map')):
        projector = Projector(kind).fit(rng.normal(size=(1000, 64)).astype('float32'))
        took = []
        for _ in range(rounds+1):
            states, start = rng.normal(size=(16, 64)).astype('float32'), time.perf_counter()
            projector.transform(states)
            took.append(1000*(time.perf_counter()-start))
        found[name] = took[1:]
    explorer = TrajectoryExplorer(spiral_trace(1, length=5000, width=64))
    return found | {'page of a path of 5,000 tokens (MB)': [len(explorer.to_html().encode())/1e6]}


def notebooks(lab, browser, rounds):
    "The lab notebooks, cell by cell; the one that trains is another matter"
    import nbformat
    from nbclient import NotebookClient
    slowest = []
    for path in sorted((root/'nbs/lab').glob('*.ipynb')):
        if path.stem == 'learning': continue
        client = NotebookClient(nbformat.read(path, 4), timeout=600, resources=dict(metadata=dict(path=str(lab[1]))))
        client.execute()
        when = lambda stamp: datetime.fromisoformat(stamp).timestamp()
        took = [(when(stamps['shell.execute_reply'])-when(stamps['iopub.execute_input']), cell.source.splitlines()[0]) for cell in client.nb.cells if 'shell.execute_reply' in (stamps := cell.metadata.get('execution', {}))]
        slowest.append(max(took)[0])
        print(f'{path.stem}: ' + ', '.join(f'{seconds:.1f} s {line[:48]!r}' for seconds, line in sorted(took, reverse=True)[:3]), flush=True)
    return {'lab notebooks: slowest cell with a shipped model (s)': slowest}


PARTS = dict(projections=projections, copies=copies, paths=paths, pondering=pondering, ideas=ideas, training=training, notebooks=notebooks)


# ---- the table

def verdict(median, worst, target, limit):
    if median <= target and worst <= limit: return 'yes'
    return 'limit only' if worst <= limit else 'median only' if median <= target else 'no'


def as_row(name, took):
    target, limit = BUDGETS[name]
    median, worst = statistics.median(took), max(took)
    return dict(interaction=name, target=target, limit=limit, median=round(median, 2), worst=round(worst, 2), measured=len(took), holds=verdict(median, worst, target, limit))


def print_table(rows):
    print(f'\n{"interaction":<54}{"target":>8}{"limit":>8}{"median":>10}{"worst":>10}  holds')
    for row in rows: print(f'{row["interaction"]:<54}{row["target"]:>8}{row["limit"]:>8}{row["median"]:>10}{row["worst"]:>10}  {row["holds"]} ({row["measured"]})')


def processor():
    "The name of the processor"
    try: return next(line.split(':')[1].strip() for line in open('/proc/cpuinfo') if line.startswith('model name'))
    except (OSError, StopIteration): return platform.machine()


def about(load, chromium_version):
    "What it was measured on"
    versions = {package: importlib.metadata.version(package) for package in ('torch', 'jupyterlab', 'ipykernel', 'ipywidgets', 'anywidget', 'plotly', 'umap-learn')}
    return dict(device=processor(), cores=len(os.sched_getaffinity(0)), load=load, python=platform.python_version(), chromium=chromium_version, **versions)


def main():
    options = parse()
    before = json.loads(options.output.read_text())['rows'] if options.output.exists() else []
    known = {row['interaction']: row for row in before}
    with lab_notebooks() as lab, chromium() as browser:
        for part in options.only:
            load = [round(os.getloadavg()[0], 2)]
            print(f'{part}, load {load[0]} …', flush=True)
            try: found = PARTS[part](lab, browser, options.rounds)
            except Exception as error:
                print(f'{part} could not be measured: {type(error).__name__}: {str(error)[:300]}', flush=True)
                continue
            load.append(round(os.getloadavg()[0], 2))
            known |= {name: as_row(name, took) | dict(load=load) for name, took in found.items() if took}
            rows = [known[name] for name in BUDGETS if name in known]
            result = dict(command=' '.join(['python benchmarks/explorers.py', *sys.argv[1:]]), hardware=about(load, browser.version), rows=rows)
            options.output.write_text(json.dumps(result, indent=1) + '\n')      # what was measured stays, should a later part fail
    print_table([known[name] for name in BUDGETS if name in known])


if __name__ == '__main__': main()
