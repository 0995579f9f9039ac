"""Train and measure the runs behind the idea model's experiments, spread over the GPUs of one machine.

    python benchmarks/idea_runs.py train paths facts --sources sources.json --gpus 0 1
    python benchmarks/idea_runs.py train pairs --pairs . --backbones backbones
    python benchmarks/idea_runs.py again shipped --skip 120
    python benchmarks/idea_runs.py judge --judge HuggingFaceTB/SmolLM2-135M-Instruct

`train` runs one `latent-lab train ...` command a run; a model of sentences then says what lies between held-out ones (`ways.json`). `again` asks finished runs between pairs that
nothing was chosen by (`ways_again.json`). `judge` reads those sentences, and held-out
ones beside them, with a language model that has seen neither, and gathers everything in `OUTPUT/runs.json`. `sources.json` holds the setting `data.sources`: files by name. `--pairs` is
a folder with `samsum_train.jsonl.gz`, `samsum_valid.jsonl.gz` and the same of dialogsum; `--backbones` one with copies of all-MiniLM-L6-v2 and SmolLM2-135M-Instruct, if the Hub is out of reach.
"""
import argparse
import json
from pathlib import Path

import numpy as np
from reasoner_runs import train

SEEDS = 0, 1, 2

def command(recipe, seed=0, **settings):
    "Words of a command line; settings are written with two underscores for the point"
    return [recipe, '--seed', str(seed), *(word for name, value in settings.items() for word in ('--set', f'{name.replace("__", ".")}={json.dumps(value) if not isinstance(value, str) else value}'))]

def sentences(options, seed=0, **settings):
    return [*command('idea-sentences', seed, **settings), '--config', options.sources]

def paths(options):
    "What makes the way between two sentences fluent: models without lessons"
    plain = dict(data__rounds=0, model__noise=.1, model__drop_words=0.)
    changes = {'plain': {}, 'one-slot': dict(model__num_slots=1, model__latent_dim=256), 'free-bits': dict(model__noise=0., model__variational=True, model__normalize=False, model__free_bits=200., model__kl_weight=.05),
               'wide': dict(model__latent_dim=64, model__noise=1.5, model__drop_words=.1), 'strange-words': dict(data__strange=.15)}
    return {name: sentences(options, **plain | change) for name, change in changes.items()}

def lessons(options):
    "Noise and hidden words, and lessons from between ideas after them"
    return {f'lessons-{noise}-{hidden}': sentences(options, model__noise=noise, model__drop_words=hidden) for noise, hidden in ((1.5, .1), (1., .05), (1.5, 0.))}

def shipped(options):
    "The recipe as it is"
    return {f'shipped/seed{seed}': sentences(options, seed) for seed in SEEDS}

def facts(options):
    "How many numbers it takes to carry four facts"
    widths = {f'facts-{width}': dict(model__latent_dim=width) for width in (64, 16, 8, 32)}
    return {f'facts-256/seed{seed}': command('idea-facts', seed) for seed in SEEDS} | {name: command('idea-facts', **change) for name, change in widths.items()}

def borrowed(options):
    "Where the two backbones are"
    return {} if not options.backbones else dict(model__encoder_source=f'{options.backbones}/all-MiniLM-L6-v2', model__decoder_source=f'{options.backbones}/SmolLM2-135M-Instruct')

def pairs(options):
    "What 256 numbers carry of a real dialogue, and how it grows"
    def one(name, seed=0, **settings):
        usual = borrowed(options) | dict(model__backbone_dtype='bfloat16', data__source=f'{options.pairs}/{name}_train.jsonl.gz', data__held_out=f'{options.pairs}/{name}_valid.jsonl.gz',
                                         data__steps=1500, data__reconstruction_steps=500, data__rows_per_step=64, training__per_device_train_batch_size=64, training__learning_rate=1e-3, training__bf16=True)
        return command('idea-pairs', seed, **usual | settings)
    grown = {f'width-{width}': dict(model__latent_dim=width, model__compression_dim=max(512, width)) for width in (16, 64, 1024)}
    grown |= {f'slots-{slots}': dict(model__num_slots=slots, model__pooling='attention', data__cache='') for slots in (4, 16)} | {f'prefix-{length}': dict(model__prefix_len=length) for length in (2, 40)}
    return {f'{name}/seed{seed}': one(name, seed) for seed in SEEDS for name in ('dialogsum', 'samsum')} | {f'dialogsum/{name}': one('dialogsum', **change) for name, change in grown.items()}

def smollm(options):
    "Heads alone, between two borrowed backbones"
    return {'idea-smollm': [*command('idea-smollm', **borrowed(options)), '--config', options.sources]}

SUITES = dict(paths=paths, lessons=lessons, shipped=shipped, facts=facts, pairs=pairs, smollm=smollm)


def held_out_pairs(texts, num_pairs, skip=0):
    "Texts to go between: neighbours among the held-out ones, which are all from the first of the sources, and any two; none of the first `skip` pairs of either"
    some = slice(2*skip, 2*(skip+num_pairs))
    order = np.random.default_rng(0).permutation(len(texts))[some].reshape(-1, 2)
    return {'neighbours': list(zip(texts[some][::2], texts[some][1::2])), 'any two': [(texts[i], texts[j]) for i, j in order]}

def ways(folder, num_pairs=120, skip=0, candidates=(1, 8, 16)):
    "What a trained model says between held-out sentences, at once and as the best of several; before its lessons too, if it had any"
    import torch
    from latent_lab.data.pairs import sentence_rows
    from latent_lab.models.idea import IdeaForConditionalGeneration
    from latent_lab.train.between import said_on_the_way
    recipe = json.loads((folder/'recipe.json').read_text())
    load = lambda place: IdeaForConditionalGeneration.from_pretrained(place).float().to('cuda' if torch.cuda.is_available() else 'cpu').eval()
    models, before = {'': load(folder)}, folder/'checkpoints'/f'checkpoint-{recipe["data"]["steps"]}'
    if recipe['data']['rounds'] and before.exists(): models['before the lessons, '] = load(before)
    tokenizer = models[''].tokenizer
    held_out = list(sentence_rows(recipe['data']['sources'], recipe['data']['held_out'])['held_out']['text'])
    held_out = [text for text in held_out if len(tokenizer(text)['input_ids']) < models[''].config.max_source_length]
    said = {}
    for which, pairs in held_out_pairs(held_out, num_pairs, skip).items():
        for when, model in models.items():
            model.tokenizer = model.decoder_tokenizer = tokenizer
            said |= {f'{which}, {when}{"again, " if skip else ""}best of {k}': said_on_the_way(model, pairs, candidates=k) for k in candidates}
    some = np.random.default_rng(1).permutation(len(held_out))[:1000]
    (folder/('ways_again.json' if skip else 'ways.json')).write_text(json.dumps(dict(held_out=[held_out[i] for i in some], said=said)))


def then(output, name, words):
    "What a run does when it has been trained"
    if words[0] != 'idea-sentences': return ''
    return f'import sys; from pathlib import Path; sys.path.insert(0, {str(Path(__file__).parent)!r}); import idea_runs; idea_runs.ways(Path({str(output/name)!r}))'


def judge(output, name, runs):
    "How many inner sentences of each run are as fluent as held-out ones, and everything that was measured, in one file"
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from latent_lab.train.audit import as_fluent, perplexity
    model, tokenizer = AutoModelForCausalLM.from_pretrained(name).float().to('cuda' if torch.cuda.is_available() else 'cpu').eval(), AutoTokenizer.from_pretrained(name)
    found, known = {}, {}
    read = lambda texts: perplexity([text if text.strip() else '.' for text in texts], model, tokenizer)
    for file in sorted(output.glob('**/result.json')):
        run, folder = str(file.parent.relative_to(output)), file.parent
        if run not in runs: continue
        result, recipe = json.loads(file.read_text()), json.loads((folder/'recipe.json').read_text())
        log = [{k: entry[k] for k in ('step', 'loss', 'eval_loss') if k in entry} for entry in result['log'] if 'loss' in entry or 'eval_loss' in entry]
        found[run] = dict(command=' '.join(['latent-lab train', *runs[run]]), recipe=recipe, figures=result['figures'], hardware=result['hardware'], log=log)
        files = [file for file in (folder/'ways.json', folder/'ways_again.json') if file.exists()]
        if not files: continue
        parts = [json.loads(file.read_text()) for file in files]
        told = parts[0] | dict(said={how: said for part in parts for how, said in part['said'].items()})
        key = json.dumps(told['held_out'][:5])
        if key not in known: known[key] = read(told['held_out'])
        for how, said in told['said'].items():
            surprise = read([text for way in said for text in way[1:-1]])
            fluent = as_fluent(surprise, known[key]).reshape(len(said), -1)
            found[run]['figures'][f'between, {how}'] = dict(fluent=fluent.mean().item(), by_place=fluent.mean(0).round(4).tolist(), median=float(sorted(surprise)[len(surprise)//2]),
                                                        held_out_95=float(sorted(known[key])[int(.95*len(known[key]))]), texts=sum(len(set(way)) for way in said)/len(said))
            found[run].setdefault('examples', {})[how] = said[:6]
        file.write_text(json.dumps(result, indent=1))
        print(run, {k: v for k, v in found[run]['figures'].items() if k.startswith(('between', 'bleu', 'shuffled', 'before'))}, flush=True)
    (output/'runs.json').write_text(json.dumps(found))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('what', choices=['train', 'again', 'judge'])
    parser.add_argument('suites', nargs='*', help=', '.join(SUITES))
    parser.add_argument('--sources', default='sources.json', help='a file with the setting data.sources')
    parser.add_argument('--pairs', default='.', help='the folder of samsum and dialogsum')
    parser.add_argument('--backbones', help='the folder of MiniLM and SmolLM2 (default: the Hub)')
    parser.add_argument('--gpus', nargs='+', default=['0'])
    parser.add_argument('--per-gpu', type=int, default=3, help='runs at once on each GPU')
    parser.add_argument('--seconds', type=float, default=1e9, help='stop what is not done by then')
    parser.add_argument('--num-pairs', type=int, default=120, help='`again`: how many, of neighbours and of any two')
    parser.add_argument('--candidates', type=int, nargs='+', default=[16], help='`again`: sayings to choose among')
    parser.add_argument('--skip', type=int, default=120, help='`again`: pairs that were asked before')
    parser.add_argument('--judge', default='HuggingFaceTB/SmolLM2-135M-Instruct', help='a causal language model: Hub id or folder')
    parser.add_argument('--output', type=Path, default=Path('idea_runs'))
    options = parser.parse_args()
    runs = {name: words for suite in options.suites or SUITES for name, words in SUITES[suite](options).items()}
    if options.what == 'train': train(runs, options.output, options.gpus, options.per_gpu, options.seconds, lambda name: then(options.output, name, runs[name]))
    elif options.what == 'again':
        for name in runs:
            if (options.output/name/'model.safetensors').exists(): ways(options.output/name, options.num_pairs, options.skip, options.candidates)
            else: print(f'{name}: no model in {options.output/name}, so it is not asked')
    else: judge(options.output, options.judge, runs)


if __name__ == '__main__': main()
