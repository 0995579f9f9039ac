"Makes nbs/images/thought.png, the README's first picture, from a shipped checkpoint: `python docs/make_picture.py`. Needs Chromium, as the browser tests do."
import json
import os
import shutil
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from latent_lab import hub
from latent_lab.data.sequences import hidden_rule_switch
from latent_lab.explore.figures import as_projector, palette, place, trajectory, walk
from latent_lab.trace import record

paper, words, quiet, before, after = '#fcfcfa', '#26364d', '#6b7687', palette[1], palette[2]
font = 'system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif'
slant = 3.4   # tokens to the right for one unit of the first axis


def one_switch(first=8, then=-8, length=128):
    "The first made sequence in which `first` gives way to `then` just half-way"
    data = hidden_rule_switch(num_rows=8000, length=length, seed=1)
    rules, at = np.array(data['rule']), np.array(data['switch_position'])
    found = np.flatnonzero((rules[:, 2] == first) & (rules[:, -1] == then) & (abs(at-length//2) < 4))
    return data.select(found[:1])


def colored_lines(x, y, switch, **line):
    "A path before the first rule, under it, and under the second"
    for which, color in ((slice(0, 3), quiet), (slice(2, switch), before), (slice(switch-1, None), after)):
        yield go.Scatter(x=x[which], y=y[which], mode='lines', line=dict(color=color, **line))


def map_panel(trace, path, projector, switch):
    "The path on its map, as `trajectory` draws it, the line in the colours of its points"
    yield from (part.update(opacity=.45) for part in colored_lines(*path.places.T, switch, width=1.8))
    for part in trajectory(trace, 0, projector=projector, color='rule').data:
        if part.mode == 'lines': continue
        if part.name.startswith('rule'): yield part.update(marker=dict(size=12, line=dict(width=1.2, color=paper), **({'color': quiet} if part.name == 'rule 0' else {})))
        else: yield part.update(marker=dict(size=23, color=words, line=dict(width=2.2, color=words)))


def coil_panel(path, switch):
    "The same path, unrolled: each token moves it to the right, and the first axis is drawn aslant"
    t, (a, b) = np.arange(len(path.places)), path.places.T
    x = t + slant*a
    yield from colored_lines(x, b, switch, width=2.2, shape='spline', smoothing=.8)
    for which, color in ((slice(0, 2), quiet), (slice(2, switch), before), (slice(switch, None), after)):
        yield go.Scatter(x=x[which], y=b[which], mode='markers', marker=dict(color=color, size=7.5, line=dict(width=1, color=paper)))
    for i, symbol in ((0, 'circle-open'), (switch, 'diamond-open')):
        yield go.Scatter(x=x[i:i+1], y=b[i:i+1], mode='markers', marker=dict(symbol=symbol, size=23, color=words, line_width=2.2))


def picture(trace):
    "Both panels and their words"
    projector, switch, rules = as_projector('pca', 2), int(trace.switch_position[0]), [f'{int(trace.rule[0, t]):+d}'.replace('-', '−') for t in (2, -1)]
    path, = place([walk(trace)], projector, walk(trace).states)
    fig = make_subplots(1, 2, column_widths=[.37, .63], horizontal_spacing=.02)
    for part in map_panel(trace, path, projector, switch): fig.add_trace(part, 1, 1)
    for part in coil_panel(path, switch): fig.add_trace(part, 1, 2)
    def say(text, x, y, size, color, **where): fig.add_annotation(text=text, x=x, y=y, showarrow=False, font=dict(size=size, color=color), **(dict(xref='paper', yref='paper') | where))
    say('<b>A thought, turning</b>', 0, 1.215, 29, words, xanchor='left')
    say('A small model reads numbers that grow by a rule which nobody states. Half-way the rule changes. This is its hidden state.', 0, 1.115, 17, quiet, xanchor='left')
    low, high = path.places[:, 1].min(), path.places[:, 1].max()
    for rule, color, at in zip(rules, (before, after), (switch/2, (switch+len(path.tokens))/2)): say(f'<b>{rule}</b> at every token', at, high+.7, 20, color, xref='x2', yref='y2')
    say('◯ the first token     ◇ the rule changes', .5, -.155, 15, words, xanchor='center', yanchor='bottom')
    say('seen along its two principal axes', .182, -.065, 15, quiet, xanchor='center', yanchor='bottom')
    say('the same path, unrolled in time  →', .695, -.065, 15, quiet, xanchor='center', yanchor='bottom')
    blank = dict(showgrid=False, zeroline=False, showticklabels=False, ticks='')
    fig.update_xaxes(**blank).update_yaxes(**blank, range=[low-.5, high+1]).update_yaxes(scaleanchor='x', row=1, col=1)
    return fig.update_layout(width=1200, height=600, showlegend=False, paper_bgcolor=paper, plot_bgcolor=paper, font_family=font, margin=dict(l=36, r=28, t=106, b=76))


def photograph(fig, path, scale=1.4):
    "A figure as a PNG"
    from playwright.sync_api import sync_playwright
    program = os.environ.get('CHROMIUM') or shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=['--no-sandbox', '--disable-gpu'])
        page = browser.new_page(viewport=dict(width=fig.layout.width, height=fig.layout.height), device_scale_factor=scale)
        page.set_content(f'<body style="margin:0"><div id="figure"></div><script>{get_plotlyjs()}</script></body>')
        page.evaluate('figure => Plotly.newPlot("figure", figure.data, figure.layout, {staticPlot: true})', json.loads(fig.to_json()))
        page.screenshot(path=path)
        browser.close()


if __name__ == '__main__':
    target = Path(__file__).resolve().parents[1]/'nbs'/'images'/'thought.png'
    target.parent.mkdir(exist_ok=True)
    photograph(picture(record(hub.load('reasoner-tiny'), one_switch(), sites=['state'], progress=False)), target)
    print('nbs/images/thought.png is made')
