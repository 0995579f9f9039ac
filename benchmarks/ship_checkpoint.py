"""Turn a finished run into a checkpoint to ship: bf16 safetensors in shards under 16 MB, its tokenizer, its recipe and its model card.

    python benchmarks/ship_checkpoint.py reasoner-tiny runs/reasoner-rules --sentence '...' --data '...' --licence '...' --command 'latent-lab train ...'

The card says what the run's own `result.json` says; nothing in it is typed by hand but the sentence, the data, their licence and the commands.
"""
import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from latent_lab import hub


def loss_curve(log, width=640, height=240, margin=46):
    "Training and evaluation loss over steps, as a small drawing"
    lines = {'training': ('#0072b2', [(e['step'], e['loss']) for e in log if 'loss' in e]), 'evaluation': ('#d55e00', [(e['step'], e['eval_loss']) for e in log if 'eval_loss' in e])}
    points = [p for _, line in lines.values() for p in line]
    last, low, high = max(s for s, _ in points), min(l for _, l in points), max(l for _, l in points)
    x = lambda step: margin + (width-2*margin)*step/last
    y = lambda loss: height-margin - (height-2*margin)*(loss-low)/(high-low or 1)
    drawn = [f'<text x="{margin}" y="20">loss, {low:.3f} to {high:.3f} nats a token, over {last:,} steps</text>',
             f'<path d="M{margin} {margin}V{height-margin}H{width-margin}" fill="none" stroke="#999"/>']
    for i, (name, (colour, line)) in enumerate(lines.items()):
        if len(line) < 2: continue
        drawn.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{" ".join(f"{x(s):.1f},{y(l):.1f}" for s, l in line)}"/>')
        drawn.append(f'<text x="{width-margin-90}" y="{margin+18*i}" fill="{colour}">{name}</text>')
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>{"".join(drawn)}</svg>\n'


def quality(figures):
    "What was measured, as tables"
    single = [f'| {name} | {value:,.4f} |' for name, value in figures.items() if isinstance(value, float) and name != 'seconds']
    table = ['| measure | value |', '|---|---|', *single, '']
    audit = {f['control']: f for f in figures.values() if isinstance(f, dict) and 'control' in f}
    tasks, ways = [f for f in figures.values() if isinstance(f, dict) and 'task' in f], {name: f for name, f in figures.items() if isinstance(f, dict) and 'fluent' in f}
    if tasks:
        columns = ['task', 'length', 'accuracy', 'ceiling', 'share', 'focus_share', 'nats', 'floor', 'calibration_error', 'sure_and_wrong']
        table += ['| ' + ' | '.join(columns) + ' |', '|---'*len(columns) + '|']
        table += ['| ' + ' | '.join(f'{row[c]:.5f}' if isinstance(row[c], float) else str(row[c]) for c in columns) + ' |' for row in tasks]
        table += ['', '`share` is accuracy over that of the ideal reader of the same rows (`ceiling`); `focus_share` is the same over the tokens that matter most: after the switch, '
                  'once the clock is known, at the skip. `nats` a token stand beside the floor that nobody can go below.']
    if audit:
        measures = [name for name in next(iter(audit.values())) if name not in ('control', 'rows')]
        table += ['| the idea is | ' + ' | '.join(measures) + ' |', '|---'*(len(measures)+1) + '|']
        table += [f'| {control} | ' + ' | '.join(f'{row[name]:.1f}' for name in measures) + ' |' for control, row in audit.items()]
        table += ['', f'What is said from held-out ideas beside its reference, over {next(iter(audit.values()))["rows"]} rows: from the idea as it is, from that of another row, without what lies between (`bypassed`), from the mean of all ideas, and from nothing (`zero`).']
    if ways:
        table += ['| sentences between two held-out ones | as fluent as held-out ones | different texts on a way of eleven |', '|---|---|---|']
        table += [f'| {name.removeprefix("between, ")} | {row["fluent"]:.1%} | {row["texts"]:.1f} |' for name, row in ways.items()]
        table += ['', '`bleu` compares held-out sentences with what comes back from their ideas, and `shuffled` with what comes back from the ideas of others. A sentence between is fluent if a language model that '
                  'saw none of these texts is less surprised by it than by nineteen of twenty held-out ones.']
    return '\n'.join(table)


def thinking(result):
    "What was measured of a model whose tokens think, in words"
    figures, judged = result['figures'], [entry for entry in result['log'] if 'eval_lm' in entry]
    best, last = min(judged, key=lambda entry: entry['eval_lm']), judged[-1]
    found, reasons = figures['pondering'], dict(surprise='how surprising the token was', next_surprise='how surprising the next token is', position='how late it stands', frequency='how frequent the token is')
    rows = {'loss on held-out text, nats a token': f'{figures["lm"]:.3f} (perplexity {figures["perplexity"]:.1f})', 'thoughts about a token, on average': f'{figures["ponder_steps"]:.2f}',
            'gate: how much of what was thought replaces what was read': f'{figures["gate"]:.2f}', 'loss of foreseeing the next hidden states': f'{figures["world"]:.3f}',
            'ponder cost: thoughts and remainder': f'{figures["ponder"]:.2f}', 'all of it, as it was trained (`eval_loss`)': f'{figures["eval_loss"]:.3f}'}
    table = ['| measure | value |', '|---|---|', *(f'| {name} | {value} |' for name, value in rows.items()), '']
    kept = [f'The weights are those of step {best["step"]:,} of {last["step"]:,}, the best of those that were tried on held-out text; by the end each text had been read {last["epoch"]:.0f} times.', '']
    verdict = [f'**Is it thinking where it should?** Its verdict is *{found["verdict"]}*: {found["sentence"]}.', '']
    if any(f'{name} rho' in found for name in reasons):
        verdict += ['| thoughts about a token, beside | rank correlation | with reasons of other kinds held |', '|---|---|---|']
        verdict += [f'| {said} | {found[f"{name} rho"]:z.2f} | {found[f"{name} held_rho"]:z.2f} |' for name, said in reasons.items() if found.get(f'{name} rho') is not None]
    return '\n'.join(table + kept + verdict)


def asked_again(folder, recipe):
    "What a shipped model of latent thoughts answers to the questions that were held out, from the weights as they are shipped"
    from latent_lab.recipes import Recipe, worked_questions, worked_rows
    from latent_lab.train.thought import answered
    recipe, model = Recipe.from_json(json.dumps(recipe)), hub.load(str(folder))
    questions = worked_questions(recipe.data, recipe.training['seed'], asked_only=True)[1]
    told = answered(model, worked_rows(questions, model.tokenizer, recipe.data))
    as_typed = [said.removeprefix(recipe.data['mark']) for start in range(0, len(questions), 64) for said in model.answer(questions['question'][start:start+64])]
    return dict(rows=len(told), exact=float(told.exact.mean()), typed=sum(said == answer for said, answer in zip(as_typed, questions['answer']))/len(questions))


CONTROLS = {'as is': 'its own', 'zero': 'nothing', 'mean': 'at each step the mean of all questions', 'shuffled': 'its own in another order', 'strangers': 'at each step that of another question',
            'donor': 'all those of a question with another answer', 'pause': 'a token that only takes time'}
WAYS = dict(latent='{thoughts:g} thought{s}', text='all steps, in words', direct='nothing: it is made to answer at once')


def thoughts(figures, again):
    "What was measured of a model of latent thoughts, as tables"
    levels, lines, audit = ([f for name, f in figures.items() if name.startswith(kind)] for kind in ('difficulty@', 'budget@', 'audit@'))
    table = ['| measure | value |', '|---|---|', f'| right answers to {again["rows"]:,} held-out questions, from these weights | {again["exact"]:.1%} |', f'| the same of the run, in float32 | {figures["exact"]:.1%} |',
             f'| passes that an answer waits for, one after the other | {figures["steps"]:g}: {figures["thoughts"]:g} thoughts, {figures["tokens"]:g} tokens |', f'| loss on held-out questions (`eval_loss`) | {figures["eval_loss"]:.2g} |', '']
    if levels: table += ['| difficulty | questions | right | passes |', '|---|---|---|---|', *(f'| {f["difficulty"]} | {f["rows"]} | {f["exact"]:.1%} | {f["steps"]:g} |' for f in levels), '']
    table += ['How often it is right, by what it does before it answers; nothing was learnt anew for it. There is room for the answer alone: what it would still say in words, before the answer, is cut off and counts as wrong.', '', '| before the answer | passes | right, in percent | 95 % interval |', '|---|---|---|---|',
              *(f'| {WAYS[f["way"]].format(s="s"*(f["thoughts"] != 1), **f)} | {f["steps"]:.1f} | {f["exact"]:.1f} | {f["low"]:.1f} to {f["high"]:.1f} |' for f in lines), '']
    if not audit: return '\n'.join(table)
    return '\n'.join([*table, f'**Does it matter what is thought?** {figures["worth"]["sentence"].capitalize()}. {audit[0]["rows"]:,.0f} questions; the thoughts are', '', '| thoughts | right, in percent | 95 % interval |', '|---|---|---|',
                      *(f'| {CONTROLS[f["system"]]} (`{f["system"]}`) | {f["value"]:.1f} | {f["low"]:.1f} to {f["high"]:.1f} |' for f in audit)])


def card(name, options, recipe, result, parameters, here, again):
    hardware = ', '.join(f'{k} {v}' for k, v in result['hardware'].items() if v)
    commands, of_several = '\n'.join(options.command), ' for the last command' if len(options.command) > 1 else ''
    return f'''# {name}

> {options.sentence}

{here:,} parameters{f' (and {parameters-here:,} borrowed)' if here < parameters else ''}, {options.dtype}. `from latent_lab import hub; model = hub.load('{name}')`

## How it was made

```sh
{commands}
```

- **Data**: {options.data}
- **Licence** of the data: {options.licence} The weights are under Apache-2.0, like the code.
- **Seed** {recipe['training']['seed']}; **hardware**: {hardware}; {result['figures']['seconds']:,.0f} s{of_several}.

![Loss over steps](loss.svg)

## What it can do

{thoughts(result['figures'], again) if again else thinking(result) if 'pondering' in result['figures'] else quality(result['figures'])}
'''


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('name')
    parser.add_argument('run', type=Path)
    parser.add_argument('--into', type=Path, default=Path('latent_lab/checkpoints'))
    for word in ('sentence', 'data', 'licence'): parser.add_argument(f'--{word}', required=True)
    parser.add_argument('--command', action='append', required=True, help='what was run; may be repeated')
    for side in ('encoder', 'decoder'): parser.add_argument(f'--{side}', help='Hub id of a borrowed backbone of which the run used a copy')
    parser.add_argument('--dtype', default='bfloat16', choices=['bfloat16', 'float32'], help='of the weights')
    options = parser.parse_args()
    folder = options.into/options.name
    shutil.rmtree(folder, ignore_errors=True)
    model = hub.load(str(options.run), dtype=getattr(torch, options.dtype))
    for side in ('encoder', 'decoder'):
        if not getattr(options, side): continue
        setattr(model.config, f'{side}_source', getattr(options, side))
        getattr(model.config, side).name_or_path = getattr(options, side)
    recipe, result = (json.loads((options.run/f'{part}.json').read_text()) for part in ('recipe', 'result'))
    thinks = recipe['data']['kind'] == 'thoughts'
    if thinks and not recipe['data']['chat']: model.config.separator = recipe['data']['separator']      # a run from before models knew it
    model.save_pretrained(folder, max_shard_size='15MB')
    model.tokenizer.save_pretrained(folder)
    shutil.copy(options.run/'recipe.json', folder)
    (folder/'loss.svg').write_text(loss_curve(result['log']))
    for file in folder.iterdir(): file.chmod(0o644)
    again = asked_again(folder, recipe) if thinks else None
    parameters = {name: weights.numel() for name, weights in model.named_parameters()}
    here = sum(parameters.get(name, 0) for file in folder.glob('*.safetensors') for name in load_file(file))
    (folder/'README.md').write_text(card(options.name, options, recipe, result, sum(parameters.values()), here, again))
    print(f'{folder}: {sum(f.stat().st_size for f in folder.iterdir())/1e6:.1f} MB' + (f', {again}' if again else ''))
    if again and min(again['exact'], again['typed']) < result['figures']['exact']: raise SystemExit(f'{again} from these weights, {result["figures"]["exact"]:.1%} in the run: try --dtype float32')


if __name__ == '__main__': main()
