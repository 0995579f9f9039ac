"""Walks through the lab as a newcomer would, by mouse and from an empty environment: `python docs/walk.py`. Needs Chromium, as the browser tests do.

Leaves the pictures of nbs/tutorials/01_tour in nbs/images and the seconds in nbs/tutorials/walk.json. A script reads nothing and thinks about nothing, so these are the seconds that a reader has to wait.
"""
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import expect

root = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(root/'tests'))

from conftest import chromium, free_port  # noqa: E402

images = root/'nbs'/'images'
patience = 120_000


class Walk:
    "Seconds and pictures, stop by stop"
    def __init__(self): self.begun, self.stops = time.perf_counter(), []

    def reached(self, what):
        now = time.perf_counter()
        self.stops.append(dict(what=what, seconds=round(now-self.begun, 1)))
        self.begun = now
        print(f"{self.stops[-1]['seconds']:6.1f} s  {what}", flush=True)

    def photograph(self, page, name, what=None):
        "What a reader sees, once pictures have come to rest; this costs the reader nothing"
        if what: what.evaluate('element => element.scrollIntoView({block: "start"})')
        page.wait_for_timeout(700)
        page.screenshot(path=images/f'tour_{name}.jpg', type='jpeg', quality=72)
        self.begun = time.perf_counter()


def install(folder):
    "The front page's first command, in an empty environment; gives its `latent-lab`"
    subprocess.run([sys.executable, '-m', 'venv', folder/'venv'], check=True)
    subprocess.run([folder/'venv/bin/pip', 'install', '-q', '-c', 'constraints.txt', '-e', '.'], cwd=root, check=True)
    return folder/'venv/bin/latent-lab'


def opened(command, folder):
    "The lab's server, and the address that it prints"
    with open(folder/'log', 'w') as log:
        server = subprocess.Popen([command, 'lab', '--folder', folder/'lab', '--port', str(free_port()), '--no-browser'], stdout=log, stderr=subprocess.STDOUT, env=os.environ | dict(JUPYTER_CONFIG_DIR=str(folder/'config'), HF_HUB_OFFLINE='1'))
    while not (found := re.search(r'http://127\.0\.0\.1:\S+token=\w+', (folder/'log').read_text())): time.sleep(.1)
    return server, found[0]


def choose(page, model):
    "A model from the list"
    page.get_by_label('Model', exact=True).select_option(model)
    expect(page.get_by_role('status').filter(has_text='weights').first).to_contain_text(model, timeout=patience)


def walk(page, address, seen):
    "Every stop of the tour"
    page.goto(address)
    expect(page.locator('.jp-StatusBar-TextItem', has_text='| Idle').first).to_be_visible(timeout=patience)
    page.get_by_role('button', name='No', exact=True).click()       # JupyterLab asks whether it may fetch news
    page.get_by_role('menuitem', name='Run', exact=True).click()
    page.get_by_role('menuitem', name=re.compile('^Run All Cells')).click()
    stage = page.locator('.ll-ponder').first
    expect(stage.locator('.ll-columns .main-svg').first).to_be_visible(timeout=patience)
    seen.reached('the lab is open and all cells are run: where a model ponders')
    token = stage.locator('.ll-token[data-index="12"]')
    token.click()
    expect(token).to_have_class(re.compile('ll-now'))
    seen.reached('a word is clicked: why it stopped there')
    seen.photograph(page, 'ponder', stage)

    choose(page, 'reasoner-tiny')
    path = page.locator('.ll-page').locator('visible=true').first
    expect(path.locator('.main-svg').first).to_be_visible(timeout=patience)
    seen.reached('another model: the path of its state')
    path.locator('.ll-token').nth(16).click()
    seen.photograph(page, 'path', path)

    choose(page, 'idea-tiny')
    way = page.locator('.ll-page').locator('visible=true').first
    expect(way.locator('.ll-table tbody').first.locator('tr')).to_have_count(11, timeout=patience)
    seen.reached('two sentences, and what a model says between them')
    way.get_by_role('slider').focus()
    page.keyboard.press('ArrowRight')
    seen.photograph(page, 'between', way)

    choose(page, 'thought-tiny')
    thoughts = page.locator('.ll-page').locator('visible=true').first
    thoughts.locator('.ll-head', has_text='thought 3').first.click(timeout=patience)
    form = thoughts.locator('.ll-form')
    form.get_by_label('What it reads instead').select_option('zero')
    form.get_by_role('button', name='Think on').click()
    expect(thoughts.locator('.ll-branch')).to_have_count(2, timeout=patience)
    seen.reached('a thought is emptied, and the model thinks on from there')
    seen.photograph(page, 'fork', thoughts)

    page.get_by_role('button', name='Save as one file').click()
    expect(page.get_by_role('status').filter(has_text='.html').first).to_be_visible(timeout=patience)
    seen.reached('what is seen is one file')


def main():
    seen, folder = Walk(), Path(tempfile.mkdtemp())
    command = install(folder)
    seen.reached('installed, into an empty environment')
    server, address = opened(command, folder)
    seen.reached('JupyterLab has started')
    try:
        with chromium() as browser:
            page = browser.new_page(viewport=dict(width=1200, height=900))
            page.set_default_timeout(patience)
            walk(page, address, seen)
            saved, = (folder/'lab').glob('*.html')
            alone = browser.new_page(viewport=dict(width=1000, height=700))
            alone.goto(saved.as_uri())
            expect(alone.locator('.ll-branch')).to_have_count(2)
            seen.reached('and opens without Python and without a network')
            seen.photograph(alone, 'file')
            size = saved.stat().st_size
    finally: server.terminate()
    shutil.rmtree(folder)
    told = dict(command='python docs/walk.py', stops=seen.stops, saved=round(size/1e6, 2), hardware=dict(cpu=platform.machine(), cores=os.cpu_count(), python=platform.python_version()))
    (root/'nbs'/'tutorials'/'walk.json').write_text(json.dumps(told, indent=1))
    print(f"{sum(stop['seconds'] for stop in seen.stops):.0f} s, {size/1e6:.1f} MB saved")


if __name__ == '__main__': main()
