"The command line as people use it: what it does, and one clear line for everything that can go wrong"
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import pytest
import typer
from conftest import answers, free_port, patience

from latent_lab import cli

# Commands run in children of one server that has imported everything, so that each starts in milliseconds; a few are started from a shell's point of view.
processes = get_context('forkserver')
program, configs = Path(sys.executable).with_name('latent-lab'), Path(__file__).parents[1]/'configs'
commands = typer.main.get_command(cli.app).commands

small = {'data.stages': [[16, 12], [24, 12]], 'data.rows_per_step': 8, 'data.eval_rows': 6, 'evaluation.lengths': [16], 'evaluation.num_rows': 4,
         'training.per_device_train_batch_size': 8, 'training.use_cpu': True, 'training.save_steps': 4, 'training.logging_steps': 4, 'training.disable_tqdm': True}


class Said(NamedTuple):
    "How a command ended"
    code:int  # its exit code
    out:str   # standard output
    err:str   # standard error


def settings_of(**changes):
    "The words of some settings; a part and a name are joined by a point or by two underscores"
    return [word for name, value in changes.items() for word in ('--set', f'{name.replace("__", ".")}={json.dumps(value)}')]

def settings(**changes):
    "The words that make a recipe small, and those of other settings"
    return settings_of(**small | {name.replace('__', '.'): value for name, value in changes.items()})


# ---- running commands

def redirect(path, descriptor):
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, descriptor)
    os.close(file)


def command(words, place, name, largest_file=None, typed=''):
    "In a child: one command, its output in files"
    import torch
    from transformers.utils import logging
    torch.set_num_threads(1)
    logging.set_verbosity_error()              # as `main` has it; here the library was imported before
    signal.signal(signal.SIGINT, signal.default_int_handler)      # who is started in the background of a shell ignores it
    os.chdir(place)
    (place/f'{name}.in').write_text(typed)
    sys.stdin = open(place/f'{name}.in')
    redirect(place/f'{name}.out', 1)
    redirect(place/f'{name}.err', 2)
    os.environ['COLUMNS'], sys.argv = '100', ['latent-lab', *map(str, words)]
    if largest_file is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    cli.main()


def several(commands, place):
    "In a child: command after command; their exit codes into a file"
    codes = {}
    for name, words in commands.items():
        try: command(words, place, name)
        except SystemExit as end: codes[name] = end.code
        except BaseException as error: codes[name] = f'{type(error).__name__}: {error}'
        sys.stdout.flush()
        sys.stderr.flush()
    (place/'codes.json').write_text(json.dumps(codes))


def start(*words, place, name='said', **how):
    child = processes.Process(target=command, args=(words, place, name), kwargs=how)
    child.start()
    return child


def ended(child, place, name='said'):
    child.join(120)
    return Said(child.exitcode, (place/f'{name}.out').read_text(), (place/f'{name}.err').read_text())


def run(*words, place, **how): return ended(start(*words, place=place, **how), place)


def one_line(said):
    "The complaint of a command that failed as it should; a progress bar may stand before it"
    complaint = re.sub(r'\s*recording:[^\r\n]*\s*', '', said.err)
    assert said.code == 2, said
    assert re.fullmatch(r'latent-lab: [^\n]+\n', complaint) and 'Traceback' not in said.out, said
    return complaint.removeprefix('latent-lab: ').strip()


@pytest.fixture(scope='session')
def server():
    "Starts the server with all that this file and its neighbours need"
    processes.set_forkserver_preload(['latent_lab.recipes', 'latent_lab.trace', 'latent_lab.train.trainer', 'latent_lab.train.reasoner', 'latent_lab.train.schedules', 'latent_lab.models.baselines',
        'latent_lab.models.reasoner', 'latent_lab.models.idea', 'latent_lab.train.idea', 'latent_lab.train.audit', 'latent_lab.explore.interpolate', 'latent_lab.data.sequences', 'latent_lab.data.text',
        'latent_lab.data.pairs', 'latent_lab.explore.learning', 'transformers.models.gpt2.modeling_gpt2', 'transformers.models.bert.modeling_bert', 'pandas', 'xarray', 'zarr', 'rouge_score.rouge_scorer', 'sacrebleu.metrics', 'typer.rich_utils'])


@pytest.fixture(scope='session')
def trained(server, tmp_path_factory):
    "A folder with one whole run: checkpoints, model, tokenizer, recipe, result"
    place = tmp_path_factory.mktemp('trained')
    said = run('train', 'reasoner-rules', '--output', 'run', *settings(), place=place)
    assert said.code == 0, said
    return place/'run', said


six = ['The dog ran home.', 'The cat sat by the fire.', 'A bird sang all day.', 'We can meet at seven.', 'I lost my red hat.', 'They like old books.']


def make_ideas(place):
    "In a child: an idea model that knows six sentences by heart; one that borrows, and what it borrows; one whose reader is gone"
    import torch
    from latent_lab.data.text import byte_tokenizer
    from latent_lab.models.idea import IdeaConfig, IdeaForConditionalGeneration, padded
    from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel
    torch.set_num_threads(1)
    torch.manual_seed(0)
    words = byte_tokenizer(six, 300)
    sizes = dict(vocab_size=len(words), pad_token_id=words.pad_token_id, initializer_range=.05)
    bert = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, max_position_embeddings=64, hidden_dropout_prob=0., attention_probs_dropout_prob=0., **sizes)
    gpt2 = GPT2Config(n_embd=32, n_layer=1, n_head=2, n_positions=64, resid_pdrop=0., embd_pdrop=0., attn_pdrop=0., bos_token_id=None, eos_token_id=words.eos_token_id, **sizes)
    small = dict(latent_dim=16, compression_dim=16, middle_dim=16, prefix_len=2, max_source_length=24, max_target_length=24)
    model = IdeaForConditionalGeneration(IdeaConfig(encoder=bert, decoder=gpt2, encoder_source=None, decoder_source=None, train_encoder=True, train_decoder=True, **small))
    model.tokenizer = model.decoder_tokenizer = words
    source, labels, optimizer = model.tokenize(six), padded(model.target_ids(six), -100)[0], torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(180):
        optimizer.zero_grad()
        model(**source, labels=labels).loss.backward()
        optimizer.step()
    model.save_pretrained(place/'six')
    for name, backbone in (('reader', BertModel(bert, add_pooling_layer=False)), ('gone', BertModel(bert, add_pooling_layer=False)), ('speaker', GPT2LMHeadModel(gpt2))):
        backbone.save_pretrained(place/name)
        words.save_pretrained(place/name)
    for reader, name in (('reader', 'between'), ('gone', 'widowed')): IdeaForConditionalGeneration.from_backbones(place/reader, place/'speaker', **small).save_pretrained(place/name)
    (place/'gone').rename(place/'moved')


@pytest.fixture(scope='session')
def ideas(server, tmp_path_factory):
    "A folder with idea models: `six`, `between` (of `reader` and `speaker`), `widowed` (its reader is at `moved`)"
    place = tmp_path_factory.mktemp('ideas')
    child = processes.Process(target=make_ideas, args=(place,))
    child.start()
    child.join(120)
    assert child.exitcode == 0
    (place/'six.txt').write_text('\n'.join(six))
    (place/'pairs.jsonl').write_text('\n'.join(json.dumps(dict(input=text, target=text)) for text in six))
    return place


def make_checkpoints(desk, trained):
    "In a child: checkpoints that cannot be what is asked for"
    from latent_lab.models.reasoner import LatentReasoningConfig, LatentReasoningForCausalLM
    LatentReasoningForCausalLM(LatentReasoningConfig(latent_dim=8, attn_dim=8, num_attention_heads=2, vocab_size=20)).save_pretrained(desk/'twenty-words')
    def altered(name, file, change):
        shutil.copytree(trained, desk/name, ignore=shutil.ignore_patterns('checkpoints'))
        (desk/name/file).write_bytes(change((desk/name/file).read_bytes()))
    config = lambda **new: lambda old: json.dumps(json.loads(old) | new).encode()
    altered('wider', 'config.json', config(latent_dim=32))
    altered('deeper', 'config.json', config(num_hidden_layers=3))
    altered('gpt2', 'config.json', lambda old: b'{"model_type": "gpt2", "n_embd": 8, "n_head": 1, "n_layer": 1, "vocab_size": 68}')
    altered('soup', 'config.json', lambda old: b'{"model_type": "soup"}')
    altered('torn', 'model.safetensors', lambda old: old[:1000])
    altered('scribbled', 'tokenizer.json', lambda old: old[:100])
    altered('brace', 'config.json', lambda old: b'{"model_type":')
    altered('t5', 'config.json', lambda old: b'{"model_type": "t5"}')
    make_thinkers(desk)


def make_thinkers(desk):
    "In a child: a model of latent thoughts with random weights, and recipes beside it that say too little"
    from latent_lab.data.text import byte_tokenizer
    from latent_lab.recipes import build_thought, changed, get_recipe, save
    shape = dict(model_type='llama', hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=64)
    recipe = changed(get_recipe('thought-tiny'), {'model.decoder': shape, 'model.thoughts': 2, 'model.mark_ids': [35]})
    model, whole = build_thought(recipe, byte_tokenizer([], 259)), json.loads(recipe.to_json())
    whole['evaluation']['thoughts'] = 3
    for name, told in dict(thinker=json.dumps(whole), markless=recipe.to_json().replace('"mark"', '"sign"'), unwritten='{"soup": 1}', **{'torn-recipe': '{"name":'}, orphan=None).items():
        save(model, recipe, desk/name)
        if told is None: (desk/name/'recipe.json').unlink()
        else: (desk/name/'recipe.json').write_text(told)


# ---- one clear line: words, and what the line must say

train, rules, tales = 'train', ('train', 'reasoner-rules', '--output', 'fresh'), ('train', 'reasoner-tales', '--output', 'fresh', '--set', 'training.use_cpu=true', '--set')
tiny, trace_tiny = 'reasoner-tiny', ('trace', 'reasoner-tiny', '--output')
sums = train, 'titans-tasks', '--output', 'fresh', *settings_of(training__use_cpu=True, data__num_rows=20, data__eval_rows=8, model__attn_dim=16, data__steps=2)
talk = train, 'titans-chat', '--output', 'fresh', *settings_of(training__use_cpu=True, model__attn_dim=16, model__memory_heads=1, data__steps=2)
steps = train, 'thought-tiny', '--output', 'fresh', *settings_of(training__use_cpu=True, training__per_device_train_batch_size=4, data__rows_per_step=4, data__num_rows=20, data__eval_rows=8, data__source='addition', data__options=dict(digits=2, style='digits'), evaluation__thoughts=[0, 1],
    model__decoder=dict(model_type='llama', hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=64))
between = lambda checkpoint, *words: ['interpolate', checkpoint, '--from', six[0], '--to', six[1], *words]
MISTAKES = {
    # data
    'missing file':             ([*tales, 'data.source=nowhere.txt'], 'nowhere.txt: there is no such file'),
    'missing path':             ([*tales, 'data.source=./no/where'], 'no/where: there is no such file'),
    'wrong column':             ([*tales, 'data.source=columns.csv'], 'columns.csv, row 1: there is no column `text`; there is a, b'),
    'empty file':               ([*tales, 'data.source=empty.txt'], 'empty.txt: there is no text in it'),
    'empty row':                ([*tales, 'data.source=empty_row.jsonl'], 'empty_row.jsonl, row 2: column `text` is empty'),
    'broken JSON':              ([*tales, 'data.source=broken.jsonl'], 'broken.jsonl, line 2: broken JSON'),
    'not text':                 ([*tales, 'data.source=bytes.txt'], 'bytes.txt: not UTF-8 text'),
    'not gzip':                 ([*tales, 'data.source=fake.txt.gz'], 'fake.txt.gz: not a whole gzip file'),
    'a folder as data':         ([*tales, 'data.source=.'], 'a file was expected'),
    'too little text':          ([*tales, 'data.source=short.txt'], 'does not fit'),
    'unknown data set':         ([*tales, 'data.source=no-body/no-data'], "'no-body/no-data' is no file here"),
    # recipes and settings
    'unknown recipe':           ([train, 'soup'], "there is no recipe 'soup'; there are reasoner-rules"),
    'unknown setting':          ([*rules, '--set', 'model.gait=none'], "setting 'model.gait' is not known; model has alpha"),
    'unknown part':             ([*rules, '--set', 'modle.gate=none'], "setting 'modle.gate': it must begin with model."),
    'no value':                 ([*rules, '--set', 'gate'], 'a setting is written name=value'),
    'a word for a number':      ([*rules, '--set', 'training.learning_rate=fast'], "'training.learning_rate' is 'fast'"),
    'a number for a word':      ([*rules, '--set', 'model.gate=3'], "'model.gate' is 3"),
    'a number for a list':      ([*rules, '--set', 'data.stages=5'], "'data.stages' is 5"),
    'half a stage':             ([*rules, '--set', 'data.stages=[[16]]'], "'data.stages' is [[16]]"),
    'no stages':                ([*rules, '--set', 'data.stages=[]'], "'data.stages' is []"),
    'no such gate':             ([*rules, *settings(model__gate='wide')], "`gate` is 'wide'"),
    'no such model':            ([*rules, *settings(model__model_type='soup')], "`model.model_type` is 'soup'"),
    'a model of another kind':  ([*rules, *settings(model__model_type='titans')], "reasoner-rules trains a model of type 'latent_reasoning', and another model is another recipe"),
    'not a whole number':       ([*rules, '--set', 'data.eval_rows=2.5'], "'data.eval_rows' is 2.5"),
    'no number':                ([*rules, '--set', 'training.learning_rate=NaN'], "'training.learning_rate' is nan"),
    'no rows to check on':      ([*rules, '--set', 'data.eval_rows=0'], "setting 'data.eval_rows' is 0; it must be a whole number, at least 1"),
    'steps set twice':          ([*rules, '--set', 'training.max_steps=3'], "setting 'training.max_steps' is not known"),
    'a seed below zero':        ([*rules, '--seed', '-1'], "setting 'training.seed' is -1; it must be a whole number, at least 0"),
    'never a checkpoint':       ([*rules, '--set', 'training.save_steps=0'], "setting 'training.save_steps' is 0; it must be above 0"),
    'a rate that is none':      ([*rules, '--learning-rate', 'nan'], '`--learning-rate nan`: it must be a number above 0'),
    'no such measure':          ([*rules, *settings(training__eval_strategy='steps', training__eval_steps=4, training__load_best_model_at_end=True, training__metric_for_best_model='soup'), '--set', 'training.overwrite=true'], "`training.metric_for_best_model` is 'soup'; The available"),
    # Titans
    'no such questions':        ([*sums, *settings_of(data__task='soup')], "`data.task` is 'soup'; it must be one of addition"),
    'no such option':           ([*sums, *settings_of(data__options=dict(digit=2))], '`data.options` names digit; addition takes digits, difficulty, style'),
    'an option that fits not':  ([*sums, *settings_of(data__options=dict(difficulty=2.5))], "which does not suit addition"),
    'all questions held out':   ([*sums, *settings_of(data__num_rows=20, data__eval_rows=81, data__options=dict(digits=1, difficulty=None))], 'nothing is left to learn from'),
    'half a thought':           ([*sums, *settings_of(model__max_thoughts=1.5)], "'model.max_thoughts' is 1.5"),
    'a weight below zero':      ([*sums, *settings_of(model__ponder_weight=-1.)], '`ponder_weight` is -1.0; it must be a finite number, at least 0'),
    'no heads':                 ([*sums, *settings_of(model__num_attention_heads=0)], '`num_attention_heads` is 0; it must be a whole number, at least 1'),
    'conversations of nobody':  ([*talk, *settings_of(data__source='columns.csv')], 'columns.csv, row 1: there is no column `messages`; there is a, b'),
    'a wrong role':             ([*talk, *settings_of(data__source='roles.jsonl')], "roles.jsonl, row 1, message 1: `role` is 'bot'"),
    'no tokenizer there':       ([*talk, *settings_of(data__source='chats.jsonl', data__eval_rows=1, data__tokenizer='./nowhere')], "`data.tokenizer` is './nowhere', which cannot be had"),
    'too few words':            ([*talk, *settings_of(data__source='chats.jsonl', data__eval_rows=1, data__vocabulary=10)], '`data.vocabulary` is 10'),
    'too few conversations':    ([*talk, *settings_of(data__source='chats.jsonl', data__eval_rows=9)], 'nothing is left to learn from'),
    'thoughts of Titans':       (['generate', 'titans-tiny', '-i', 'Hi', '--thoughts', '2'], '`--thoughts` is for models of latent thoughts'),
    'a seed that is none':      (['generate', 'titans-tiny', '-i', 'Hi', '--seed', '-1'], '`--seed -1`: it must be from 0'),
    'endless temperature':      (['generate', 'titans-tiny', '-i', 'Hi', '--temperature', 'inf'], '`--temperature inf`: it must be a number'),
    'nothing to go on from':    (['generate', 'titans-tiny', '-i', ''], 'text 0 is empty'),
    # latent thoughts
    'no such problems':         ([*steps, *settings_of(data__source='stew')], "`data.source` is 'stew'; it must be one of addition"),
    'options of other problems':([*steps, *settings_of(data__source='problems.jsonl')], '`data.options` names digits; load_problems takes'),
    'held out for nothing':     ([*steps, *settings_of(data__held_out='problems.jsonl')], "`data.held_out` is 'problems.jsonl', but 'addition' makes questions"),
    'too few problems':         ([*steps, *settings_of(data__source='problems.jsonl', data__options={}, data__num_rows=None)], 'nothing is left to learn from'),
    'no such method':           ([*steps, *settings_of(data__method='soup')], "`method` is 'soup'; it must be one of no-cot"),
    'one stage':                ([*steps, *settings_of(data__stage_steps=[4])], "'data.stage_steps' is [4]; steps of a first stage"),
    'thoughts below zero':      ([*steps, *settings_of(evaluation__thoughts=[-1])], "'evaluation.thoughts' is [-1]; it must be a whole number, at least 0"),
    'thoughts without room':    ([*steps, *settings_of(evaluation__thoughts=[500])], '500 thoughts (`evaluation.thoughts`) and its answer need'),
    'nobody to exchange with':  ([*steps, *settings_of(data__eval_rows=1)], '`evaluation.audit` exchanges thoughts between rows, and there is 1'),
    'no shape':                 ([*steps, *settings_of(model__decoder=None)], '`model.decoder` is None and `model.decoder_source` None'),
    'no such shape':            ([*steps, *settings_of(model__decoder=dict(model_type='soup'))], "no backbone of `model_type` 'soup'"),
    'an encoder that speaks':   ([*steps, *settings_of(model__decoder=dict(model_type='bert', hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16))], 'a BertLMHeadModel sees later tokens'),
    'nothing is trained':       ([*steps, *settings_of(model__train_decoder=False)], 'nothing of this model is trained'),
    'more than all latent':     ([*steps, *settings_of(model__latent_ratio=2.)], '`latent_ratio` is 2.0; it must lie between 0, all text, and 1'),
    'half a place':             ([*steps, *settings_of(data__per_step=1.5)], "'data.per_step' is 1.5"),
    'a stage below zero':       ([*steps, *settings_of(data__stage_steps=[-1, 2])], "'data.stage_steps' is [-1, 2]; it must be a whole number, at least 0"),
    'nothing for a list':       ([*steps, *settings_of(data__stage_steps=None)], "setting 'data.stage_steps' is None; something like"),
    'nothing in a list':        ([*steps, *settings_of(evaluation__thoughts=[0, None])], "'evaluation.thoughts' is [0, None]; something like"),
    'nothing for a word':       ([*steps, *settings_of(data__mark=None)], "setting 'data.mark' is None; something like '#'"),
    'nothing for a rate':       ([*steps, *settings_of(training__learning_rate=None)], "setting 'training.learning_rate' is None; something like"),
    'neither true nor false':   ([*steps, *settings_of(model__train_decoder=None)], "setting 'model.train_decoder' is None; something like 'False'"),
    'no mark':                  ([*steps, *settings_of(data__mark='')], '`mark_ids` is empty; some token must stand between'),
    'more than all state':      ([*steps, *settings_of(data__ratio=2.)], '`schedule` goes from 0.0 to 2.0; a share of state lies between 0 and 1'),
    'a pause before the first': ([*steps, *settings_of(model__pause_id=-1)], '`pause_id` is -1; it must be a whole number, at least 0'),
    'marks that are none':      ([*steps, *settings_of(model__mark_ids=['a'])], "`mark_ids` holds 'a'; it must be a list of tokens"),
    'a pass less than none':    ([*steps, *settings_of(model__num_passes=-1)], '`num_passes` is -1; it must be a whole number, at least 0, or None'),
    'no width':                 ([*steps, *settings_of(model__decoder=dict(model_type='llama', hidden_size=0, num_hidden_layers=1))], "there can be no backbone of `model_type` 'llama' with these settings"),
    'a backbone that is none':  ([train, 'thought-smollm', '--output', 'fresh', '--set', 'model.decoder_source=./nowhere'], "decoder './nowhere' cannot be had"),
    'a thought less than none': (['generate', './thinker', '-i', '1+2=', '--thoughts', '-1'], '`thoughts` is -1; it must be a whole number, at least 0'),
    'thoughts in words':        (['generate', './thinker', '-i', '1+2=', '--mode', 'text', '--thoughts', '2'], '`mode="text"` reasons in what it says; leave `thoughts` out'),
    'no such mode':             (['generate', './thinker', '-i', '1+2=', '--mode', 'soup'], "`mode` is 'soup'; it must be one of 'latent', 'mixed', 'text'"),
    'thoughts beyond the room': (['generate', './thinker', '-i', '1+2=', '--thoughts', '500'], 'a prompt, its thoughts and its answer need'),
    'no question':              (['generate', './thinker', '-i', ' '], "`--input ' '`: a question is needed"),
    'only the likeliest':       (['generate', './thinker', '-i', '1+2=', '--top-k', '5'], '`--top-k`: a model of latent thoughts takes the likeliest token'),
    'one question to measure':  (['evaluate', './thinker', '--num-rows', '1'], '`--num-rows 1`: it must be 2 or more'),
    'thoughts of a task':       (['evaluate', './thinker', '--task', 'list_ops'], '`--task`: a model of latent thoughts is asked what its recipe asks'),
    'thoughts of no list':      (['evaluate', './thinker'], '`thoughts` is 3; it must be a list, such as [0, 1, 2]'),
    'a recipe without a mark':  (['evaluate', './markless'], 'has no data.mark, so nobody knows what it was asked'),
    'a recipe that is none':    (['evaluate', './unwritten'], 'recipe.json: this is no recipe; one has name, about'),
    'a broken recipe':          (['evaluate', './torn-recipe'], 'recipe.json: line 1 is not JSON'),
    'no recipe':                (['evaluate', './orphan'], "there is no recipe.json beside './orphan'"),
    'others to think for it':   (['evaluate', 'titans-tiny', '--audit'], '`--audit` is for models of latent thoughts'),
    'thoughts to slide on':     (['interpolate', './thinker', '--from', 'a', '--to', 'b'], "not a model of the system 'idea'"),
    'no thought yet':           (['evaluate', 'thought', '--checkpoint', 'titans-tiny'], "not a model of the system 'thought'"),
    'heads that do not fit':    ([*rules, *settings(model__num_attention_heads=3)], 'num_heads is 3'),
    'other data':               ([*rules, '--set', 'data.kind=text'], "'data.kind' is 'text'"),
    'unknown task in a recipe': ([*rules, *settings(data__tasks=['soup'])], "there is no task 'soup'"),
    'a task without lengths':   ([*rules, *settings(data__tasks=['hidden_rule_switch', 'list_ops'])], "'list_ops' takes no `length`: its settings are num_rows, max_depth, max_args, seed"),
    'rows too short':           ([*rules, *settings(data__stages=[[3, 4]])], '`length` is 3: it must be at least 8'),
    'batches that do not fit':  ([*rules, *settings(data__rows_per_step=5)], '`rows_per_step` is 5'),
    'a start of other tokens':  ([*rules, *settings(model__start='./twenty-words')], 'with a vocabulary of 20'),
    'loss not finite':          ([*rules, *settings(training__learning_rate=1e30), '--set', 'training.overwrite=true'], 'the loss was not finite at step'),
    'missing settings file':    ([*rules, '--config', 'nowhere.json'], "there is no settings file 'nowhere.json'"),
    'broken settings file':     ([*rules, '--config', 'broken.jsonl'], 'broken.jsonl: line 2 is not JSON'),
    'a list of settings':       ([*rules, '--config', 'list.json'], 'a JSON object of settings was expected'),
    'nothing to resume':        ([train, 'reasoner-rules', '--output', 'nothing', '--resume', *settings()], 'holds no complete checkpoint to go on from'),
    'a folder in use':          ([train, 'reasoner-rules', '--output', '{trained}', *settings()], 'holds an earlier run: go on from it with `--resume`'),
    # checkpoints
    'unknown checkpoint':       (['generate', 'nobody', '-i', '3'], "'nobody' is no shipped checkpoint ("),
    'unknown Hub id':           (['check', 'no-body/nobody'], "'no-body/nobody' is no shipped checkpoint"),
    'missing folder':           (['evaluate', './nowhere'], "there is no folder './nowhere'"),
    'not a checkpoint':         (['evaluate', '.'], 'holds no config.json'),
    'wrong width':              (['evaluate', './wider'], "wider' does not fit LatentReasoningForCausalLM: weights 8 of another shape"),
    'wrong depth':              (['generate', './deeper', '-i', '3'], "deeper' does not fit LatentReasoningForCausalLM: weights 8 missing"),
    'another model':            (['trace', './gpt2', '--output', 'o.npy', '-i', '3'], "checkpoint './gpt2' does not fit GPT2LMHeadModel"),
    'unknown kind of model':    (['check', './soup'], 'model type `soup`'),
    'torn weights':             (['check', './torn'], "checkpoint './torn' is damaged"),
    'scribbled tokenizer':      (['generate', './scribbled', '-i', '3'], "checkpoint './scribbled' is damaged"),
    'broken configuration':     (['evaluate', './brace'], 'is not a valid JSON file'),
    'ids beyond the vocabulary':(['evaluate', './twenty-words', '--length', '16', '--num-rows', '4'], 'but the vocabulary has the ids 0 to 19'),
    'other tokens':             (['evaluate', tiny, '--task', 'list_ops'], "trained on other tokens (68 of them) than those of 'list_ops' (17)"),
    'no tokenizer':             (['generate', './twenty-words', '-i', '3'], 'has no tokenizer'),
    'no such device':           (['evaluate', tiny, '--device', 'mars'], "`device` is 'mars'"),
    'an encoder-decoder':       (['check', './t5'], "'./t5' is an encoder-decoder of type 't5'; of those, only idea models"),
    # ideas
    'no such idea checkpoint':  (['generate', 'idea', '--checkpoint', 'nobody', '-i', '3'], "'nobody' is no shipped checkpoint"),
    'two checkpoints':          (['generate', tiny, '--checkpoint', tiny, '-i', '3'], "two checkpoints are given, 'reasoner-tiny' and 'reasoner-tiny'"),
    'of another system':        (['generate', 'idea', '--checkpoint', tiny, '-i', '3'], "holds a LatentReasoningForCausalLM, not a model of the system 'idea', such as idea-tiny"),
    'chat without ideas':       (['chat', tiny], 'was not trained on conversations'),
    'chat idea without ideas':  (['chat', 'idea', '--checkpoint', tiny], "not a model of the system 'idea'"),
    'a way without ideas':      (between(tiny), "not a model of the system 'idea'"),
    'audit without ideas':      (['audit', tiny, '--data', 'made_dialogues'], 'there is no audit for a LatentReasoningForCausalLM'),
    'an idea of nothing':       (['generate', '{ideas}/six', '-i', ' '], 'is empty; there is nothing to make an idea of'),
    'too long for an idea':     (['generate', '{ideas}/six', '-i', six[0]*9], 'but `max_source_length` is 24'),
    'too long on the way':      (between('{ideas}/six', '--to', six[0]*9), 'but `max_source_length` is 24'),
    'more words than places':   (['generate', '{ideas}/six', '-i', six[0], '--max-length', '100'], 'need 102 positions'),
    'a missing backbone':       (['generate', '{ideas}/widowed', '-i', six[0]], 'cannot be had'),
    'heads without backbones':  (['generate', 'idea-smollm', '-i', six[0]], "encoder 'sentence-transformers/all-MiniLM-L6-v2' cannot be had"),
    'a missing backbone, again':(['chat', '{ideas}/widowed', '--backbones', 'no-body/nobody', '{ideas}/speaker'], "encoder 'no-body/nobody' cannot be had"),
    'another backbone':         (['generate', '{ideas}/widowed', '-i', six[0], '--backbones', '{ideas}/reader', '{ideas}/speaker'], 'is not the one that this model was trained with'),
    'no backbones to move':     (['generate', tiny, '-i', '3', '--backbones', 'a', 'b'], 'borrows no backbones'),
    'a way to nowhere':         (['interpolate', '{ideas}/six', '--from', six[0], '--to', ''], 'text B is empty; write something to go to'),
    'one point':                (between('{ideas}/six', '--points', '1'), '`--points 1`: it must be 2 or more'),
    'unknown way':              (between('{ideas}/six', '--kind', 'scenic'), "`kind='scenic'` is not one of 'linear'"),
    'a way along nothing':      (between('{ideas}/six', '--kind', 'graph'), 'goes along known ideas'),
    'too few known texts':      (between('{ideas}/six', '--data', 'short.txt'), 'at least three ideas are needed'),
    'one row to audit':         (['audit', '{ideas}/six', '--data', '{ideas}/six.txt', '--num-rows', '1'], '`--num-rows 1`: it must be 2 or more'),
    'unknown pairs':            (['audit', '{ideas}/six', '--data', 'stew'], "there is no set 'stew': choose from samsum"),
    'pairs of other columns':   (['audit', '{ideas}/six', '--data', 'columns.csv'], 'columns.csv, row 1: there is no column `input`'),
    'parts of a file':          (['audit', '{ideas}/six', '--data', '{ideas}/pairs.jsonl', '--split', 'test'], 'has no splits'),
    'ideas of made tasks':      (['trace', '{ideas}/six', '--output', 'o.zarr', '--task', 'list_ops'], 'an idea model reads texts'),
    'unknown site of ideas':    (['trace', '{ideas}/six', '--output', 'o.zarr', '-i', six[0], '--site', 'state'], '`--site state`: it must be one of idea_in, idea, prefix'),
    'a trace over a file':      (['trace', '{ideas}/six', '--output', 'short.txt', '-i', six[0]], "'short.txt' exists already"),
    'ideas on made tasks':      (['evaluate', '{ideas}/six'], '`latent-lab audit` measures it'),
    # the four flags
    'no epochs':                ([*rules, '--epochs', '3'], "`--epochs`: recipe 'reasoner-rules' has no such setting"),
    'no samples to leave out':  ([*rules, '--max-train-samples', '3'], "`--max-train-samples`: recipe 'reasoner-rules' has no such setting"),
    'nothing to watch':         ([*rules, '--watch', ' '], "`--watch ' '`: a text is needed"),
    'watched on unknown words': ([*rules, *settings(), '--watch', 'hello'], "'hello' has a word that the tokenizer does not know"),
    'an empty batch':           ([train, 'idea', '--output', 'fresh', '--batch-size', '0'], '`--batch-size 0`: it must be a number above 0'),
    # options
    'unknown task':             (['evaluate', tiny, '--task', 'soup'], "there is no task 'soup': choose from long_increment"),
    'too short':                (['evaluate', tiny, '--length', '3'], '`length` is 3: it must be at least 8'),
    'no rows':                  (['evaluate', tiny, '--num-rows', '0'], '`num_rows` is 0'),
    'below zero degrees':       (['generate', tiny, '-i', '3', '--temperature', '-1'], '`--temperature -1.0`: it must be a number, 0 or above'),
    'more than everything':     (['generate', tiny, '-i', '3', '--top-p', '2'], '`--top-p 2.0`: it must be above 0 and at most 1'),
    'fewer than none':          (['generate', tiny, '-i', '3', '--top-k', '-2'], '`--top-k -2`: it must be 0 or above'),
    'no new tokens':            (['generate', tiny, '-i', '3', '--max-new-tokens', '0'], '`--max-length 0`: it must be 1 or more'),
    'empty text':               (['generate', tiny, '-i', ''], 'there is nothing to read'),
    'unknown word':             (['generate', tiny, '-i', 'hello'], "'hello' has a word that the tokenizer does not know; it knows <pad>"),
    'two sources':              ([*trace_tiny, 'o.zarr', '-i', '3', '--task', 'soup'], 'got --input, --task'),
    'no source':                ([*trace_tiny, 'o.zarr'], 'give exactly one of --input, --data and --task; got none'),
    'no lines':                 ([*trace_tiny, 'o.zarr', '--data', 'short.txt', '--num-rows', '-1'], '`--num-rows -1`'),
    'missing texts':            ([*trace_tiny, 'o.zarr', '--data', 'nowhere.txt'], 'nowhere.txt: there is no such file'),
    'texts of unknown words':   ([*trace_tiny, 'o.zarr', '--data', 'short.txt'], 'does not know'),
    'unknown site':             ([*trace_tiny, 'o.zarr', '-i', '3', '--site', 'soul'], "a list from ['state', 'gate', 'hidden']"),
    'not a trace':              ([*trace_tiny, 'short.txt', '-i', '3'], "'short.txt' exists and is not a trace"),
    'no such place':            ([*trace_tiny, 'short.txt/o.npy', '-i', '3'], 'short.txt: '),
    'unknown check':            (['check', tiny, '--only', 'soul'], "unknown checks ['soul']; there are shapes"),
    'unknown lab notebook':     (['lab', '--folder', 'lab', '--notebook', 'soup'], "there is no lab notebook 'soup'; there are index, interpolation, learning, ponder, thoughts, trajectories"),
    'a file as folder':         (['lab', '--folder', 'short.txt'], 'short.txt: File exists'),
    'unknown command':          (['chekc'], "No such command 'chekc'"),
    'unknown option':           ([train, 'reasoner-rules', '--sed', '3'], '`latent-lab train --help` tells more'),
    'no argument':              (['check'], 'Missing argument'),
    'no option':                (['generate', tiny], 'Missing option'),
    'not a number':             ([train, 'reasoner-rules', '--seed', 'x'], '--seed'),
    'unknown shelf':            (['list', 'soup'], 'soup'),
}


@pytest.fixture(scope='session')
def mistakes(trained, ideas, tmp_path_factory):
    "Every mistake made once, one after the other, in one child"
    desk = tmp_path_factory.mktemp('desk')
    for name, text in {'columns.csv': 'a,b\n1,2\n', 'empty.txt': ' \n', 'empty_row.jsonl': '{"text": "a"}\n{"text": ""}\n', 'broken.jsonl': '{"text": "a"}\n{"text": \n', 'short.txt': 'hello',
                       'fake.txt.gz': 'not packed', 'list.json': '[1]', 'roles.jsonl': '{"messages": [{"role": "bot", "content": "Hi."}]}\n',
                       'chats.jsonl': '{"messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Ho."}]}\n{"messages": [{"role": "user", "content": "A?"}, {"role": "assistant", "content": "B."}]}\n',
                       'problems.jsonl': '{"question": "1+1=", "steps": ["2"], "answer": "2"}\n'}.items(): (desk/name).write_text(text)
    (desk/'bytes.txt').write_bytes(b'\xff\xfe\x00\x81')
    for target, args in ((make_checkpoints, (desk, trained[0])), (several, ({name: [re.sub(r'{(trained|ideas)}', lambda found: str(dict(trained=trained[0], ideas=ideas)[found[1]]), word) for word in words]
                                                                           for name, (words, _) in MISTAKES.items()}, desk))):
        child = processes.Process(target=target, args=args)
        child.start()
        child.join(240)
        assert child.exitcode == 0
    codes = json.loads((desk/'codes.json').read_text())
    return {name: Said(codes[name], (desk/f'{name}.out').read_text(), (desk/f'{name}.err').read_text()) for name in MISTAKES}


@pytest.mark.parametrize('name', MISTAKES)
def test_a_mistake_is_one_clear_line(name, mistakes):
    assert MISTAKES[name][1] in one_line(mistakes[name])


def shell(*words, **environment):
    "A command as a shell starts it"
    done = subprocess.run([program, *words], capture_output=True, text=True, timeout=120, env=os.environ | environment)
    return Said(done.returncode, done.stdout, done.stderr)


def test_the_same_line_from_a_shell(): assert "there is no recipe 'soup'" in one_line(shell('train', 'soup'))


def test_a_hub_that_does_not_answer_is_one_line_soon():
    "A name that could be on the Hub, and no way to ask: here the Hub is a closed door of this machine"
    line = one_line(shell('check', 'no-body/nobody', HF_HUB_OFFLINE='0', HF_ENDPOINT='http://127.0.0.1:9'))
    assert 'could not be had from Hugging Face' in line


# ---- stopped, and gone on with

def when_it_has(checkpoint, folder, child):
    "Wait until a run has written a checkpoint"
    deadline = time.monotonic()+patience/1000
    while not (folder/'checkpoints'/checkpoint/'complete.json').exists():
        assert child.is_alive() and time.monotonic() < deadline
        time.sleep(.002)


def test_a_killed_run_goes_on_to_the_same_end(trained, tmp_path):
    words = 'train', 'reasoner-rules', '--output', 'run', *settings()
    child = start(*words, place=tmp_path)
    when_it_has('checkpoint-8', tmp_path/'run', child)
    os.kill(child.pid, signal.SIGKILL)
    assert ended(child, tmp_path).code == -signal.SIGKILL
    assert not (tmp_path/'run'/'result.json').exists()
    assert run(*words, '--resume', place=tmp_path).code == 0
    whole, resumed = (json.loads((folder/'result.json').read_text())['figures'] for folder in (trained[0], tmp_path/'run'))
    del whole['seconds'], resumed['seconds']
    assert resumed == whole
    assert (tmp_path/'run'/'model.safetensors').read_bytes() == (trained[0]/'model.safetensors').read_bytes()


def test_control_c_is_one_line(server, tmp_path):
    child = start('train', 'reasoner-rules', '--output', 'run', *settings(data__stages=[[16, 400]]), place=tmp_path)
    when_it_has('checkpoint-4', tmp_path/'run', child)
    os.kill(child.pid, signal.SIGINT)
    said = ended(child, tmp_path)
    assert said.code == 130
    assert said.err == 'latent-lab: stopped; training goes on with `--resume`, a recording when it is started again\n'


# ---- a full disk

@pytest.fixture
def small_disk(tmp_path):
    "Makes a disk of so many kB; without the right to mount one, a function that says so"
    place = tmp_path/'disk'
    place.mkdir()
    def mounted(kilobytes):
        done = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={kilobytes}k', 'tmpfs', place], capture_output=True)
        return place if done.returncode == 0 else pytest.skip('needs the right to mount a small disk')
    yield mounted
    if os.path.ismount(place): subprocess.run(['umount', place], check=True)


def test_a_disk_that_fills_up_while_training(server, small_disk, tmp_path):
    "There is room for one checkpoint (1.5 MB), not for two"
    disk = small_disk(2500)
    line = one_line(run('train', 'reasoner-rules', '--output', disk/'run', *settings(), place=tmp_path))
    assert line.startswith('could not write checkpoint-8') and line.endswith('checkpoint-4')
    assert [path.name for path in (disk/'run'/'checkpoints').iterdir()] == ['checkpoint-4']


def test_a_disk_that_fills_up_while_tracing(server, small_disk, tmp_path):
    "What was recorded can be opened"
    from latent_lab.trace import open_trace
    disk = small_disk(6000)
    said = run('trace', tiny, '--task', 'structured_tokens', '--length', '64', '--num-rows', '160', '--output', disk/'trace.zarr', place=tmp_path)
    line = one_line(said)
    done = int(re.match(r'disk full: (\d+) of 160 rows are recorded', line)[1])
    assert done == open_trace(disk/'trace.zarr').sizes['example'] < 160


@pytest.mark.parametrize('words', [('trace', tiny, '--task', 'structured_tokens', '--length', '64', '--num-rows', '16', '--output', f'trace.{kind}') for kind in ('zarr', 'npy', 'parquet')]
                                  + [('train', 'reasoner-rules', '--output', 'run', *settings(data__stages=[[16, 2]], training__save_strategy='no'))], ids=['zarr', 'npy', 'parquet', 'model'])
def test_a_file_that_cannot_be_written_to_its_end(words, server, tmp_path):
    "No file may grow beyond 20 kB, as under a quota"
    one_line(run(*words, place=tmp_path, largest_file=20_000))
    assert not {'trace.npy', 'trace.parquet', 'result.json'} & {path.name for path in tmp_path.rglob('*')}


# ---- what works

@pytest.mark.parametrize('name', commands)
def test_help_lists_every_option(name, server, tmp_path):
    said = run(name, '--help', place=tmp_path)
    assert said.code == 0 and not said.err
    for parameter in commands[name].params:
        assert parameter.help, f'{parameter.name} has no sentence'
        assert (parameter.name in said.out if parameter.param_type_name == 'argument' else all(option in said.out for option in parameter.opts))
        assert parameter.help.split()[0] in said.out


def test_help_names_every_command(server, tmp_path):
    for words in ([], ['--help']):
        said = run(*words, place=tmp_path)
        assert all(re.search(rf'\W{name}\W', said.out + said.err) for name in commands)


def test_list_names_everything(server, tmp_path):
    said = run('list', place=tmp_path)
    assert said.code == 0 and not said.err
    for name in ('LatentReasoningForCausalLM', 'hidden_rule_switch', 'reasoner-tiny', 'reasoner-shakespeare', 'thought-tiny', 'gru-transformer-rules'): assert name in said.out
    assert 'hidden_rule_switch' not in run('list', 'checkpoints', place=tmp_path).out


def test_training_leaves_what_it_ran_and_what_it_measured(trained, tmp_path):
    folder, said = trained
    assert said.out.splitlines()[-7].startswith('trained model in run') and not said.err
    result = json.loads((folder/'result.json').read_text())
    evaluated = json.loads(run('evaluate', folder, '--length', 16, '--num-rows', 4, '--json', place=tmp_path).out)
    assert evaluated == [result['figures']['hidden_rule_switch@16']]
    shown = run('train', 'reasoner-rules', '--config', folder/'recipe.json', '--show', place=tmp_path)
    assert json.loads(shown.out) == json.loads((folder/'recipe.json').read_text())


def test_a_run_that_is_watched(trained, tmp_path):
    "It ends as the one that is not; the line that is printed opens its film, and it goes on with the same texts only"
    texts = ['<switch> 3 7 11', '<switch> 5 4']
    words = 'train', 'reasoner-rules', '--output', 'run', *settings(), '--watch'
    said = run(*words, texts[0], '--watch', texts[1], place=tmp_path)
    assert said.code == 0 and not said.err, said
    assert (tmp_path/'run'/'model.safetensors').read_bytes() == (trained[0]/'model.safetensors').read_bytes()
    begin, end = (line.partition(': ')[2] for line in said.out.splitlines() if 'LearningExplorer' in line)
    assert begin == f'{end}.follow()'
    names, (imports, _, opens) = {}, end.partition('; ')
    exec(imports, names)
    explorer = eval(opens, names)
    film = explorer.film
    assert film.training_step.values.tolist() == list(range(25)) and film.asked.values.tolist() == texts and film.said.shape == (25, 2)
    assert len(explorer.frame()['places']) == 25
    assert f'but the moments so far are about {texts!r}' in one_line(run(*words, '<switch> 1', '--resume', place=tmp_path))
    shutil.rmtree(tmp_path/'run'/'checkpoints')
    assert 'run/film holds the film of an earlier run' in one_line(run(*words, texts[0], place=tmp_path))


def test_several_processes_are_watched_from_the_first_and_shared_weights_from_none(tmp_path):
    def launched(kind):
        "Two processes under our configuration, each with half of every batch"
        words = 'train', 'reasoner-rules', '--output', kind, '--watch', '<switch> 3 7', *settings(data__stages=[[16, 4]], training__per_device_train_batch_size=4)
        command = [sys.executable, '-m', 'accelerate.commands.launch', f'--config_file={configs/f"accelerate_{kind}.yaml"}', f'--main_process_port={free_port()}', program, *words]
        return subprocess.run(command, cwd=tmp_path, env=os.environ | dict(OMP_NUM_THREADS='1'), capture_output=True, text=True, timeout=400)

    two = launched('ddp')
    assert two.returncode == 0, two.stderr[-3000:]
    assert sum('LearningExplorer' in line for line in two.stdout.splitlines()) == 2 and len(list((tmp_path/'ddp'/'film').glob('step-*.zarr'))) == 5
    assert 'latent-lab: `--watch` asks the model in one process, and under FSDP' in launched('fsdp').stderr and not (tmp_path/'fsdp').exists()


def test_a_setting_given_by_hand_wins_over_the_file(server, tmp_path):
    (tmp_path/'mine.json').write_text('{"training.learning_rate": 0.5, "model.gate": "none"}')
    shown = json.loads(run('train', 'reasoner-rules', '--config', 'mine.json', '--set', 'model.gate=input', '--seed', '7', '--show', place=tmp_path).out)
    assert (shown['training']['learning_rate'], shown['model']['gate'], shown['training']['seed']) == (.5, 'input', 7)


def test_generate_goes_on_with_a_text(server, tmp_path):
    words = 'generate', tiny, '--input', '<switch> 3 4 5 6 7 8', '--max-new-tokens', '6'
    assert run(*words, '--temperature', '0', place=tmp_path).out.split() == '<switch> 3 4 5 6 7 8 9 10 11 12 13 14'.split()
    one, two = (run(*words, '--temperature', '3', '--seed', '5', place=tmp_path).out for _ in range(2))
    assert one == two and len(one.split()) == 13


def test_trace_to_zarr_npy_and_parquet(server, tmp_path):
    import numpy as np
    from latent_lab.trace import open_trace, validate_trace
    from pyarrow import parquet
    words = 'trace', tiny, '--task', 'structured_tokens', '--length', '16', '--num-rows', '3', '--output'
    for kind in ('zarr', 'npy', 'parquet'): assert run(*words, f'trace.{kind}', place=tmp_path).code == 0
    trace = open_trace(tmp_path/'trace.zarr')
    validate_trace(trace)
    assert (np.load(tmp_path/'trace.npy') == trace['state'].values).all()
    table = parquet.read_table(tmp_path/'trace.parquet')
    assert len(table) == 3*16 and np.array_equal(np.array(table['state'].to_pylist()).reshape(3, 16, -1), trace['state'].values)
    (tmp_path/'texts.txt').write_text('<switch> 3 4 5\n\n<switch> 9 8\n')
    assert run('trace', tiny, '--data', 'texts.txt', '--output', 'texts.zarr', place=tmp_path).code == 0
    assert open_trace(tmp_path/'texts.zarr').length.values.tolist() == [4, 3]


# ---- ideas

def test_generate_says_an_idea(ideas, tmp_path):
    said = run('generate', ideas/'six', '--input', six[1], place=tmp_path)
    assert said == run('generate', 'idea', '--checkpoint', ideas/'six', '--input', six[1], place=tmp_path) == Said(0, six[1] + '\n', '')
    assert len(run('generate', ideas/'six', '--input', six[1], '--max-length', '2', place=tmp_path).out) < len(six[1])
    words = 'generate', ideas/'six', '--input', six[1], '--temperature', '9', '--top-p', '0.99', '--seed'
    one, same, other = (run(*words, seed, place=tmp_path).out for seed in (5, 5, 6))
    assert one == same != other


def test_backbones_that_have_moved(ideas, tmp_path):
    words = 'generate', ideas/'widowed', '--input', six[0], '--backbones', ideas/'moved', ideas/'speaker'
    assert run(*words, place=tmp_path).code == 0


def test_chat(ideas, tmp_path):
    "Lines are answered until an empty one; a mistake is a line too, and the chat goes on"
    said = run('chat', 'idea', '--checkpoint', ideas/'six', place=tmp_path, typed='\n'.join(['/near', six[0], six[3], six[0]*9, '/near', '/way', '/soup', '/help', '', six[5]]))
    lines = said.out.splitlines()
    assert said.code == 0 and lines[:2] == [six[0], six[3]] and lines[2].endswith(six[0]) and six[5] not in said.out
    assert (lines[3], lines[13]) == (f' 0.00  {six[0]}', f' 1.00  {six[3]}') and lines[14].startswith('/near')
    assert re.fullmatch(r'latent-lab: /near .*\nlatent-lab: .*`max_source_length` is 24.*\nlatent-lab: there is no /soup; .*\n', said.err)


def test_a_chat_that_ends_without_a_word(ideas, tmp_path): assert run('chat', ideas/'six', place=tmp_path) == Said(0, '', '')


def test_interpolate_prints_a_ribbon(ideas, tmp_path):
    words = 'interpolate', ideas/'six', '--from', six[0], '--to', six[3]
    said = run(*words, place=tmp_path)
    head, *lines = said.out.splitlines()
    assert said.code == 0 and head.split() == ['alpha', 'nll', 'text'] and len(lines) == 11
    assert lines[0].split()[0] == '0.00' and lines[0].endswith(six[0]) and lines[-1].split()[0] == '1.00' and lines[-1].endswith(six[3])
    texts = [re.sub(r'^ *[\d.]+ +[\d.]+ +(\* )? *', '', line) for line in lines]
    assert ['*' in line for line in lines] == [False, *(a != b for a, b in zip(texts, texts[1:]))] and set(texts) <= {*six}
    head, *lines = run(*words, '--points', '3', '--kind', 'graph', '--data', ideas/'six.txt', '--past-middle', place=tmp_path).out.splitlines()
    assert head.split() == ['alpha', 'nll', 'off_manifold', 'text'] and len(lines) == 3


@pytest.mark.parametrize('data', ['six.txt', 'pairs.jsonl'])
def test_audit(data, ideas, tmp_path):
    "Six sentences known by heart: all there as they are, next to nothing when ideas are exchanged"
    words = 'audit', ideas/'six', '--data', ideas/data
    found = {(line['system'], line['metric']): line for line in json.loads(run(*words, '--json', place=tmp_path).out)}
    assert {system for system, _ in found} == {'as is', 'shuffled', 'bypassed', 'mean', 'zero', 'lead-3'} and {metric for _, metric in found} == {'rouge1', 'rouge2', 'rougeL', 'bleu'}
    assert found['as is', 'bleu']['value'] == pytest.approx(100) and found['lead-3', 'rouge1']['value'] == pytest.approx(100)
    shuffled = found['shuffled', 'bleu']
    assert shuffled['low'] <= shuffled['value'] <= shuffled['high'] < 10 and shuffled['difference_high'] < -80
    said = run(*words, place=tmp_path)
    assert said.code == 0 and [line.split()[0] for line in said.out.splitlines()[1:-1]] == ['as', 'shuffled', 'bypassed', 'mean', 'zero', 'lead-3']
    assert said.out.splitlines()[-1].startswith('6 rows')


def test_trace_of_ideas(ideas, tmp_path):
    import numpy as np
    from latent_lab.trace import open_trace, validate_trace
    words = 'trace', ideas/'six', '--data', ideas/'six.txt', '--output'
    for kind in ('zarr', 'npy', 'parquet'): assert run(*words, f'trace.{kind}', place=tmp_path).code == 0
    trace = open_trace(tmp_path/'trace.zarr')
    validate_trace(trace)
    assert trace.source.values.tolist() == trace.text.values.tolist() == six and {'idea_in', 'idea', 'prefix', 'nll'} <= set(trace.data_vars)
    assert np.allclose(np.load(tmp_path/'trace.npy'), trace.idea.values, atol=1e-5) and np.load(tmp_path/'trace.npy').shape == (6, 1, 16)
    assert run('trace', ideas/'six', '--input', six[0], '--num-rows', '1', '--site', 'idea', '--output', 'one.zarr', place=tmp_path).code == 0
    assert set(open_trace(tmp_path/'one.zarr').data_vars) & {'idea_in', 'idea', 'prefix'} == {'idea'}


@pytest.mark.parametrize('name', ['six', 'between'])
def test_check_holds_for_ideas(name, ideas, tmp_path):
    said = run('check', ideas/name, place=tmp_path)
    assert said.code == 0 and [line.split()[:2] for line in said.out.splitlines()] == [['holds', name] for name in ('causal', 'cached', 'padding')]


def test_a_system_is_a_recipe_and_four_flags(server, tmp_path):
    shown = json.loads(run('train', 'idea', '--batch-size', '8', '--learning-rate', '1e-4', '--epochs', '5', '--max-train-samples', '10000', '--show', place=tmp_path).out)
    assert [shown['name'], *(shown['data'][name] for name in ('source', 'num_rows', 'rows_per_step', 'steps'))] == ['idea-pairs', 'samsum', 10000, 8, None]
    assert {name: shown['training'][name] for name in ('per_device_train_batch_size', 'learning_rate', 'num_train_epochs')} == dict(per_device_train_batch_size=8, learning_rate=1e-4, num_train_epochs=5)
    shown = json.loads(run('train', 'reasoner', '--batch-size', '24', '--learning-rate', '1e-3', '--show', place=tmp_path).out)
    assert (shown['name'], shown['training']['per_device_train_batch_size'], shown['training']['learning_rate']) == ('reasoner-rules', 24, 1e-3)


def test_training_an_idea_model(ideas, tmp_path):
    "Borrowed backbones and pairs of one's own; what is left is loaded by name"
    changes = {'data.source': str(ideas/'pairs.jsonl'), 'data.held_out': str(ideas/'pairs.jsonl'), 'data.steps': 2, 'data.eval_rows': 4, 'data.new_tokens': 8, 'data.cache': '',
               'model.encoder_source': str(ideas/'reader'), 'model.decoder_source': str(ideas/'speaker'), 'model.latent_dim': 8, 'model.max_source_length': 24, 'model.max_target_length': 24,
               'training.use_cpu': True, 'training.disable_tqdm': True}
    said = run('train', 'idea', '--batch-size', '3', '--output', 'run', '--watch', six[0], *[word for name, value in changes.items() for word in ('--set', f'{name}={json.dumps(value)}')], place=tmp_path)
    assert said.code == 0, said
    assert 'trained model in run' in said.out and 'shuffled' in said.out
    assert len(list((tmp_path/'run'/'film').glob('step-*.zarr'))) == 3
    assert run('generate', './run', '--input', six[0], '--max-length', '3', place=tmp_path).code == 0
    assert run('check', './run', place=tmp_path).code == 0


def test_training_a_model_of_latent_thoughts(server, tmp_path):
    "Sums in three stages, killed at none; then it is asked, and asked again with other thoughts"
    changes = {'model.decoder': dict(model_type='llama', hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=64), 'data.source': 'addition', 'data.options': dict(digits=2, style='digits'), 'data.num_rows': 40,
               'data.eval_rows': 8, 'data.stage_steps': [1, 1, 1], 'evaluation.thoughts': [0, 2], 'training.use_cpu': True, 'training.disable_tqdm': True}
    said = run('train', 'thought', '--batch-size', '4', '--output', 'run', '--watch', '12+34=', *[word for name, value in changes.items() for word in ('--set', f'{name}={json.dumps(value)}')], place=tmp_path)
    assert said.code == 0, said
    assert 'trained model in run' in said.out and 'as is' in said.out
    assert len(list((tmp_path/'run'/'film').glob('step-*.zarr'))) == 4
    said = run('generate', 'thought', '--checkpoint', './run', '--input', '12+34=', '--mode', 'latent', '--thoughts', '3', '--max-length', '2', place=tmp_path)
    assert said.code == 0 and said.out.splitlines()[-1].startswith('(3 thoughts: '), said
    said = run('evaluate', 'thought', '--checkpoint', './run', '--num-rows', '4', '--audit', '--json', place=tmp_path)
    told = json.loads(said.out)
    assert [line['way'] for line in told['budget']] == ['as trained', 'latent', 'latent', 'text', 'direct'] and [line['system'] for line in told['audit']] == ['as is', 'zero', 'mean', 'shuffled', 'donor', 'pause']
    said = run('train', 'thought', '--epochs', '3', place=tmp_path)
    assert said.code == 2 and len(said.err.strip().splitlines()) == 1 and 'stage by stage' in said.err


# ---- the leak test as a command

def test_check_holds_for_a_shipped_checkpoint(server, tmp_path):
    said = run('check', tiny, place=tmp_path)
    assert said.code == 0 and [line.split()[:2] for line in said.out.splitlines()] == [['holds', name] for name in ('causal', 'cached', 'padding')]


def check_a_leaking_model(place):
    "In a child: `check` meets a model whose logits know the next token"
    from latent_lab import hub
    from latent_lab.models.reasoner import LatentReasoningConfig, LatentReasoningForCausalLM

    class Leaking(LatentReasoningForCausalLM):
        "One step ahead of itself"
        def thoughts(self, reading):
            said = super().thoughts(reading)
            return said._replace(logits=said.logits + said.logits.roll(-1, 1))

    hub.load = lambda name, **how: Leaking(LatentReasoningConfig(latent_dim=8, attn_dim=8, num_attention_heads=2, vocab_size=20, dropout=0.)).eval()
    command(['check', 'leaking'], place, 'said')


def test_check_finds_a_leak(server, tmp_path):
    child = processes.Process(target=check_a_leaking_model, args=(tmp_path,))
    child.start()
    said = ended(child, tmp_path)
    assert said.code == 1 and not said.err
    assert re.match(r'BROKEN +causal ', said.out)


# ---- the lab

def fetch(address):
    "Status and content of an address"
    try:
        with urllib.request.urlopen(address, timeout=20) as answer: return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error: return error.code, None


def test_lab_opens_on_loopback_with_a_token_and_keeps_what_was_changed(tmp_path):
    desk, port = tmp_path/'desk', free_port()
    cli.copy_notebooks(desk)
    mine = desk/'trajectories.ipynb'
    mine.write_text(mine.read_text().replace('"cells": [', '"cells": [ ', 1))
    changed = mine.read_bytes()
    homes = {name: str(tmp_path/name.lower()) for name in ('HOME', 'JUPYTER_CONFIG_DIR', 'JUPYTER_DATA_DIR', 'JUPYTER_RUNTIME_DIR', 'JUPYTERLAB_SETTINGS_DIR', 'JUPYTERLAB_WORKSPACES_DIR', 'IPYTHONDIR')}
    log = tmp_path/'log'
    with open(log, 'w') as file: server = subprocess.Popen([program, 'lab', '--folder', desk, '--port', str(port), '--no-browser'], env=os.environ | homes, stdout=file, stderr=file)
    try:
        deadline = time.monotonic()+patience/1000
        contents = f'http://127.0.0.1:{port}/api/contents'
        while not ((url := re.search(rf'http://127\.0\.0\.1:{port}/lab/tree/index\.ipynb\?token=(\w{{20,}})', log.read_text())) and answers(f'{contents}?token={url[1]}')):    # the address is told before anyone listens there
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(.1)
        assert fetch(contents)[0] == 403
        assert fetch(f'{contents}?token=wrong')[0] == 403
        status, found = fetch(f'{contents}?token={url[1]}')
        assert status == 200 and {'index.ipynb', 'interpolation.ipynb', 'learning.ipynb', 'ponder.ipynb', 'thoughts.ipynb', 'trajectories.ipynb'} <= {entry['name'] for entry in found['content']}
        listening = Path('/proc/net/tcp')
        if listening.exists(): assert {line.split()[1] for line in listening.read_text().splitlines()[1:] if line.split()[1].endswith(f':{port:04X}') and line.split()[3] == '0A'} == {f'0100007F:{port:04X}'}
    finally:
        server.terminate()
        server.wait(30)
    assert 'trajectories.ipynb is yours now' in log.read_text()
    assert mine.read_bytes() == changed


def open_another_notebook(place):
    "In a child: what `lab` asks of JupyterLab"
    from jupyterlab import labapp
    labapp.main = lambda arguments: print(*arguments, Path.cwd())
    command(['lab', '--folder', 'desk', '--notebook', 'interpolation', '--no-browser'], place, 'said')


def test_lab_opens_the_notebook_that_is_asked_for(server, tmp_path):
    child = processes.Process(target=open_another_notebook, args=(tmp_path,))
    child.start()
    said = ended(child, tmp_path)
    assert said.code == 0 and '/lab/tree/interpolation.ipynb' in said.out and said.out.strip().endswith('desk')
    assert {path.name for path in (tmp_path/'desk').glob('*.ipynb')} == {'front_page.ipynb', 'index.ipynb', 'interpolation.ipynb', 'learning.ipynb', 'ponder.ipynb', 'thoughts.ipynb', 'trajectories.ipynb'}
