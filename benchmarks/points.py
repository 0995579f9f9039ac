"""A million points on one map: how long it takes to make it, what is sent, and whether the page stays alive.

    python benchmarks/points.py

The states of a made recording (10,417 texts of 96 tokens, 64 features) are placed and drawn by `PointsExplorer` in a real JupyterLab, in headless Chromium that draws
without a graphics card. Told are seconds in the kernel, bytes that are sent, seconds until the map is there, and the longest time that the page's main thread was taken:
while the map is built, while nobody does anything, and while the map is dragged and zoomed.
"""
import argparse
import json
import os
import platform
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from playwright.sync_api import expect

sys.path.append(str(Path(__file__).resolve().parents[1]/'tests'))
from conftest import chromium, jupyterlab, token  # noqa: E402

RESULTS = Path(__file__).parent/'results'/'points.json'

cells = ['''import json, time
import numpy as np
from latent_lab.explore.points import PointsExplorer, points_of
from latent_lab.explore.project import spiral_trace
ROWS = {examples}
few, rng = spiral_trace(64, length=96, width=64), np.random.default_rng(0)
trace = few.isel(example=np.arange(ROWS) % 63)
trace['state'] = trace.state + .05*rng.normal(size=trace.state.shape).astype('float32')''',
'''start = time.perf_counter()
points = points_of(trace, columns=['phase', 'nll'])
placed = time.perf_counter()
explorer = PointsExplorer(points, trace=trace)
made = time.perf_counter()
state = explorer.scatter.widget.get_state()
sent = sum(np.asarray(v['view']).nbytes for v in state.values() if isinstance(v, dict) and isinstance(v.get('view'), (memoryview, bytes, np.ndarray)))
print('TOLD ' + json.dumps(dict(points=len(points), seconds_to_place=placed-start, seconds_to_make=made-placed, bytes_sent=sent)))''',
'explorer']

watch = '''() => {
  window.told = { tasks: [], gap: 0, frames: 0 }
  new PerformanceObserver(list => { for (const e of list.getEntries()) window.told.tasks.push(e.duration) }).observe({ type: 'longtask' })
  let last = performance.now()
  const tick = now => { window.told.gap = Math.max(window.told.gap, now-last); window.told.frames++; last = now; requestAnimationFrame(tick) }
  requestAnimationFrame(tick)
}'''
read = '() => { const told = window.told; window.told = { tasks: [], gap: 0, frames: 0 }; return { longest_task_ms: Math.max(0, ...told.tasks), long_tasks: told.tasks.length, longest_frame_gap_ms: told.gap, frames: told.frames } }'


def look(page, address, seconds):
    "Run the notebook, and watch the page"
    page.goto(f'{address}/lab/tree/points.ipynb?token={token}&reset')
    expect(page.locator('.jp-StatusBar-TextItem', has_text='| Idle').first).to_be_visible()
    page.evaluate(watch)
    start = time.perf_counter()
    page.get_by_role('menuitem', name='Run', exact=True).click()
    page.get_by_role('menuitem', name=re.compile('^Run All Cells')).click()
    told, canvas = page.locator('.jp-OutputArea-output', has_text='TOLD'), page.locator('.jp-OutputArea canvas').first
    expect(canvas).to_be_visible()
    found = dict(seconds_from_run_to_map=time.perf_counter()-start) | json.loads(told.inner_text().split('TOLD ')[1])
    page.wait_for_timeout(15_000)                                # until every point has been drawn once
    found['while_drawn'] = page.evaluate(read)
    page.wait_for_timeout(1000*seconds)
    found['at_rest'] = page.evaluate(read)
    canvas.scroll_into_view_if_needed()
    box, start, moves = canvas.bounding_box(), time.perf_counter(), 0
    x, y = box['x']+box['width']/2, box['y']+box['height']/2
    page.mouse.move(x, y), page.mouse.down()
    while time.perf_counter()-start < seconds: page.mouse.move(x+80*((moves := moves+1) % 5-2)/2, y)
    page.mouse.up()
    for _ in range(3): page.mouse.wheel(0, -120)
    page.wait_for_timeout(500)
    found['while_moved'] = page.evaluate(read) | dict(moves=moves)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--examples', type=int, default=10_417, help='texts of 96 tokens')
    parser.add_argument('--seconds', type=float, default=5., help='of watching, at rest and while the map is moved')
    parser.add_argument('--screenshot', type=Path)
    parser.add_argument('--output', type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, jupyterlab(Path(folder), Path(folder)/'.settings') as address, chromium() as browser:
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.replace('{examples}', str(options.examples))) for cell in cells], metadata=dict(kernelspec=dict(name='python3', display_name='python3', language='python')))
        nbformat.write(book, Path(folder)/'points.ipynb')
        page = browser.new_page(viewport=dict(width=1400, height=1000))
        page.set_default_timeout(300_000), expect.set_options(timeout=300_000)
        found = look(page, address, options.seconds)
        if options.screenshot: page.screenshot(path=options.screenshot)
    processor = next((line.split(':')[1].strip() for line in open('/proc/cpuinfo') if line.startswith('model name')), platform.machine())
    result = dict(command=' '.join(['python benchmarks/points.py', *sys.argv[1:]]), hardware=dict(device=processor, cores=os.cpu_count(), load=os.getloadavg()[0], python=platform.python_version()), **found)
    options.output.write_text(json.dumps(result, indent=1) + '\n')
    print(json.dumps(result, indent=1))


if __name__ == '__main__': main()
