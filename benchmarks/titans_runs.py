"""Train and measure the runs behind the experiments with Titans, spread over the GPUs of one machine.

    python benchmarks/titans_runs.py train tasks chat tiny --chats chats.jsonl --sources sources.json --gpus 0 1 --per-gpu 5
    python benchmarks/titans_runs.py train big --chats chats.jsonl --gpus 0
    python benchmarks/titans_runs.py gather

`train` runs one `latent-lab train ...` command a run; runs that are finished are skipped, so a stopped suite goes on where it was. `gather` puts everything that was measured in `OUTPUT/runs.json`.
`--chats` is a file of conversations (`messages`), `sources.json` holds the setting `data.sources`: files by name. `big` trains 122 M parameters twice: once in one go, and once killed in the middle and
taken up again; `gather` says how far the two are apart. `--small` makes every run tiny, of one seed, to try on a processor that nothing fails: its figures mean nothing.
"""
import argparse
import json
import signal
import time
from pathlib import Path

from idea_runs import command
from reasoner_runs import gather, start, train

SEEDS = 0, 1, 2

def seeds(options): return SEEDS[:1] if options.small else SEEDS

SMALL = {'model.attn_dim': 16, 'model.num_attention_heads': 2, 'model.memory_heads': 1, 'model.max_thoughts': 3, 'model.inner': 'gru', 'data.steps': 4, 'data.eval_rows': 12, 'training.per_device_train_batch_size': 4,
         'training.per_device_eval_batch_size': 4, 'training.logging_steps': 2, 'training.save_steps': 2, 'training.disable_tqdm': True, 'training.bf16': False, 'evaluation.num_rows': 4, 'evaluation.alarm': 2}

def titans(recipe, options, seed=0, **settings):
    "Words of a command; small ones if that is asked for"
    small = SMALL | (dict.fromkeys(['data.num_rows'], 60) if recipe == 'titans-tasks' else {'data.length': 128, 'data.vocabulary': 300, 'data.num_rows': 20, 'data.eval_rows': 2, 'training.eval_steps': 2})
    settings = {name.replace('__', '.'): value for name, value in settings.items()} | (small if options.small else {})
    return command(recipe, seed, **{name.replace('.', '__'): value for name, value in settings.items()})

SHALLOW = dict(model__num_hidden_layers=2, model__memory_layers=[])      # more would leave nothing to think about
HOPS = SHALLOW | dict(data__task='hops', training__learning_rate=1e-3)
SUMS = SHALLOW | dict(data__task='addition', model__reasoning_layers=[0])
MADE = {'hops': (HOPS | dict(data__options=dict(difficulty=[1, 2, 3, 4, 5])), .001), 'hops-dearer': (HOPS | dict(data__options=dict(difficulty=[1, 2, 3, 4, 5])), .003), 'few-hops': (HOPS, .003),
        'running-sums': (SHALLOW | dict(data__task='running_sums', training__learning_rate=1e-3, data__options=dict(difficulty=[2, 3, 4, 5, 6])), .002),
        'clock': (SHALLOW | dict(data__task='running_sums', training__learning_rate=1e-3, data__options=dict(modulus=10, difficulty=[2, 3, 4, 5, 6])), .002),
        'addition': (SUMS, .003), 'long-addition': (SUMS | dict(data__options=dict(digits=4, difficulty=[0, 1, 2, 3, 4])), .002),
        'maze': (dict(data__task='maze', data__options=dict(size=5, difficulty=[1, 2, 3, 4, 5, 6])), .001), 'listops': (dict(data__task='listops'), .003)}

def tasks(options):
    "Each made task, and what a thought costs there: thoughts that end by themselves, and as many as there may be"
    runs = {}
    for task, (setting, cost) in MADE.items():
        for kind, change in dict(act=dict(model__ponder_weight=cost), fixed=dict(model__halting='fixed')).items():
            if (task, kind) == ('hops-dearer', 'fixed'): continue                # those of `hops`
            runs |= {f'tasks/{task}/{kind}/seed{seed}': titans('titans-tasks', options, seed, data__steps=options.task_steps, **setting, **change) for seed in seeds(options)}
    return {name: words for name, words in runs.items() if name.split('/')[1] in options.tasks}

def chat(options):
    "Conversations with one part left out at a time, all equal in parameters"
    from latent_lab.recipes import ablations, changed, titans_chat
    small = changed(titans_chat(), {name: value for name, value in SMALL.items() if name.startswith('model.')}) if options.small else titans_chat()
    runs = {}
    for name, recipe in ablations(small).items():
        change = {f'model__{part}': value for part, value in recipe.model.items() if value != small.model.get(part, 'not there')}
        runs |= {f'chat/{name.replace(" ", "-")}/seed{seed}': titans('titans-chat', options, seed, data__source=options.chats, data__steps=options.chat_steps, **change) for seed in seeds(options)}
    return runs

def tiny(options):
    "The recipe that a shipped model is trained by"
    return {f'tiny/seed{seed}': [*titans('titans-tiny', options, seed, data__steps=options.tiny_steps), '--config', options.sources] for seed in SEEDS[:options.tiny_seeds]}

def big(options):
    "122 M parameters on conversations, in words learnt from them; the tokens of GPT-2 if a folder or an id of its tokenizer is given"
    how = dict(data__source=options.chats, data__num_rows=None, data__steps=options.big_steps, training__save_steps=options.big_steps//2, training__eval_steps=options.big_steps//2, training__load_best_model_at_end=False)
    how |= dict(data__tokenizer=options.tokenizer) if options.tokenizer else dict(data__tokenizer='', data__vocabulary=16_000, model__vocab_size=50_259)
    if options.exact: how |= dict(training__full_determinism=True)
    if options.small: how |= dict(data__steps=4, training__save_steps=2, model__vocab_size=300)
    return {name: titans('titans-122m', options, **how) for name in ('big/whole', 'big/torn')}

SUITES = dict(tasks=tasks, chat=chat, tiny=tiny, big=big)


MEMORY = '''
import json, torch
if torch.cuda.is_available(): open({file!r}, 'w').write(json.dumps(dict(peak_gigabytes=torch.cuda.max_memory_allocated()/2**30, reserved_gigabytes=torch.cuda.max_memory_reserved()/2**30)))
'''

def then(output, name):
    "What a run tells at its end beside what the command does: how much memory it took"
    return MEMORY.format(file=str(output/name/'memory.json'))

def tear(words, folder, gpu, seconds):
    "Start a run and kill it as soon as its first checkpoint is whole; it is taken up again by `--resume`"
    if (folder/'checkpoints').exists(): return
    process, begun = start(words, folder, gpu), time.time()
    while process.poll() is None and not list(folder.glob('checkpoints/checkpoint-*/complete.json')) and time.time()-begun < seconds: time.sleep(.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    print(f'killed {folder} with', [path.parent.name for path in folder.glob('checkpoints/checkpoint-*/complete.json')] or (folder/'log.txt').read_text()[-600:], flush=True)

def train_all(runs, output, options):
    "All runs; one that is to be torn is killed once first"
    begun, torn = time.time(), 'big/torn'
    if torn in runs and not (output/torn/'result.json').exists():
        tear(runs[torn], output/torn, options.gpus[0], options.seconds)
        runs = runs | {torn: [*runs[torn], '--resume']}
    train(runs, output, options.gpus, options.per_gpu, options.seconds-(time.time()-begun), lambda name: then(output, name))

def tokens_per_second(result, recipe):
    "Of training alone, evaluation and saving counted in"
    last = next(log for log in reversed(result['log']) if 'train_runtime' in log)
    return last['train_samples_per_second']*recipe['data']['length']

def measure(output):
    "Add what only this script knows: tokens a second, memory, and how far a torn run is from the whole one"
    file = output/'runs.json'
    runs = json.loads(file.read_text())
    for name, run in runs.items():
        result = json.loads((output/name/'result.json').read_text())
        run['log'] = [{part: value for part, value in log.items() if part not in ('grad_norm', 'epoch')} for log in result['log']]
        if 'length' in run['recipe']['data'] and name != 'big/torn': run['figures']['tokens_per_second'] = tokens_per_second(result, run['recipe'])
        if (output/name/'memory.json').exists(): run['figures'] |= json.loads((output/name/'memory.json').read_text())
    if {'big/whole', 'big/torn'} <= set(runs):
        logs = [{log['step']: log for log in runs[name]['log'] if 'loss' in log} for name in ('big/whole', 'big/torn')]
        apart = {part: max(abs(logs[0][step][part]-logs[1][step][part]) for step in logs[0] if step in logs[1]) for part in ('loss', 'lm', 'world', 'ponder', 'ponder_steps', 'gate')}
        runs['big/torn']['figures']['largest_difference_to_whole'] = apart
        print('torn and whole differ at most by', apart)
    file.write_text(json.dumps(runs))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('what', choices=['train', 'gather'])
    parser.add_argument('suites', nargs='*', help=', '.join(SUITES))
    parser.add_argument('--chats', default='chats.jsonl', help='a file of conversations')
    parser.add_argument('--sources', default='sources.json', help='a file with the setting data.sources')
    parser.add_argument('--tokenizer', default='', help='of the big run: a folder or a Hub id (default: one of 16,000 pieces learnt from the conversations, with GPT-2\'s number of rows in the embedding)')
    for suite, steps in dict(task=4000, chat=1000, tiny=2500, big=300).items(): parser.add_argument(f'--{suite}-steps', type=int, default=steps, help=f'of a run (default: {steps}){"; a multiple of 500" if suite in ("chat", "tiny") else ""}')
    parser.add_argument('--exact', action='store_true', help='of the big run: every sum in one order on a GPU too, which is slower')
    parser.add_argument('--tiny-seeds', type=int, default=1)
    parser.add_argument('--tasks', nargs='+', default=list(MADE), choices=MADE, help='made tasks (default: all)')
    parser.add_argument('--gpus', nargs='+', default=['0'])
    parser.add_argument('--per-gpu', type=int, default=5, help='runs at once on each GPU')
    parser.add_argument('--seconds', type=float, default=1e9, help='stop what is not done by then')
    parser.add_argument('--small', action='store_true', help='tiny models, four steps each, one seed: tries that everything runs, measures nothing')
    parser.add_argument('--output', type=Path, default=Path('titans_runs'))
    options = parser.parse_args()
    if unknown := set(options.suites)-set(SUITES): parser.error(f'there are no suites {", ".join(sorted(unknown))}; there are {", ".join(SUITES)}')
    runs = {name: words for suite in options.suites or SUITES for name, words in SUITES[suite](options).items()}
    if options.what == 'train': train_all(runs, options.output, options)
    gather(runs, options.output)
    measure(options.output)


if __name__ == '__main__': main()
