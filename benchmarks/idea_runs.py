"""Train and measure the runs behind the idea model's experiments, spread over the GPUs of one machine.

    python benchmarks/idea_runs.py train paths facts --sources sources.json --gpus 0 1 2 3
    python benchmarks/idea_runs.py judge --judge HuggingFaceTB/SmolLM2-135M-Instruct

`train` runs one `latent-lab train ...` command a run, and then lets the trained model say what lies between held-out sentences (`ways.json`). `judge` reads those
sentences, and held-out ones beside them, with a language model that has seen neither, and gathers everything in `OUTPUT/runs.json`. `sources.json` holds the settings
`data.sources` and `data.running`: files by name.
"""
import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

SEEDS = 0, 1, 2

def paths():
    "What makes the way between two sentences fluent"
    alone = {'plain': [], 'noise-0.1': ['model.noise=0.1', 'model.drop_words=0'], 'one-slot': ['model.num_slots=1', 'model.latent_dim=256'], 'free-bits': ['model.noise=0', 'model.variational=true', 'model.normalize=false', 'model.free_bits=200', 'data.strange=0.15'],
             'no-denoising': ['model.drop_words=0'], 'wide': ['model.latent_dim=64'], 'strange-words': ['data.strange=0.15']}
    runs = {f'lessons/seed{seed}': ['idea-sentences', '--seed', str(seed)] for seed in SEEDS}
    return runs | {name: ['idea-sentences', *(word for setting in [*settings, 'data.rounds=0'] for word in ('--set', setting))] for name, settings in alone.items()}

def facts():
    "How many numbers it takes to carry four facts"
    return {f'facts-{4*width}': ['idea-facts', '--set', f'model.latent_dim={width}'] for width in (2, 4, 8, 16, 64)}

SUITES = dict(paths=paths, facts=facts)


def ways(folder, num_pairs=120):
    "What a trained model says between held-out sentences, at once and as the best of eight"
    import torch
    from latent_lab.data.pairs import sentence_rows
    from latent_lab.models.idea import IdeaForConditionalGeneration
    from latent_lab.train.between import said_on_the_way
    recipe = json.loads((folder/'recipe.json').read_text())
    model = IdeaForConditionalGeneration.from_pretrained(folder).to('cuda' if torch.cuda.is_available() else 'cpu').eval()
    held_out = list(sentence_rows(recipe['data']['sources'], recipe['data']['held_out'])['held_out']['text'])
    held_out = [text for text in held_out if len(model.decoder_tokenizer(text)['input_ids']) < model.config.max_source_length]
    pairs = list(zip(held_out[:2*num_pairs:2], held_out[1:2*num_pairs:2]))
    said = {str(k): said_on_the_way(model, pairs, candidates=k) for k in (1, 8)}
    (folder/'ways.json').write_text(json.dumps(dict(pairs=pairs, held_out=held_out[:1000], said=said)))


def train(suites, sources, gpus, output, each, seconds):
    "All runs, `each` at a time on every GPU"
    waiting = {name: command for suite in suites for name, command in SUITES[suite]().items()}
    busy, end, slots = {}, time.time()+seconds, [gpu for _ in range(each) for gpu in gpus]
    while (waiting or busy) and time.time() < end:
        for name, (process, gpu) in list(busy.items()):
            if process.poll() is not None: slots.append(gpu); del busy[name]; print(f'{time.strftime("%X")} {name}: exit {process.returncode}', flush=True)
        while waiting and slots:
            name, gpu = next(iter(waiting)), slots.pop(0)
            command, folder = waiting.pop(name), output/name
            folder.mkdir(parents=True, exist_ok=True)
            words = [*command, *(['--config', sources] if command[0] == 'idea-sentences' else []), '--output', str(folder)]
            script = f'import sys; sys.argv[0] = "latent-lab"; from latent_lab.cli import main\ntry: main()\nexcept SystemExit as stop:\n if stop.code: raise\n'
            if command[0] == 'idea-sentences': script += f'from pathlib import Path; sys.path.insert(0, {str(Path(__file__).parent)!r}); import idea_runs; idea_runs.ways(Path({str(folder)!r}))'
            environment = os.environ | dict(CUDA_VISIBLE_DEVICES=str(gpu), OMP_NUM_THREADS='2', TOKENIZERS_PARALLELISM='false')
            busy[name] = subprocess.Popen([sys.executable, '-c', script, 'train', *words], env=environment, stdout=open(folder/'log.txt', 'w'), stderr=subprocess.STDOUT), gpu
        time.sleep(1)
    for name, (process, _) in busy.items(): process.kill(); print(f'{name}: stopped, out of time')


def judge(output, name):
    "How many inner sentences of each run are as fluent as held-out ones, and everything that was measured, in one file"
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from latent_lab.train.audit import as_fluent, perplexity
    model, tokenizer = AutoModelForCausalLM.from_pretrained(name).float().eval(), AutoTokenizer.from_pretrained(name)
    found, known = {}, {}
    read = lambda texts: perplexity([text if text.strip() else '.' for text in texts], model, tokenizer)
    for file in sorted(output.glob('**/result.json')):
        run, folder = str(file.parent.relative_to(output)), file.parent
        result, recipe = json.loads(file.read_text()), json.loads((folder/'recipe.json').read_text())
        log = [{k: entry[k] for k in ('step', 'loss', 'eval_loss') if k in entry} for entry in result['log'] if 'loss' in entry or 'eval_loss' in entry]
        found[run] = dict(command=' '.join(['latent-lab train', *{name: command for suite in SUITES.values() for name, command in suite().items()}.get(run, [])]), recipe=recipe, figures=result['figures'], hardware=result['hardware'], log=log)
        if not (folder/'ways.json').exists(): continue
        told = json.loads((folder/'ways.json').read_text())
        key = json.dumps(told['held_out'][:5])
        if key not in known: known[key] = read(told['held_out'])
        for k, said in told['said'].items():
            surprise = read([text for way in said for text in way[1:-1]])
            fluent = as_fluent(surprise, known[key]).reshape(len(said), -1)
            found[run]['figures'][f'between@{k}'] = dict(candidates=int(k), fluent=fluent.mean().item(), by_place=fluent.mean(0).round(4).tolist(), median=float(sorted(surprise)[len(surprise)//2]),
                                                        held_out_95=float(sorted(known[key])[int(.95*len(known[key]))]), texts=sum(len(set(way)) for way in said)/len(said))
            found[run]['examples'] = said[:6]
        print(run, {k: v for k, v in found[run]['figures'].items() if k.startswith(('between', 'bleu', 'shuffled', 'before'))}, flush=True)
    (output/'runs.json').write_text(json.dumps(found))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('what', choices=['train', 'judge'])
    parser.add_argument('suites', nargs='*', help=', '.join(SUITES))
    parser.add_argument('--sources', default='sources.json')
    parser.add_argument('--gpus', nargs='+', default=['0'])
    parser.add_argument('--each', type=int, default=3, help='runs at a time on each GPU')
    parser.add_argument('--seconds', type=float, default=1e9, help='stop what is not done by then')
    parser.add_argument('--judge', default='HuggingFaceTB/SmolLM2-135M-Instruct', help='a causal language model: Hub id or folder')
    parser.add_argument('--output', type=Path, default=Path('idea_runs'))
    args = parser.parse_args()
    if args.what == 'train': train(args.suites, args.sources, args.gpus, args.output, args.each, args.seconds)
    else: judge(args.output, args.judge)


if __name__ == '__main__': main()
