"Makes nbs/images/thought.svg, the README's moving picture, from a shipped checkpoint: `python docs/make_picture.py`."
import html
from pathlib import Path
from string import Template

import numpy as np

from latent_lab import hub
from latent_lab.data.sequences import hidden_rule_switch
from latent_lab.explore.figures import as_projector, palette, place, token_texts, walk
from latent_lab.trace import record

quiet, before, after = '#8a94a3', palette[1], palette[2]
slant = 3.4            # tokens to the right for one unit of the first axis
apart = 46             # pixels between the numbers read
trail = 9              # tokens that the bright line holds
seconds = 32           # from the first token to the last

page = Template('''<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 640" font-family="system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', sans-serif">
<title>The path of a hidden state through a sequence whose rule changes half-way: two loops, one for each rule</title>
<style>
.paper { fill: #fcfcfa } .words { fill: #26364d } .quiet { fill: #6b7687 } .now { stroke: #26364d }
@media (prefers-color-scheme: dark) { .paper { fill: #14161a } .words { fill: #e6e8eb } .quiet { fill: #a5abb3 } .now { stroke: #e6e8eb } }
@media (prefers-reduced-motion: reduce) { .moving { display: none } }
</style>
<defs><linearGradient id="fade"><stop offset="0" stop-color="#000"/><stop offset=".12" stop-color="#fff"/><stop offset=".88" stop-color="#fff"/><stop offset="1" stop-color="#000"/></linearGradient>
<mask id="window"><rect x="36" y="560" width="1128" height="60" fill="url(#fade)"/></mask></defs>
<rect class="paper" width="1200" height="640" rx="8"/>
<text class="words" x="36" y="48" font-size="29" font-weight="bold">A thought, turning</text>
<text class="quiet" x="36" y="80" font-size="17">A small model reads numbers that grow by a rule which nobody states. Half-way the rule changes. This is its hidden state.</text>
$panels
<text class="quiet" x="230" y="520" font-size="15" text-anchor="middle">seen along its two principal axes</text>
<text class="quiet" x="790" y="520" font-size="15" text-anchor="middle">the same path, unrolled in time  →</text>
<text class="words" x="600" y="548" font-size="15" text-anchor="middle">◯ the first token     ◇ the rule changes</text>
<g class="moving" mask="url(#window)" font-size="19" text-anchor="middle"><g>$numbers
<animateTransform attributeName="transform" type="translate" from="600 0" to="$last 0" dur="${seconds}s" repeatCount="indefinite"/></g></g>
<rect class="moving now" x="576" y="572" width="48" height="36" rx="8" fill="none" stroke-width="2.5"/>
</svg>
''')


def one_switch(first=8, then=-8, length=128):
    "The first made sequence in which `first` gives way to `then` just half-way"
    data = hidden_rule_switch(num_rows=8000, length=length, seed=1)
    rules, at = np.array(data['rule']), np.array(data['switch_position'])
    found = np.flatnonzero((rules[:, 2] == first) & (rules[:, -1] == then) & (abs(at-length//2) < 4))
    return data.select(found[:1])


def curve(points, bend):
    "A path through all points as SVG, and how long it is up to each: straight lines, or bent as a cardinal spline is"
    slopes = np.gradient(points, axis=0)*bend
    ends = [(a, a+s/1.5, b-r/1.5, b) for a, b, s, r in zip(points, points[1:], slopes, slopes[1:])]
    t = np.linspace(0, 1, 12)[:, None]
    bent = [(1-t)**3*a + 3*t*(1-t)**2*p + 3*t**2*(1-t)*q + t**3*b for a, p, q, b in ends]
    lengths = [np.linalg.norm(np.diff(x, axis=0), axis=1).sum() for x in bent]
    drawn = [f'C{p[0]:.1f} {p[1]:.1f} {q[0]:.1f} {q[1]:.1f} {b[0]:.1f} {b[1]:.1f}' for _, p, q, b in ends]
    return drawn, np.concatenate([[0], np.cumsum(lengths)])


def moving(name, values): return f'<animate attributeName="{name}" values="{";".join(values)}" dur="{seconds}s" repeatCount="indefinite"/>'

def panel(points, colors, switch, bend, opacity):
    "A path in the colours of its rules, and what moves along it"
    drawn, length = curve(points, bend)
    def start(i): return f'M{points[i][0]:.1f} {points[i][1]:.1f}'
    parts = [f'<path d="{start(a)}{"".join(drawn[a:b])}" fill="none" stroke="{color}" stroke-width="2" opacity="{opacity}"/>' for a, b, color in ((0, 2, quiet), (2, switch-1, before), (switch-1, None, after))]
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.2" fill="{color}"/>' for (x, y), color in zip(points, colors)]
    (x, y), (u, v) = points[0], points[switch]
    parts += [f'<circle class="now" cx="{x:.1f}" cy="{y:.1f}" r="12" fill="none" stroke-width="2"/>', f'<path class="now" d="M{u-15:.1f} {v:.1f}l15 -15 15 15 -15 15z" fill="none" stroke-width="2"/>']
    behind = np.maximum(np.arange(len(points))-trail, 0)
    dashes = [f'0 {length[a]:.0f} {length[i]-length[a]:.0f} 99999' for i, a in enumerate(behind)]
    parts += [f'<path class="moving now" d="{start(0)}{"".join(drawn)}" fill="none" stroke-width="4" stroke-linejoin="round" stroke-dasharray="0 99999">{moving("stroke-dasharray", dashes)}</path>']
    return '\n'.join([*parts, f'<circle class="moving words" cx="{x:.1f}" cy="{y:.1f}" r="8">{moving("cx", [f"{x:.1f}" for x, _ in points])}{moving("cy", [f"{y:.1f}" for _, y in points])}</circle>'])


def fitted(points, left, top, width, height):
    "Places as pixels, all in one frame, as large as it lets them be"
    low, span = points.min(0), np.ptp(points, axis=0)
    return (points-low)*[1, -1]*min(width/span[0], height/span[1]) + [left, top] + [0, height]


def picture(trace):
    "Both panels, their words, and the numbers as they are read"
    switch, rules = int(trace.switch_position[0]), [f'{int(trace.rule[0, t]):+d}'.replace('-', '−') for t in (2, -1)]
    path, = place([walk(trace)], as_projector('pca', 2), walk(trace).states)
    colors = [quiet if t < 2 else before if t < switch else after for t in range(len(path.places))]
    a, b = path.places.T
    unrolled = np.column_stack([(np.arange(len(a)) + slant*a), b])
    scale = [650/np.ptp(unrolled[:, 0]), 340/np.ptp(unrolled[:, 1])]
    coil = (unrolled-unrolled.min(0))*scale*[1, -1] + [510, 490]
    panels = [panel(fitted(path.places, 60, 150, 340, 340), colors, switch, 0, .3), panel(coil, colors, switch, .5, .4)]
    for rule, color, t in ((rules[0], before, switch/2), (rules[1], after, (switch+len(a))/2)):
        panels.append(f'<text x="{np.interp(t, np.arange(len(a)), coil[:, 0]):.0f}" y="132" font-size="20" text-anchor="middle" fill="{color}"><tspan font-weight="bold">{rule}</tspan> at every token</text>')
    small = ' font-size="11"'
    numbers = [f'<text x="{apart*t}" y="597" fill="{color}"{small*(len(text) > 3)}>{html.escape(text)}</text>' for t, (text, color) in enumerate(zip(token_texts(trace, 0), colors))]
    return page.substitute(panels='\n'.join(panels), numbers=''.join(numbers), last=600-apart*(len(a)-1), seconds=seconds)


if __name__ == '__main__':
    target = Path(__file__).resolve().parents[1]/'nbs'/'images'/'thought.svg'
    target.write_text(picture(record(hub.load('reasoner-tiny'), one_switch(), sites=['state'], progress=False)))
    print(f'nbs/images/thought.svg is made, {target.stat().st_size/1e3:.0f} kB')
