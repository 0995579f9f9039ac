"Makes nbs/images/thought.png, the README's first picture, from the shipped checkpoint: `python docs/make_picture.py`. Needs Chromium, as the browser tests do."
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

words, quiet, font = '#26364d', '#6b7687', 'system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif'
before, after = palette[1], palette[2]


def one_switch(before=7, after=-4, length=128):
    "The first made sequence in which one rule gives way to the other just half-way"
    data = hidden_rule_switch(num_rows=8000, length=length, seed=1)
    rules, at = data.with_format('numpy')['rule'][:], np.array(data['switch_position'])
    found = np.flatnonzero((rules[:, 2] == before) & (rules[:, -1] == after) & (abs(at-length//2) < 4))
    return data.select(found[:1])


def map_panel(trace, projector):
    "The path on its map, as `trajectory` draws it, with less ink"
    fig = trajectory(trace, 0, projector=projector, color='rule')
    fig.update_traces(showlegend=False)
    for part in fig.data:
        if part.mode == 'lines': part.line.update(color='rgba(60,75,100,.38)', width=1.3)
        elif part.name.startswith('rule'): part.marker.update(size=11, line=dict(width=1, color='white'))
        else: part.marker.update(size=21, line_width=2.2, color=words, line_color=words)
        if part.name == 'rule 0': part.marker.color = quiet
    return fig.data


def coil_panel(path, switch, slant=1.9):
    "The same path, unrolled: each token moves it to the right, and the first axis is drawn aslant"
    t, (a, b) = np.arange(len(path.places)), path.places.T
    x = t + slant*a
    for which, color in ((slice(0, 3), quiet), (slice(2, switch), before), (slice(switch-1, None), after)):
        yield go.Scatter(x=x[which], y=b[which], mode='lines', line=dict(color=color, width=2.4, shape='spline', smoothing=.7))
    for which, color in ((slice(0, 2), quiet), (slice(2, switch), before), (slice(switch, None), after)):
        yield go.Scatter(x=x[which], y=b[which], mode='markers', marker=dict(color=color, size=6.5, line=dict(width=.8, color='white')))
    for i, symbol in ((0, 'circle-open'), (switch, 'diamond-open')):
        yield go.Scatter(x=x[i:i+1], y=b[i:i+1], mode='markers', marker=dict(symbol=symbol, size=21, color=words, line_width=2.2))


def picture(trace):
    "Both panels and their words"
    projector, switch = as_projector('pca', 2), int(trace.switch_position[0])
    path, = place([walk(trace)], projector, walk(trace).states)
    fig = make_subplots(1, 2, column_widths=[.40, .60], horizontal_spacing=.035)
    for part in map_panel(trace, projector): fig.add_trace(part, 1, 1)
    for part in coil_panel(path, switch): fig.add_trace(part, 1, 2)
    say = lambda text, x, y, size=15, color=quiet, where='paper', **more: fig.add_annotation(text=text, x=x, y=y, showarrow=False, font=dict(size=size, color=color), **(dict(xref='paper', yref='paper') if where == 'paper' else dict(xref='x2', yref='y2')), **more)
    say('<b>A thought, turning</b>', 0, 1.16, 27, words, xanchor='left')
    say('The hidden state of a small model that reads numbers. They grow by a rule that nobody states, and half-way the rule changes.', 0, 1.075, 16, xanchor='left')
    low, high = path.places[:, 1].min(), path.places[:, 1].max()
    say('<b>+7</b> at every token', switch/2, high+.75, 19, before, 'coil')
    say('<b>−4</b> at every token', (switch+len(path.tokens))/2, high+.75, 19, after, 'coil')
    say('◇ the rule changes', path.places[switch, 0]*1.9+switch, low-.55, 15, words, 'coil')
    say('where the state is: its first two principal axes', .195, -.075)
    say('the same path, unrolled token by token  →', .72, -.075)
    blank = dict(showgrid=False, zeroline=False, showticklabels=False, ticks='')
    fig.update_xaxes(**blank).update_yaxes(**blank).update_yaxes(scaleanchor='x', row=1, col=1).update_yaxes(range=[low-.9, high+1.1], row=1, col=2)
    return fig.update_layout(width=1200, height=600, showlegend=False, paper_bgcolor='#fcfcfa', plot_bgcolor='#fcfcfa', font_family=font, margin=dict(l=36, r=28, t=100, b=56))


def photograph(fig, path, scale=1.5):
    "A figure as a PNG"
    from playwright.sync_api import sync_playwright
    program = os.environ.get('CHROMIUM') or shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=['--no-sandbox', '--disable-gpu'])
        page = browser.new_page(viewport=dict(width=fig.layout.width, height=fig.layout.height), device_scale_factor=scale)
        page.set_content(f'<body style="margin:0"><div id="figure"></div><script>{get_plotlyjs()}</script></body>')
        page.evaluate('figure => Plotly.newPlot("figure", figure.data, figure.layout, {staticPlot: true})', fig.to_plotly_json() if False else __import__('json').loads(fig.to_json()))
        page.screenshot(path=path)
        browser.close()


if __name__ == '__main__':
    place_for_it = Path(__file__).resolve().parents[1]/'nbs'/'images'/'thought.png'
    place_for_it.parent.mkdir(exist_ok=True)
    photograph(picture(record(hub.load('reasoner-tiny'), one_switch(), sites=['state'], progress=False)), place_for_it)
    print('nbs/images/thought.png is made')
