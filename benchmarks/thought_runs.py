"""Train and measure the runs behind the experiments with latent thoughts, spread over the GPUs of one machine.

    python benchmarks/thought_runs.py train sums --gpus 0 --per-gpu 7
    python benchmarks/thought_runs.py train words --source words_train.jsonl --held-out words_asked.jsonl --backbone SmolLM2-135M-Instruct --gpus 0
    python benchmarks/thought_runs.py gather

`train` runs one `latent-lab train ...` command a run; runs that are finished are skipped, so a stopped suite goes on where it was. Every run of a suite takes as many steps over the same rows; of one seed, all are asked
the same questions. At its end a run answers them in each way that makes sense for it, row by row (`answers.json`). `gather` puts everything that was measured in `OUTPUT/runs.json` and compares the methods, question by question.
`--small` makes every run tiny, of one seed, to try on a processor that nothing fails: its figures mean nothing.
"""
import argparse
import json
from pathlib import Path

from idea_runs import command
from reasoner_runs import gather, train

SEEDS = 0, 1, 2
METHODS = {'no-cot': {}, 'text-cot': {}, 'icot': {}, 'pause': {}, 'coconut': {}, 'codi': {}, 'mixing': dict(model__num_passes=None)}     # mixed rows are read in turn too, so that each method is exact

SMALL = {'model.decoder': dict(model_type='llama', hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=256), 'data.num_rows': 60, 'data.eval_rows': 20, 'data.rows_per_step': 4,
         'training.per_device_train_batch_size': 4, 'training.per_device_eval_batch_size': 4, 'training.logging_steps': 2, 'training.save_steps': 3, 'training.warmup_steps': 0, 'training.disable_tqdm': True, 'training.bf16': False,
         'evaluation.num_rows': 8, 'evaluation.thoughts': [0, 2]}

def seeds(options): return SEEDS[:1] if options.small else SEEDS

def thought(recipe, options, seed=0, **settings):
    "Words of a command; small ones if that is asked for"
    small = SMALL | {'data.stage_steps': [2]*len(settings.get('data__stage_steps', []))} if options.small else {}
    if recipe == 'thought-smollm': small = {name: value for name, value in small.items() if name != 'model.decoder'}
    return command(recipe, seed, **settings | {name.replace('.', '__'): value for name, value in small.items()})

def stages(total, number):
    "So many steps in so many stages: a quarter in words, half in equal ones, and the rest in the last"
    if number == 1: return [total//2, total-total//2]
    first, between = total//4, total//(2*(number-1))
    return [first, *[between]*(number-1), total-first-between*(number-1)]

def by_each(suite, options, how):
    "The same by each of the methods"
    return {f'{suite}/{method}/seed{seed}': thought('thought-tiny', options, seed, data__method=method, **how, **METHODS[method]) for method in options.methods for seed in seeds(options)}

WIDE = dict(model_type='llama', hidden_size=256, intermediate_size=640, num_hidden_layers=4, num_attention_heads=4, max_position_embeddings=256)      # larger than that of the recipe

def sums(options):
    "Sums of several numbers, added one after the other, by each of the methods: a thought for each addition"
    how = dict(data__source='running_sums', data__per_step=1, data__stage_steps=stages(options.sum_steps, max(options.additions)), data__options=dict(difficulty=options.additions))
    return by_each('sums', options, how | dict(model__decoder=WIDE))

def clock(options):
    "The same modulo ten, digit by digit, so that nothing is known before the last: the recipe, by each of the methods; one length in the middle is not learnt"
    return by_each('clock', options, dict(data__stage_steps=stages(options.clock_steps, 8)))

def tied_clock(options):
    "Settings of the clock for a model that says words by the vectors that it reads them by"
    from latent_lab.recipes import get_recipe
    return dict(data__stage_steps=stages(options.clock_steps, 8), model__decoder=get_recipe('thought-tiny').model['decoder'] | dict(tie_word_embeddings=True))

def tied(options):
    "The same by such a model; and in thoughts without rows that stay behind"
    how = tied_clock(options)
    return by_each('tied', options, how) | {f'tied/forgetting/seed{seed}': thought('thought-tiny', options, seed, data__replay=0., **how) for seed in seeds(options)}

def tries(options):
    "Which settings matter to that tied model: one changed at a time, twice as fast as it should be learnt, one seed each"
    from latent_lab.recipes import get_recipe
    how = tied_clock(options) | dict(training__learning_rate=1e-3)
    changes = {'as it is': {}, 'no replay': dict(data__replay=0.), 'half the replay': dict(data__replay=.25), 'optimizer begins again': dict(data__fresh=True), 'untied': dict(model__decoder=get_recipe('thought-tiny').model['decoder']),
               'half the rate': dict(training__learning_rate=5e-4)}
    return {f'tries/{name.replace(" ", "-")}': thought('thought-tiny', options, **how | change) for name, change in changes.items()}

def hops(options):
    "Tables that are followed up to four times, by each of the methods: a step needs the answer of the one before"
    how = dict(data__source='hops', data__options=dict(size=6, difficulty=[1, 2, 3, 4]), data__stage_steps=stages(options.hop_steps, 4))
    return by_each('hops', options, how)

def words(options):
    "Word problems told in equations, with adapters on a borrowed language model"
    where = (dict(data__source=options.source) if options.source else {}) | (dict(data__held_out=options.held_out, data__eval_rows=10_000) if options.held_out else {}) | (dict(model__decoder_source=options.backbone) if options.backbone else {})
    return {f'words/{method}': thought('thought-smollm', options, data__method=method, data__stage_steps=stages(options.word_steps, 3), **where, **METHODS[method]) for method in ('no-cot', 'text-cot', 'icot', 'pause', 'coconut', 'codi')}

SUITES = dict(sums=sums, clock=clock, tied=tied, tries=tries, hops=hops, words=words)


def other_lengths(recipe):
    "The recipe's questions with sums of lengths that it has not seen: those in between, and one more"
    data, options = recipe.data, recipe.data['options']
    seen = options.get('difficulty', []) if data['source'] == 'running_sums' else []
    return {f'{n} additions': data | dict(options=options | dict(difficulty=[n]), eval_rows=300) for n in range(min(seen), max(seen)+2) if n not in seen} if seen else {}

def answer(folder):
    "What a trained model says to each held-out question, as it was trained and in other ways"
    import torch
    from latent_lab import hub, recipes
    from latent_lab.train.thought import answered, as_trained
    model = hub.load(str(folder), 'cuda' if torch.cuda.is_available() else None)
    recipe = recipes.Recipe.from_json((folder/'recipe.json').read_text())
    def asked(data): return recipes.worked_rows(recipes.worked_questions(data, recipe.training['seed'], asked_only=True)[1], model.tokenizer, data)
    def told(rows, **way):
        frame = answered(model, rows, **way)
        return dict(exact=frame.exact.astype(int).tolist(), steps=frame.steps.tolist(), tokens=frame.tokens.tolist(), said=model.tokenizer.batch_decode(frame.said.tolist()[:50]))
    rows, usual = asked(recipe.data), as_trained(recipes.thought_pad(model, recipe.data))
    rows = rows.select(range(min(recipe.evaluation['num_rows'], len(rows))))
    found = {name: told(rows, **way) for name, way in {'as trained': usual, 'direct': dict(way='direct'), 'text': dict(way='text')}.items()}
    found |= {name: told(asked(data), **usual) for name, data in other_lengths(recipe).items()}
    (folder/'answers.json').write_text(json.dumps(found | dict(difficulty=list(rows['difficulty']) if 'difficulty' in rows.column_names else None, questions=list(rows['question']))))

def then(output, name):
    "What a run does when it has been trained"
    return f'import sys; from pathlib import Path; sys.path.insert(0, {str(Path(__file__).parent)!r}); import thought_runs; thought_runs.answer(Path({str(output/name)!r}))'


def by_source(answers, held_out):
    "The share of right answers to the questions of each source that a file of held-out questions names"
    source = {row['question'].strip(): row.get('source', '') for row in map(json.loads, Path(held_out).read_text().splitlines())}
    told = [(source[question.strip()], right) for question, right in zip(answers['questions'], answers['as trained']['exact'], strict=True)]
    return {name: dict(questions=len(some), exact=sum(some)/len(some)) for name in sorted({name for name, _ in told}) for some in [[right for one, right in told if one == name]]}

def compare(output, runs, held_out=''):
    "The methods of a suite, question by question, all seeds together: right answers beside those in words, with paired intervals, also of lengths that were not learnt, and of each source"
    from latent_lab.train.audit import audit_table, compare_scores, mean_score
    answers, file = {name: json.loads((output/name/'answers.json').read_text()) for name in runs if (output/name/'answers.json').exists()}, output/'runs.json'
    found, groups = json.loads(file.read_text()), dict(sums=['sums'], clock=['clock', 'tied'], hops=['hops'], words=['words'])
    for name in found: found[name]['other_lengths'] = {what: sum(told['exact'])/len(told['exact']) for what, told in answers[name].items() if what.endswith('additions')}
    if held_out: found |= {name: found[name] | dict(sources=by_source(answers[name], held_out)) for name in found if name.startswith('words/')}
    for group, suites in groups.items():
        told = {}
        for name, answer in answers.items():
            suite, method, *_ = name.split('/')
            if suite in suites: told.setdefault(method if suite == group else f'{suite} {method}', []).append(answer)
        most = max(map(len, told.values()), default=0)
        told = {name: some for name, some in sorted(told.items(), key=lambda item: (not item[0].endswith('text-cot'), item[0])) if len(some) == most}
        for what in ['as trained', *(what for what in next(iter(told.values()), [{}])[0] if what.endswith('additions'))] if len(told) > 1 else []:
            scores = {name: {measure: mean_score([x for one in some for x in one[what][measure]], scale=scale) for measure, scale in dict(exact=100, steps=1).items()} for name, some in told.items()}
            table = compare_scores(scores)
            print(f'{group}, {what}, {most} seeds together', audit_table(table).to_string(), sep='\n')
            found[f'{group}/compared, {what}'] = json.loads(table.to_json(orient='records'))
    file.write_text(json.dumps(found))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('what', choices=['train', 'gather'])
    parser.add_argument('suites', nargs='*', help=', '.join(SUITES))
    parser.add_argument('--additions', type=int, nargs='+', default=[2, 4, 6], help='of the sums')
    parser.add_argument('--methods', nargs='+', default=list(METHODS), choices=METHODS, help='of the sums and hops (default: all)')
    parser.add_argument('--source', default='', help='of the word problems: a name, a file or a Hub id (default: that of the recipe)')
    parser.add_argument('--held-out', default='', help='word problems that are asked (default: some of the source)')
    parser.add_argument('--backbone', default='', help='where SmolLM2-135M-Instruct lies (default: the Hub)')
    for suite, steps in dict(sum=8000, clock=7000, hop=6000, word=3000).items(): parser.add_argument(f'--{suite}-steps', type=int, default=steps, help=f'of a run (default: {steps})')
    parser.add_argument('--gpus', nargs='+', default=['0'])
    parser.add_argument('--per-gpu', type=int, default=5, help='runs at once on each GPU')
    parser.add_argument('--seconds', type=float, default=1e9, help='stop what is not done by then')
    parser.add_argument('--small', action='store_true', help='tiny models, a few steps each, one seed: tries that everything runs, measures nothing')
    parser.add_argument('--output', type=Path, default=Path('thought_runs'))
    options = parser.parse_args()
    if unknown := set(options.suites)-set(SUITES): parser.error(f'there are no suites {", ".join(sorted(unknown))}; there are {", ".join(SUITES)}')
    runs = {name: words for suite in options.suites or SUITES for name, words in SUITES[suite](options).items()}
    if options.what == 'train': train(runs, options.output, options.gpus, options.per_gpu, options.seconds, lambda name: then(options.output, name))
    for name in runs:
        if (options.output/name/'result.json').exists() and not (options.output/name/'answers.json').exists(): answer(options.output/name)
    gather(runs, options.output)
    compare(options.output, runs, options.held_out)


if __name__ == '__main__': main()
