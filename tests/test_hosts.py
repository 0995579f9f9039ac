"The explorers outside JupyterLab: in Notebook 7, and in Voilà, where a reader sees no code at all. The network is off. VS Code cannot be driven from here: it loads the same widgets through the same anywidget, and nothing else is asked of it."
import json
import socket
import urllib.request

from conftest import add_notebook, errors_of_ours, expect_change, free_port, patience, run_all, served, token, watched
from playwright.sync_api import expect

explorer = '''from latent_lab import hub
from latent_lab.explore.widgets import TrajectoryExplorer
---
TrajectoryExplorer(hub.load('reasoner-tiny'), '<switch> 3 7 11 15 19 23 27 31 35 30 25 20 15 10')'''


def listens(port):
    with socket.socket() as s: return s.connect_ex(('127.0.0.1', port)) == 0


def kernel_hears(address):
    "Whether the page is connected to its kernel, which waits for it; an earlier Run All is lost, and the page itself says that it is idle before it is connected"
    kernels = json.load(urllib.request.urlopen(f'{address}/api/kernels?token={token}', timeout=5))
    return any(kernel['connections'] and kernel['execution_state'] == 'idle' for kernel in kernels)


def walk_a_token(page):
    "The picture is there; an arrow key moves the token, and the kernel answers a choice"
    stage = page.locator('.ll-page').first
    expect(stage.locator('.main-svg').first).to_be_visible(timeout=patience)
    now = stage.locator('.ll-token.ll-now').first
    first = now.get_attribute('data-index')
    now.focus()
    page.keyboard.press('ArrowRight')
    page.keyboard.press('Enter')
    expect_change(lambda: stage.locator('.ll-token.ll-now').first.get_attribute('data-index'), first, 'the token')
    page.get_by_role('button', name='3-D').first.click()
    expect(stage.locator('.gl-container, #scene, .scene').first).to_be_attached(timeout=patience)
    assert not errors_of_ours(page), page.errors


def test_notebook_7(tmp_path, browser):
    "The same in Notebook 7"
    port, folder = free_port(), tmp_path/'notebooks'
    folder.mkdir()
    add_notebook((None, folder), 'walk.ipynb', explorer)
    address = f'http://127.0.0.1:{port}'
    words = ['notebook', '--no-browser', '--allow-root', '--ServerApp.ip=127.0.0.1', f'--ServerApp.port={port}', '--ServerApp.port_retries=0', f'--IdentityProvider.token={token}', f'--ServerApp.root_dir={folder}']
    with served(tmp_path, lambda: listens(port), *words), watched(browser) as page:
        page.goto(f'{address}/notebooks/walk.ipynb?token={token}')
        expect(page.locator('.jp-Notebook')).to_be_visible(timeout=patience)
        expect_change(lambda: kernel_hears(address), False, 'the kernel')
        run_all(page)
        walk_a_token(page)


def test_voila(tmp_path, browser):
    "The same in Voilà, as an application without code"
    port = free_port()
    add_notebook((None, tmp_path), 'walk.ipynb', explorer)
    icons = 'cdn.jsdelivr.net/npm/@fortawesome'      # which Voilà's own template asks for, and does without
    with served(tmp_path, lambda: listens(port), 'voila', 'walk.ipynb', '--no-browser', f'--port={port}', '--Voila.ip=127.0.0.1', folder=tmp_path), watched(browser, icons) as page:
        page.goto(f'http://127.0.0.1:{port}/')
        walk_a_token(page)
        assert 'hub.load' not in page.inner_text('body')
