"The command line as people use it: what it does, and one clear line for everything that can go wrong"
import json
import os
import re
import resource
import shutil
import signal
import socket
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

from latent_lab import cli

# Commands run in children of one server that has imported everything, so that each starts in milliseconds; a few are started from a shell's point of view.
processes = get_context('forkserver')
program = Path(sys.executable).with_name('latent-lab')
commands = typer.main.get_command(cli.app).commands

small = {'data.stages': [[16, 12], [24, 12]], 'data.rows_per_step': 8, 'data.eval_rows': 6, 'evaluation.lengths': [16], 'evaluation.num_rows': 4,
         'training.per_device_train_batch_size': 8, 'training.use_cpu': True, 'training.save_steps': 4, 'training.logging_steps': 4, 'training.disable_tqdm': True}


class Said(NamedTuple):
    "How a command ended"
    code:int  # its exit code
    out:str   # standard output
    err:str   # standard error


def settings(**changes):
    "The words that make a recipe small; a part and a name are joined by two underscores"
    changed = small | {name.replace('__', '.'): value for name, value in changes.items()}
    return [word for name, value in changed.items() for word in ('--set', f'{name}={json.dumps(value)}')]


# ---- running commands

def redirect(path, descriptor):
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, descriptor)
    os.close(file)


def command(words, place, name, largest_file=None):
    "In a child: one command, its output in files"
    import torch
    torch.set_num_threads(1)
    os.chdir(place)
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
        'latent_lab.models.reasoner', 'latent_lab.data.sequences', 'latent_lab.data.text', 'transformers.models.gpt2.modeling_gpt2', 'pandas', 'xarray', 'zarr', 'typer.rich_utils'])


@pytest.fixture(scope='session')
def trained(server, tmp_path_factory):
    "A folder with one whole run: checkpoints, model, tokenizer, recipe, result"
    place = tmp_path_factory.mktemp('trained')
    said = run('train', 'reasoner-rules', '--output', 'run', *settings(), place=place)
    assert said.code == 0, said
    return place/'run', said


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


# ---- one clear line: words, and what the line must say

train, rules, tales = 'train', ('train', 'reasoner-rules', '--output', 'fresh'), ('train', 'reasoner-tales', '--output', 'fresh', '--set', 'training.use_cpu=true', '--set')
tiny, trace_tiny = 'reasoner-tiny', ('trace', 'reasoner-tiny', '--output')
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
    'unknown checkpoint':       (['generate', 'nobody', '-i', '3'], "'nobody' is no shipped checkpoint (reasoner-"),
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
    # options
    'unknown task':             (['evaluate', tiny, '--task', 'soup'], "there is no task 'soup': choose from long_increment"),
    'too short':                (['evaluate', tiny, '--length', '3'], '`length` is 3: it must be at least 8'),
    'no rows':                  (['evaluate', tiny, '--num-rows', '0'], '`num_rows` is 0'),
    'below zero degrees':       (['generate', tiny, '-i', '3', '--temperature', '-1'], '`--temperature -1.0`: it must be 0 or above'),
    'more than everything':     (['generate', tiny, '-i', '3', '--top-p', '2'], '`--top-p 2.0`: it must be above 0 and at most 1'),
    'fewer than none':          (['generate', tiny, '-i', '3', '--top-k', '-2'], '`--top-k -2`: it must be 0 or above'),
    'no new tokens':            (['generate', tiny, '-i', '3', '--max-new-tokens', '0'], '`--max-new-tokens 0`: it must be 1 or more'),
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
    'unknown lab notebook':     (['lab', '--folder', 'lab', '--notebook', 'soup'], "there is no lab notebook 'soup'; there are trajectories"),
    'a file as folder':         (['lab', '--folder', 'short.txt'], 'short.txt: File exists'),
    'unknown command':          (['chekc'], "No such command 'chekc'"),
    'unknown option':           ([train, 'reasoner-rules', '--sed', '3'], '`latent-lab train --help` tells more'),
    'no argument':              (['check'], 'Missing argument'),
    'no option':                (['generate', tiny], 'Missing option'),
    'not a number':             ([train, 'reasoner-rules', '--seed', 'x'], '--seed'),
    'unknown shelf':            (['list', 'soup'], 'soup'),
}


@pytest.fixture(scope='session')
def mistakes(trained, tmp_path_factory):
    "Every mistake made once, one after the other, in one child"
    desk = tmp_path_factory.mktemp('desk')
    for name, text in {'columns.csv': 'a,b\n1,2\n', 'empty.txt': ' \n', 'empty_row.jsonl': '{"text": "a"}\n{"text": ""}\n', 'broken.jsonl': '{"text": "a"}\n{"text": \n', 'short.txt': 'hello',
                       'fake.txt.gz': 'not packed', 'list.json': '[1]'}.items(): (desk/name).write_text(text)
    (desk/'bytes.txt').write_bytes(b'\xff\xfe\x00\x81')
    for target, args in ((make_checkpoints, (desk, trained[0])), (several, ({name: [str(word).format(trained=trained[0]) if word == '{trained}' else word for word in words]
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
    begun = time.monotonic()
    line = one_line(shell('check', 'no-body/nobody', HF_HUB_OFFLINE='0', HF_ENDPOINT='http://127.0.0.1:9'))
    assert 'could not be had from Hugging Face' in line
    assert time.monotonic()-begun < 90


# ---- stopped, and gone on with

def when_it_has(checkpoint, folder, child):
    "Wait until a run has written a checkpoint"
    deadline = time.monotonic()+90
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
    for name in ('LatentReasoningForCausalLM', 'hidden_rule_switch', 'reasoner-tiny', 'reasoner-shakespeare', 'gru-transformer-rules'): assert name in said.out
    assert 'hidden_rule_switch' not in run('list', 'checkpoints', place=tmp_path).out


def test_training_leaves_what_it_ran_and_what_it_measured(trained, tmp_path):
    folder, said = trained
    assert said.out.splitlines()[-7].startswith('trained model in run') and not said.err
    result = json.loads((folder/'result.json').read_text())
    evaluated = json.loads(run('evaluate', folder, '--length', 16, '--num-rows', 4, '--json', place=tmp_path).out)
    assert evaluated == [result['figures']['hidden_rule_switch@16']]
    shown = run('train', 'reasoner-rules', '--config', folder/'recipe.json', '--show', place=tmp_path)
    assert json.loads(shown.out) == json.loads((folder/'recipe.json').read_text())


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
        def thoughts(self, *args):
            logits, latents = super().thoughts(*args)
            return logits + logits.roll(-1, 1), latents

    hub.load = lambda name: Leaking(LatentReasoningConfig(latent_dim=8, attn_dim=8, num_attention_heads=2, vocab_size=20, dropout=0.)).eval()
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


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


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
        deadline = time.monotonic()+60
        while not (url := re.search(rf'http://127\.0\.0\.1:{port}/lab/tree/trajectories\.ipynb\?token=(\w{{20,}})', log.read_text())):
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(.1)
        contents = f'http://127.0.0.1:{port}/api/contents'
        assert fetch(contents)[0] == 403
        assert fetch(f'{contents}?token=wrong')[0] == 403
        status, found = fetch(f'{contents}?token={url[1]}')
        assert status == 200 and 'trajectories.ipynb' in [entry['name'] for entry in found['content']]
        listening = Path('/proc/net/tcp')
        if listening.exists(): assert {line.split()[1] for line in listening.read_text().splitlines()[1:] if line.split()[1].endswith(f':{port:04X}') and line.split()[3] == '0A'} == {f'0100007F:{port:04X}'}
    finally:
        server.terminate()
        server.wait(30)
    assert 'trajectories.ipynb is yours now' in log.read_text()
    assert mine.read_bytes() == changed
