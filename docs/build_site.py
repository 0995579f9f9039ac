"""Makes the documentation site from the notebooks: `python docs/build_site.py` writes _docs, which any web server can serve and which asks for nothing outside itself.

Nothing is run: what a page shows is stored in its notebook. With `--live` the lab's notebooks are, up to their explorers, which then work in the page. nbdev's processors prepare the pages, smalldocs lays them out from Quarto's own files in nbs, and
what is left is done here: an entry for every public name, live plotly figures and equations from local files, and a last look for links that lead nowhere.
"""
import ast
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from posixpath import join, normpath
from urllib.parse import unquote, urlsplit

import plotly
import smalldocs.layout
import smalldocs.site
import yaml
from execnb.nbio import mk_cell, read_nb, write_nb
from nbdev.config import get_config
from nbdev.doclinks import NbdevLookup, nbglob
from nbdev.frontmatter import FrontmatterProc
from nbdev.process import NBProcessor
from nbdev.processors import add_links, clean_magics, filter_stream_, hide_, hide_line, rm_export, rm_header_dash, strip_ansi
from nbdev.showdoc import showdoc_nm

here = Path(__file__).resolve().parent
fonts_elsewhere = re.compile(r'@import url\(["\']?https?:[^)]*\);?')


# --- notebooks -> pages

shown_as_stored = [FrontmatterProc, strip_ansi, hide_line, filter_stream_, rm_header_dash, rm_export, clean_magics, hide_, add_links]

def page_name(path):
    "The page a notebook becomes: `api/12_blocks.recurrence.ipynb` -> `api/blocks.recurrence.ipynb`, as nbdev names it in its links"
    return path.with_name(re.sub(r'^\d+[a-z]?_', '', path.name))

def is_definition(statement): return isinstance(statement, ast.FunctionDef | ast.ClassDef) and showdoc_nm(statement)[0] != '_'

def public_names(statement):
    "What a statement defines for others: {name: first line of its docstring}"
    if is_definition(statement): return {showdoc_nm(statement): (ast.get_docstring(statement) or '').split('\n')[0]}
    targets = getattr(statement, 'targets', None) or [getattr(statement, 'target', None) or ast.Pass()]   # constants, also `a, b = ...`
    return {node.id: '' for target in targets for node in ast.walk(target) if isinstance(node, ast.Name) and node.id[0] != '_'}

def pieces(cell):
    "An exported cell that is more than imports, cut before each public definition but the first: [(code, its statements)]"
    if cell.cell_type != 'code' or not re.match(r'#\|\s*exports?\b', cell.source): return []
    statements, lines = ast.parse(cell.source).body, cell.source.splitlines()
    if all(isinstance(statement, ast.Import | ast.ImportFrom) for statement in statements): return []
    cuts = [min([d.lineno for d in s.decorator_list] + [s.lineno])-1 for s in statements if is_definition(s)][1:]
    edges = [0, *cuts, len(lines)]
    inside = [[s for s in statements if start < s.lineno <= stop] for start, stop in zip(edges, edges[1:])]
    return [('\n'.join(lines[start:stop]).strip(), found) for start, stop, found in zip(edges, edges[1:], inside)]

def section_names(text, taken):
    "Headings that read like a public name get a place of their own, so that the name's place is the definition"
    def named(heading):
        place = re.sub(r'[^\w\s-]', '', heading[2]).strip().lower().replace(' ', '-')
        return f'{heading[0]} {{#{place}-section}}' if place in taken else heading[0]
    return re.sub(r'^(##+) ([^{\n]+)$', named, text, flags=re.M)

def show_exports(notebook):
    "nbdev hides exported code behind its signature; here the code is the lesson and holds the signature, so it is shown, each definition below its entry"
    shown, taken = [], set()
    for cell in notebook.cells:
        for code, statements in (found := pieces(cell)):
            for statement in statements:
                for name, said in public_names(statement).items():
                    place = '' if name.lower() in taken else f'#{name.lower()} '   # `Packing` and `packing` share one
                    taken.add(name.lower())
                    shown.append(mk_cell(f'### {name} {{{place}.name}}\n\n{said}' if is_definition(statement) else f'[]{{{place}.constant}}', 'markdown'))
            shown.append(mk_cell(re.sub(r'^#\|.*\n', '', code)))
        if not found: shown.append(cell)
    for cell in shown:
        if cell.cell_type == 'markdown': cell.source = section_names(cell.source, taken)
    notebook.cells = shown

def live_figure(figure):
    "A plotly figure as HTML: its data, which figures.js draws when it comes into view"
    height = figure.get('layout', {}).get('height', 450)
    data = json.dumps(figure).replace('</', '<\\/')
    return f'<div class="live-figure" style="min-height:{height}px"><script type="application/json">{data}</script></div>'

def is_explorer(output):
    "Is this what an explorer left behind: a still picture of itself?"
    return ''.join(output.get('data', {}).get('text/html', '')).startswith('<img alt="')

def show_output(output, live=''):
    "Prefer what a page can show: a live figure, the explorer at `live`, then whatever is not the text of a widget"
    data = output.get('data', {})
    if 'application/vnd.plotly.v1+json' in data: output['data'] = {'text/html': live_figure(data['application/vnd.plotly.v1+json'])}
    elif is_explorer(output):
        still = f'<iframe class="live-explorer" src="{live}" title="The explorer, without Python" loading="lazy"></iframe>' if live else ''.join(data['text/html'])
        output['data'] = {'text/html': f'{still}<p class="explorer-note">With a model behind it: open this notebook in JupyterLab, <code>latent-lab lab</code>.</p>'}

def relink(text, config):
    "Links to notebooks become links to their pages; nbdev's absolute links become relative to the site"
    text = text.replace(f"{config.doc_host}{config.doc_baseurl}/", '/').replace('](../CONTRIBUTING.md', '](CONTRIBUTING.md')
    return re.sub(r'(\]\((?!https?:)[^)\s]*?)\b\d+[a-z]?_([^/)\s]*\.ipynb)', r'\1\2', text)

def explorer_of(path):
    "The first explorer of a notebook, which is run until it has something to show; None if it has none"
    names, explorer = {'__name__': '__main__'}, None
    for cell in read_nb(path).cells:
        if cell.cell_type != 'code': continue
        *before, last = ast.parse(cell.source).body
        exec(compile(ast.Module(before, []), path.name, 'exec'), names)
        value = eval(compile(ast.Expression(last.value), path.name, 'eval'), names) if isinstance(last, ast.Expr) else exec(compile(ast.Module([last], []), path.name, 'exec'), names)
        explorer = value if explorer is None and hasattr(value, 'snapshot') else explorer
        if explorer is not None and getattr(explorer.settle(), 'film', ...) is not None: return explorer      # a film of training begins with it

def live_explorers(config):
    "Each lab notebook's explorer as a page of its own, by the name of the notebook's page"
    found = {page_name(path).stem: explorer_of(path) for path in sorted((config.nbs_path/'lab').glob('*.ipynb'))}
    return {name: explorer.to_html() for name, explorer in found.items() if explorer is not None}

def make_page(path, config, pages, live=()):
    "One notebook as a page, its links and outputs made fit for the site"
    notebook = read_nb(path)
    waiting = f'live/{page_name(path).stem}.html' if path.parent.name == 'lab' and page_name(path).stem in live else ''
    show_exports(notebook)
    NBProcessor(path, nb=notebook, procs=shown_as_stored, process=True)
    for cell in notebook.cells:
        if cell.cell_type == 'markdown': cell.source = relink(cell.source, config)
        for output in cell.get('outputs', []):
            first, waiting = (waiting, '') if is_explorer(output) else ('', waiting)
            show_output(output, first)
    target = pages/page_name(path.relative_to(config.nbs_path))
    write_nb(notebook, target)

def reference(config):
    "The page that lists every public name with the first line of its docstring, module by module in reading order"
    link = NbdevLookup().linkify
    lines = ['---', 'title: Every public name', 'description: The modules in reading order; each name leads to its code and its proof', '---', '']
    for path in sorted((config.nbs_path/'api').glob('[0-9]*.ipynb')):
        found = [public_names(statement) for cell in read_nb(path).cells for _, statements in pieces(cell) for statement in statements]
        if not any(found): continue
        page = f'api/{page_name(path).stem}.html'
        lines += [f'## [{page_name(path).stem}]({page})', '', '| | |', '|---|---|']
        lines += [f"| [`{name}`]({page}#{name.lower()}) | {link(said).replace('|', chr(92) + '|') if said else ''} |" for names in found for name, said in names.items()] + ['']
    return '\n'.join(lines)


# --- pages -> site

def local_libraries(site):
    "Copy plotly.js, KaTeX and our drawing script beside the pages"
    libraries = site/'site_libs'
    shutil.copy(Path(plotly.__file__).parent/'package_data'/'plotly.min.js', libraries)
    shutil.copy(here/'figures.js', libraries)
    if not (here/'node_modules'/'katex').exists():
        if not shutil.which('npm'): sys.exit('The equations need KaTeX, which npm installs: install npm, then run this again.')
        subprocess.run(['npm', 'install', '--silent', '--no-package-lock', '--prefix', here], check=True, stdout=sys.stderr)
    shutil.copytree(here/'node_modules'/'katex'/'dist', libraries/'katex', dirs_exist_ok=True, ignore=shutil.ignore_patterns('*.mjs', '*.ttf', '*.woff'))

def finish(page, site):
    "Point one page at the local libraries"
    up = os.path.relpath(site, page.parent)
    text = page.read_text().replace(smalldocs.layout.KATEX, f'{up}/site_libs/katex')
    if 'class="live-' in text:
        scripts = ''.join(f'<script src="{up}/site_libs/{name}" defer></script>' for name in ('plotly.min.js', 'figures.js'))
        text = text.replace('</head>', scripts + '</head>', 1)
    page.write_text(text)


class Page(HTMLParser):
    "What a page offers and asks for: anchors, links, and files that it loads"
    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.loads = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if given.get('id'): self.anchors.add(given['id'])
        if tag == 'a' and given.get('href'): self.links.append(given['href'])
        if tag in ('script', 'img', 'iframe') and given.get('src'): self.loads.append(given['src'])
        if tag == 'link' and given.get('href'): self.loads.append(given['href'])

def faults(site):
    "Links inside the site that lead nowhere, and files that a page would fetch from elsewhere"
    pages = {str(path.relative_to(site)): Page(path.read_text()) for path in sorted(site.rglob('*.html'))}
    for name, page in pages.items():
        yield from (f'{name} fetches {url}' for url in page.loads if re.match(r'(https?:)?//', url))
        for url in page.links + page.loads:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc: continue
            target = normpath(join(name, '..', unquote(parts.path))) if parts.path else name
            if (site/target).is_dir(): target = join(target, 'index.html')
            if not (site/target).exists(): yield f'{name} leads to {url}, which does not exist'
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors: yield f'{name} leads to {url}: no such place there'


def sidebar(config):
    "Quarto's sidebar, with the index of public names behind the heading of the library"
    bar = yaml.safe_load((config.nbs_path/'sidebar.yml').read_text())
    for section in bar['website']['sidebar']['contents']:
        if isinstance(section, dict) and section['contents'] == 'api/*': section['href'] = 'reference.md'
    return yaml.safe_dump(bar, sort_keys=False)

def gather(config, pages, live):
    "Everything that smalldocs reads, in one folder"
    shutil.copytree(config.nbs_path, pages, dirs_exist_ok=True, ignore=shutil.ignore_patterns('*.ipynb', '.*'))
    for path in nbglob(config.nbs_path, as_path=True): make_page(path, config, pages, live)
    (pages/'reference.md').write_text(relink(reference(config), config))
    (pages/'sidebar.yml').write_text(sidebar(config))
    for name in ('CONTRIBUTING.md', 'CHANGELOG.md'): (pages/name).write_text(relink((config.config_path/name).read_text().replace('](nbs/', ']('), config))

def build(root, site, live=False):
    "Build the site of the project at `root` into the folder `site`; if `live`, with explorers that work in the page"
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(root):
        pages, config = Path(scratch).resolve(), get_config(path=root)
        explorers = live_explorers(config) if live else {}
        gather(config, pages, explorers)
        built = smalldocs.site.Site(smalldocs.site.load(pages))
        built.build()
        shutil.rmtree(site, ignore_errors=True)
        shutil.copytree(built.out, site)
    local_libraries(site)
    for style in site.rglob('*.css'): style.write_text(fonts_elsewhere.sub('', style.read_text()))
    for page in site.rglob('*.html'): finish(page, site)
    if explorers: (site/'lab'/'live').mkdir()
    for name, page in explorers.items(): (site/'lab'/'live'/f'{name}.html').write_text(page, encoding='utf-8')


if __name__ == '__main__':
    site = here.parent/'_docs'
    build(here.parent, site, live='--live' in sys.argv[1:])
    if found := list(faults(site)): sys.exit('\n'.join(found))
    print(f"{sum(1 for _ in site.rglob('*.html'))} pages in {site.name}; to read them: python -m http.server --directory {site.name}")
