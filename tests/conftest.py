"What every test process shares. The settings come before anything heavy is imported, because libraries read them only once."
import os
import shutil

import pytest

os.environ.setdefault('HF_HUB_OFFLINE', '1')                       # tests ask no network
os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')           # no warnings from forked workers
os.environ.setdefault('PLOTLY_RENDERER', 'plotly_mimetype')        # a figure shown in a notebook opens no browser


@pytest.fixture(scope='session')
def browser():
    "Chromium with the network off, or a failure that says how to get it: browser tests are never skipped. One for all tests, because Playwright allows one at a time"
    from playwright.sync_api import sync_playwright
    program = os.environ.get('CHROMIUM') or shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    if program is None: pytest.fail('the browser tests need Chromium and found none: `apt-get install chromium`, or set CHROMIUM to its path')
    flags = ['--no-sandbox', '--disable-gpu', '--enable-unsafe-swiftshader', '--disable-background-networking', '--disable-component-update', '--disable-sync',
             '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1']   # no name resolves
    with sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=program, args=flags)
        yield instance
        instance.close()
