"Makes README.md from nbs/index.ipynb, with its stored outputs: `python docs/build_readme.py`. Runs nothing and needs no Quarto."
import base64
import json
import re
from pathlib import Path
from posixpath import normpath


def text(lines): return ''.join(lines).rstrip('\n')


def output(out, picture, pictures):
    "One stored output as Markdown; a PNG is put among `pictures`, under the path `picture`"
    data = out.get('data', {})
    if 'image/png' in data:
        pictures[picture] = base64.b64decode(text(data['image/png']))
        return f'![]({picture})'
    if 'text/markdown' in data: return text(data['text/markdown'])
    said = text(data.get('text/plain', out.get('text', '')))
    return said and f'```text\n{said}\n```'


def cell(cell, pictures):
    "A cell as Markdown: prose as it is, code in a fence and then what it gave; a cell marked `#| hide` is left out"
    source = text(cell['source'])
    if cell['cell_type'] == 'markdown': return source
    directives = set(re.findall(r'^#\|\s*(\S+)', source, re.M))
    if cell['cell_type'] != 'code' or 'hide' in directives: return ''
    code = re.sub(r'^#\|.*\n?', '', source, flags=re.M).strip()
    shown = [output(out, f"images/index_{cell['id']}_{i}.png", pictures) for i, out in enumerate(cell['outputs'])]
    return '\n\n'.join(filter(None, [code and f'```python\n{code}\n```', *shown]))


def readme(root):
    "The files made from the index notebook, by path: README.md and its pictures. Links are relative to nbs in the notebook, to the project in the README"
    pictures = {}
    parts = [cell(c, pictures) for c in json.loads((root/'nbs'/'index.ipynb').read_text())['cells']]
    note = '<!-- made from nbs/index.ipynb by docs/build_readme.py: edit the notebook -->'
    markdown = '\n\n'.join([note, *filter(None, parts)]) + '\n'
    markdown = re.sub(r'\]\((?!https?:|#|mailto:)([^)]+)\)', lambda link: f"]({normpath('nbs/' + link[1])})", markdown)
    return {'README.md': markdown.encode(), **{f'nbs/{path}': data for path, data in pictures.items()}}


if __name__ == '__main__':
    root = Path(__file__).resolve().parents[1]
    for path, data in readme(root).items():
        (root/path).parent.mkdir(exist_ok=True)
        (root/path).write_bytes(data)
        print(f'{path} is made from nbs/index.ipynb')
