"""Train and measure the runs behind the reasoner's experiments, spread over the GPUs of one machine.

    python benchmarks/reasoner_runs.py mixed rules wider shakespeare regularization baselines ablation curriculum --source tiny_shakespeare.txt --gpus 0 1 2 3

Each run is one `latent-lab train ...` command. What it measured is gathered in `OUTPUT/runs.json`, with its command, its whole recipe, hardware and versions.
Runs that are finished are skipped, so a stopped suite goes on where it was.
"""
import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

SEEDS = 0, 1, 2
SHORT = 'data.stages=[[64,400],[128,400],[256,400],[512,400],[1024,400]]'        # comparisons are of 2,000 steps each
ENDS_ON_256 = 'data.stages=[[64,1000],[128,1000],[256,1000],[512,1000],[1024,1000],[256,1500]]'


def seeded(name, recipe, *settings):
    "One command for each seed"
    words = [word for setting in settings for word in ('--set', setting)]
    return {f'{name}/seed{seed}': [recipe, *words, '--seed', str(seed)] for seed in SEEDS}

def together(*suites): return {name: command for suite in suites for name, command in suite.items()}

def mixed(source):
    "The recipe as it is, which ends on all its lengths in turn; and a course that does so with the short ones only"
    to_512 = [[64, 1000], [128, 1000], [256, 1000], [512, 1000], [1024, 500]] + [[length, 10] for _ in range(50) for length in (64, 128, 256, 512)]
    return together(seeded('mixed', 'reasoner-rules'), seeded('mixed-to-512', 'reasoner-rules', 'data.stages=' + json.dumps(to_512, separators=(',', ':'))))

def rules(source):
    "A course that ends on one length"
    return seeded('rules', 'reasoner-rules', ENDS_ON_256)

def wider(source):
    "The same with twice the rows a step"
    return seeded('wider', 'reasoner-rules', ENDS_ON_256, 'data.rows_per_step=96', 'training.per_device_train_batch_size=96')

def shakespeare(source):
    return together(*(seeded(f'shakespeare-{who}', f'{who}-shakespeare', f'data.source={source}') for who in ('reasoner', 'plain-transformer')))

def regularization(source):
    "How much dropout, and for how long, keeps ten million parameters from learning a megabyte by heart"
    return together(*(seeded(f'regularization-{who}-{dropout}', f'{who}-shakespeare', f'data.source={source}', f'model.dropout={dropout}', f'data.stages=[[256,{steps}]]')
                      for dropout, steps in ((.2, 1500), (.3, 2000)) for who in ('reasoner', 'plain-transformer')))

def baselines(source):
    return together(*(seeded(f'baselines-{attention}-{who}', f'{who}-rules', SHORT, f'model.attention={attention}')
                      for attention in ('chunked', 'sliding') for who in ('reasoner', 'gru-transformer', 'plain-transformer')))

def ablation(source):
    return together(*(seeded(f'ablation-{leak}-{gate}', 'reasoner-rules', SHORT, 'model.attention=chunked', f'model.leak={leak}', f'model.gate={gate}')
                      for leak, gate in itertools.product(('learned', 'fixed', 'none'), ('full', 'input', 'none')) if (leak, gate) != ('learned', 'full')))  # that is a baseline

def curriculum(source):
    return together(*(seeded(f'curriculum-none-equal-{name}', 'reasoner-rules', f'data.stages=[[1024,{steps}]]', 'model.attention=chunked')
                      for name, steps in (('steps', 2000), ('tokens', 775))))        # as many steps, and as many tokens, as with the curriculum

SUITES = dict(mixed=mixed, rules=rules, wider=wider, shakespeare=shakespeare, regularization=regularization, baselines=baselines, ablation=ablation, curriculum=curriculum)


def start(command, folder, gpu, then=''):
    "One training process on one GPU; `then` is Python that it runs at the end"
    folder.mkdir(parents=True, exist_ok=True)
    script = f'from latent_lab.cli import main\ntry: main()\nexcept SystemExit as end:\n    if end.code: raise\n{then}'
    environment = os.environ | dict(CUDA_VISIBLE_DEVICES=str(gpu), OMP_NUM_THREADS='2', TOKENIZERS_PARALLELISM='false')
    return subprocess.Popen([sys.executable, '-c', script, 'train', *command, '--output', str(folder)], env=environment, stdout=open(folder/'log.txt', 'w'), stderr=subprocess.STDOUT)


def train(runs, output, gpus, per_gpu, seconds, then=lambda name: ''):
    "All runs that have not ended yet, so many at a time on every GPU"
    waiting = [name for name in runs if not (output/name/'result.json').exists()]
    slots, begun = {(gpu, i): None for i in range(per_gpu) for gpu in gpus}, time.time()
    while (waiting or any(slots.values())) and time.time()-begun < seconds:
        for slot, running in slots.items():
            if running and running[1].poll() is not None:
                name, process = running
                print(f'{time.time()-begun:6.0f} s  {name}  ' + ('done' if process.returncode == 0 else 'FAILED: ' + (output/name/'log.txt').read_text()[-600:]), flush=True)
                slots[slot] = running = None
            if running is None and waiting:
                name = waiting.pop(0)
                slots[slot] = name, start(runs[name], output/name, slot[0], then(name))
        time.sleep(.5)
    for running in slots.values():
        if running: running[1].kill(); print(f'stopped {running[0]}')


def gather(runs, output):
    "What every finished run measured, in one file"
    found = {}
    for name, command in runs.items():
        if not (output/name/'result.json').exists(): continue
        result = json.loads((output/name/'result.json').read_text())
        log = [{k: entry[k] for k in ('step', 'loss', 'eval_loss') if k in entry} for entry in result['log'] if 'loss' in entry or 'eval_loss' in entry]
        found[name] = dict(command='latent-lab train ' + ' '.join(command), recipe=json.loads((output/name/'recipe.json').read_text()), figures=result['figures'],
                           hardware=result['hardware'], log=log)
    (output/'runs.json').write_text(json.dumps(found))
    print(f'{len(found)} of {len(runs)} runs in {output}/runs.json')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('suites', nargs='+', choices=SUITES)
    parser.add_argument('--source', default='tiny_shakespeare.txt')
    parser.add_argument('--output', type=Path, default=Path('runs'))
    parser.add_argument('--gpus', type=int, nargs='+', default=[0])
    parser.add_argument('--per-gpu', type=int, default=4, help='runs at once on each GPU')
    parser.add_argument('--seconds', type=float, default=1e9, help='stop after so long')
    options = parser.parse_args()
    runs = {k: v for suite in options.suites for k, v in SUITES[suite](options.source).items()}
    train(runs, options.output, options.gpus, options.per_gpu, options.seconds)
    gather(runs, options.output)


if __name__ == '__main__': main()
