"Training as processes: two of them, killed ones, and a disk that is full"
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import pytest
from conftest import free_port

root = Path(__file__).resolve().parents[1]

# Children are forked from one server that has imported everything, so that each starts in milliseconds.
processes = get_context('forkserver')
processes.set_forkserver_preload(['latent_lab.train.trainer', 'latent_lab.train.thought', 'latent_lab.models.thought', 'latent_lab.models.titans', 'latent_lab.data.chat', 'transformers.models.gpt2.modeling_gpt2'])


def rows(num_rows=50):
    return [dict(input_ids=[(5*row + step) % 20 for step in range(6 + row % 5)], row=row) for row in range(num_rows)]


def two_part_model(dropout):
    import torch
    from latent_lab.models.contract import LatentOutput
    from transformers import GPT2Config, GPT2LMHeadModel

    class TwoPartForCausalLM(GPT2LMHeadModel):
        "A GPT-2 whose loss has a second part, the mean square of what it says"
        def forward(self, input_ids=None, labels=None, num_items_in_batch=None, **kwargs):
            output = super().forward(input_ids=input_ids, labels=labels, num_items_in_batch=num_items_in_batch, **kwargs)
            loud = output.logits[:, :-1][labels[:, 1:] != -100].square().mean(-1).sum() / num_items_in_batch
            return LatentOutput(loss=output.loss + 0.1*loud, losses=dict(lm=output.loss, loud=loud), logits=output.logits)

    torch.manual_seed(0)
    torch.set_num_threads(1)
    return TwoPartForCausalLM(GPT2Config(vocab_size=20, n_positions=16, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0,
                              resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout))


def packed_rows():
    "Texts of 6 to 10 tokens, several to a row of 24"
    from latent_lab.data.chat import pack_chats
    return pack_chats([dict(input_ids=row['input_ids'], labels=row['input_ids']) for row in rows(100)], 24)


def thinking_model():
    import torch
    from latent_lab.models.titans import TitansConfig, TitansForCausalLM
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return TitansForCausalLM(TitansConfig(vocab_size=20, attn_dim=16, num_attention_heads=2, dropout=0., chunk_size=16, memory_chunk_size=4, memory_block_size=8, max_thoughts=4))


def thoughts(rows_per_step):
    "A model that comes to think two steps, one after the other: model, rows, stages, collator"
    import torch
    from latent_lab.models.thought import LatentThoughtConfig, LatentThoughtForCausalLM
    from latent_lab.train.thought import PadThoughts, method_settings, thought_course
    from transformers import LlamaConfig
    torch.manual_seed(0)
    torch.set_num_threads(1)
    pad = PadThoughts(rows=LatentThoughtForCausalLM.rows, method='coconut', mark_ids=[17], stages=2, pause_id=18)
    decoder = LlamaConfig(vocab_size=20, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=32, bos_token_id=None, eos_token_id=19)
    model = LatentThoughtForCausalLM(LatentThoughtConfig(decoder=decoder, decoder_source=None, train_decoder=True, **method_settings(pad)))
    data = [dict(prompt_ids=[row % 16]*(1 + row % 3), steps_ids=[[row % 7, row % 5]]*2, answer_ids=[row % 13, 19]) for row in range(50)]
    return model, data, thought_course(data, 'coconut', [2, 2, 3], rows_per_step), pad


held = []

def part(trainer):
    "Processes part in order: without it one may die while its mates still talk to it. The trainer is kept, since with it Gloo would go, which waits for a thread of its own that waits for the interpreter"
    held.append(trainer)
    trainer.accelerator.end_training()


def train_thoughts(folder, **settings):
    "Eight rows a step: two steps in words, two with a thought, three with two"
    from latent_lab.train.trainer import LatentArguments, LatentTrainer
    from transformers.trainer_callback import PrinterCallback
    model, data, course, pad = thoughts(8)
    standard = dict(per_device_train_batch_size=2, gradient_accumulation_steps=4, per_device_eval_batch_size=2, max_steps=7, logging_steps=1, save_strategy='no', eval_strategy='steps', eval_steps=3, use_cpu=True, disable_tqdm=True)
    trainer = LatentTrainer(model, LatentArguments(str(folder), **(standard | settings)), train_dataset=course, eval_dataset=data[:7], data_collator=pad)
    trainer.pop_callback(PrinterCallback)
    trainer.train()
    if trainer.is_world_process_zero(): Path(f'{folder}.json').write_text(json.dumps(told(trainer.state.log_history)))
    part(trainer)


def train(folder, resume=None, dropout=0.1, callbacks=(), packed=False, **settings):
    "Two passes, 13 batches each, three a step: the last step of a pass has one batch alone"
    from latent_lab.train.trainer import LatentArguments, LatentTrainer
    from transformers.trainer_callback import PrinterCallback
    standard = dict(per_device_train_batch_size=4, gradient_accumulation_steps=3, num_train_epochs=2, logging_steps=2, save_steps=3,
                    eval_strategy='steps', eval_steps=5, metric_for_best_model='loss', use_cpu=True, disable_tqdm=True)
    model, data = (thinking_model(), packed_rows()) if packed else (two_part_model(dropout), rows())
    held_out = data.select(range(7)) if packed else rows(7)
    trainer = LatentTrainer(model, LatentArguments(str(folder), **(standard | settings)), train_dataset=data, eval_dataset=held_out, callbacks=list(callbacks))
    trainer.pop_callback(PrinterCallback)
    try: trainer.train(resume_from_checkpoint=resume)
    except Exception as error:
        Path(f'{folder}.error').write_text(f'{type(error).__name__}: {error}')
        sys.exit(1)
    if trainer.is_world_process_zero(): Path(f'{folder}.json').write_text(json.dumps(told(trainer.state.log_history)))
    part(trainer)


def told(log_history):
    "What must not depend on when, where and how often a run was stopped"
    timed = ('runtime', 'per_second', 'preparation_time', 'train_loss', 'total_flos')
    return [{name: value for name, value in log.items() if not name.endswith(timed)} for log in log_history]


def train_and_die(folder, when, **settings):
    "Ends by SIGKILL: after step 7, or in the middle of writing the checkpoint of step 6"
    import torch
    from transformers import TrainerCallback

    class Die(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if when == 'at step 7' and state.global_step == 7: os.kill(os.getpid(), signal.SIGKILL)
            if when == 'while saving' and state.global_step == 6: torch.save = half_a_file

    def half_a_file(thing, path):
        Path(path).write_bytes(b'half')
        os.kill(os.getpid(), signal.SIGKILL)

    train(folder, callbacks=[Die()], **settings)


def in_child(work, *args, **kwargs):
    "Run `work` in a process of its own; its exit code"
    child = processes.Process(target=work, args=args, kwargs=kwargs)
    child.start()
    child.join(120)
    return child.exitcode


def complete(folder): return sorted(int(path.parent.name.split('-')[1]) for path in folder.glob('checkpoint-*/complete.json'))


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')/'whole'
    assert in_child(train, folder) == 0
    return json.loads(Path(f'{folder}.json').read_text())


@pytest.mark.parametrize('when, left', [('at step 7', [5, 6]), ('while saving', [3, 5])])
def test_a_killed_run_goes_on_as_if_it_had_not_been(when, left, tmp_path, uninterrupted):
    assert in_child(train_and_die, tmp_path/'run', when) == -signal.SIGKILL
    assert complete(tmp_path/'run') == left
    assert in_child(train, tmp_path/'run', resume=True) == 0
    assert json.loads((tmp_path/'run.json').read_text()) == uninterrupted
    assert not (tmp_path/'run'/'_saving').exists()


def test_a_killed_run_of_thinking_tokens_goes_on_bit_for_bit(tmp_path):
    assert in_child(train, tmp_path/'whole', packed=True) == 0
    assert in_child(train_and_die, tmp_path/'torn', 'at step 7', packed=True) == -signal.SIGKILL
    assert in_child(train, tmp_path/'torn', resume=True, packed=True) == 0
    whole, torn = (json.loads((tmp_path/f'{name}.json').read_text()) for name in ('whole', 'torn'))
    assert torn == whole and {'lm', 'world', 'ponder', 'gate'} <= set(whole[-2]) | set(whole[0])


def test_a_killed_run_is_not_mistaken_for_a_new_one(tmp_path):
    assert in_child(train_and_die, tmp_path/'run', 'at step 7') == -signal.SIGKILL
    assert in_child(train, tmp_path/'run') == 1
    assert 'holds checkpoint-6, of another run' in (tmp_path/'run.error').read_text()


def sharded_on_cpu(tmp_path, layer='TitansBlock'):
    "Our configuration of shared weights, for a CPU, and for a model of these layers"
    ours, path = (root/'configs'/'accelerate_fsdp.yaml').read_text(), tmp_path/'fsdp.yaml'
    assert ours.count('use_cpu: false') == ours.count('wrap: TitansBlock') == 1
    path.write_text(ours.replace('use_cpu: false', 'use_cpu: true').replace('wrap: TitansBlock', f'wrap: {layer}'))
    return f'--config_file={path}'


def shard_on_cpu():
    "`accelerate` shares weights out on GPUs only; made to, it does the same on a CPU"
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType
    begin = AcceleratorState.__init__

    def begin_sharded(self, *args, fsdp_plugin=None, **kwargs):
        begin(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is None: return
        if self._mixed_precision != 'no': fsdp_plugin.set_mixed_precision(self._mixed_precision)
        self.fsdp_plugin = fsdp_plugin
        self.distributed_type = PartialState._shared_state['distributed_type'] = DistributedType.FSDP

    AcceleratorState.__init__ = begin_sharded


def train_sharded(folder, **settings):
    "As `train` on packed rows, and it is looked at each step whether weights are shared out at all"
    from transformers import TrainerCallback

    class Shared(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **kwargs):
            assert all(p.to_local().numel() < p.numel() for name, p in model.named_parameters() if p.shape[0] > 1), 'each process holds all'

    shard_on_cpu()
    train(folder, packed=True, dropout=0., per_device_train_batch_size=2, per_device_eval_batch_size=2, gradient_accumulation_steps=2, callbacks=[Shared()], **settings)


def run_sharded(folder):
    "A small recipe from its data to its figures"
    from latent_lab.recipes import RECIPES, changed, run
    shard_on_cpu()
    small = {'model.attn_dim': 32, 'model.memory_heads': 1, 'data.source': f'{folder}.jsonl', 'data.steps': 4, 'data.vocabulary': 300, 'data.length': 64, 'data.eval_rows': 8, 'evaluation.num_rows': 8, 'evaluation.alarm': 2}
    steps = {'training.use_cpu': True, 'training.save_steps': 2, 'training.eval_steps': 2, 'training.logging_steps': 1, 'training.per_device_train_batch_size': 4}
    figures = run(changed(RECIPES['titans-chat'](), small | steps), folder)
    if os.environ['RANK'] == '0': Path(f'{folder}.json').write_text(json.dumps(figures))


def launch(folder, *options, kind=''):
    "This very script under `accelerate launch`: two processes, each with half of every batch"
    command = [sys.executable, '-m', 'accelerate.commands.launch', *options, f'--main_process_port={free_port()}', __file__, str(folder), kind]
    ran = subprocess.run(command, env=os.environ | dict(OMP_NUM_THREADS='1'), capture_output=True, text=True, timeout=400)
    assert ran.returncode == 0, Path(f'{folder}.error').read_text() if Path(f'{folder}.error').exists() else ran.stderr[-3000:]
    return json.loads(Path(f'{folder}.json').read_text())


def test_two_processes_give_the_losses_of_one(tmp_path):
    assert in_child(train, tmp_path/'one', dropout=0., gradient_accumulation_steps=2) == 0
    two = launch(tmp_path/'two', '--multi_gpu', '--num_processes=2', '--num_machines=1', '--mixed_precision=no', '--dynamo_backend=no')
    one = json.loads((tmp_path/'one.json').read_text())
    assert len(one) == len(two) and {'loss', 'lm', 'loud'} <= set(two[0])
    for a, b in zip(one, two): assert a == pytest.approx(b, rel=1e-4, abs=1e-6)
    assert complete(tmp_path/'two') == complete(tmp_path/'one')


def test_two_processes_give_the_losses_of_one_on_packed_rows(tmp_path):
    "Titans, with the settings that a user is given: two rows at a time are what each process reads, so one process reads as many pieces as both"
    assert in_child(train, tmp_path/'one', packed=True, per_device_train_batch_size=2, per_device_eval_batch_size=2, gradient_accumulation_steps=4) == 0
    two = launch(tmp_path/'two', f'--config_file={root/"configs"/"accelerate_ddp.yaml"}', kind='packed')
    one = json.loads((tmp_path/'one.json').read_text())
    assert len(one) == len(two) and {'loss', 'lm', 'world', 'ponder', 'ponder_steps', 'gate'} <= set(two[0])
    for a, b in zip(one, two): assert a == pytest.approx(b, rel=1e-4, abs=1e-6)


def test_two_processes_give_the_losses_of_one_while_steps_become_thoughts(tmp_path):
    "Also where the loss has one part only: that part is the loss, in training and in evaluation"
    assert in_child(train_thoughts, tmp_path/'one') == 0
    two = launch(tmp_path/'two', f'--config_file={root/"configs"/"accelerate_ddp.yaml"}', kind='thoughts')
    one = json.loads((tmp_path/'one.json').read_text())
    assert len(one) == len(two) and [log.get('latent_share') for log in two if 'loss' in log] == pytest.approx([None]*2 + [1.]*5)
    for a, b in zip(one, two): assert a == pytest.approx(b, rel=1e-4, abs=1e-6)
    pairs = [(log[f'{kind}loss'], log[f'{kind}lm']) for log in two for kind in ('', 'eval_') if f'{kind}loss' in log]
    assert len(pairs) == 10 and all(a == pytest.approx(b, rel=1e-4) for a, b in pairs)


def near(one, two, **how):
    assert len(one) == len(two)
    for a, b in zip(one, two): assert a == pytest.approx(b, **how)


def test_two_processes_that_share_the_weights_give_the_losses_of_one(tmp_path):
    "And their checkpoints are whole: one process reads them, and two go on from them"
    import torch
    from latent_lab.models.titans import TitansForCausalLM
    assert in_child(train, tmp_path/'one', packed=True, dropout=0., per_device_train_batch_size=2, per_device_eval_batch_size=2, gradient_accumulation_steps=4) == 0
    two = launch(tmp_path/'two', sharded_on_cpu(tmp_path), kind='sharded')
    near(json.loads((tmp_path/'one.json').read_text()), two, rel=1e-5, abs=1e-6)
    assert {'loss', 'lm', 'world', 'ponder', 'gate', 'grad_norm'} <= set(two[0]) and complete(tmp_path/'two') == complete(tmp_path/'one') == [9, 10]
    x = torch.arange(40)[None] % 20
    said = [TitansForCausalLM.from_pretrained(tmp_path/name/'checkpoint-10').eval()(x).logits for name in ('one', 'two')]
    torch.testing.assert_close(*said, rtol=0, atol=1e-4)
    shutil.rmtree(tmp_path/'two'/'checkpoint-10')
    near(launch(tmp_path/'two', sharded_on_cpu(tmp_path), kind='sharded on'), two, rel=1e-6)


def test_shared_weights_in_half_precision_lose_little(tmp_path):
    "Layers are computed in bfloat16; what they say of the loss is not rounded to it"
    import torch
    assert in_child(train, tmp_path/'one', packed=True, dropout=0., per_device_train_batch_size=2, per_device_eval_batch_size=2, gradient_accumulation_steps=4, save_strategy='no', metric_for_best_model=None) == 0
    two = launch(tmp_path/'two', sharded_on_cpu(tmp_path), kind='sharded half')
    near(json.loads((tmp_path/'one.json').read_text()), two, rel=1e-2)
    assert any(torch.tensor(log['lm']).bfloat16().item() != pytest.approx(log['lm'], rel=1e-6) for log in two if 'lm' in log)


def test_a_model_round_a_backbone_shares_its_weights_too(tmp_path):
    assert in_child(train_thoughts, tmp_path/'one') == 0
    near(json.loads((tmp_path/'one.json').read_text()), launch(tmp_path/'two', sharded_on_cpu(tmp_path, 'LlamaDecoderLayer'), kind='sharded thoughts'), rel=1e-5, abs=1e-6)


def test_a_recipe_runs_to_its_end_on_shared_weights(tmp_path):
    from latent_lab.hub import load
    chats = [dict(messages=[dict(role='user', content=f'{n} and {n}?'), dict(role='assistant', content=f'{2*n}, I think.')]) for n in range(200)]
    (tmp_path/'run.jsonl').write_text('\n'.join(map(json.dumps, chats)))
    figures = launch(tmp_path/'run', sharded_on_cpu(tmp_path), kind='recipe')
    assert figures['eval_loss'] > 0 and figures['pondering']['verdict'] and complete(tmp_path/'run'/'checkpoints') == [2, 4]
    assert load(str(tmp_path/'run')).num_parameters() == figures['parameters']


def train_within_small_files(folder, **settings):
    "After step 4 no file may grow beyond 2 kB: what a quota does, and a full disk much alike"
    from transformers import TrainerCallback

    class Limit(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 4: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    train(folder, callbacks=[Limit()], **settings)


@pytest.fixture
def small_disk(tmp_path):
    "A disk with room for one checkpoint, not for two"
    place = tmp_path/'disk'
    place.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=160k', 'tmpfs', place], capture_output=True).returncode: pytest.skip('needs the right to mount a small disk')
    yield place
    subprocess.run(['umount', place], check=True)


def one_line_and_nothing_lost(folder, error):
    assert error.startswith('CheckpointError: could not write checkpoint-6') and error.endswith('checkpoint-3') and '\n' not in error
    assert complete(folder) == [3]
    assert not (folder/'_saving').exists()


def test_a_full_disk_is_one_line_and_harms_no_earlier_checkpoint(small_disk, tmp_path):
    (tmp_path/'run').symlink_to(small_disk)   # the report is written beside, where there is room
    assert in_child(train, tmp_path/'run', eval_strategy='no', metric_for_best_model=None) == 1
    one_line_and_nothing_lost(tmp_path/'run', (tmp_path/'run.error').read_text())


def test_a_file_that_cannot_be_written_to_its_end_is_the_same(tmp_path):
    assert in_child(train_within_small_files, tmp_path/'run', eval_strategy='no', metric_for_best_model=None) == 1
    one_line_and_nothing_lost(tmp_path/'run', (tmp_path/'run.error').read_text())


if __name__ == '__main__':
    folder, kind = Path(sys.argv[1]), sys.argv[2]
    how = dict(packed=True, per_device_eval_batch_size=2) if kind == 'packed' else {}
    sharded = {'sharded': {}, 'sharded on': dict(resume=True), 'sharded half': dict(bf16=True, save_strategy='no', metric_for_best_model=None)}
    if kind == 'recipe': run_sharded(folder)
    elif kind in sharded: train_sharded(folder, **sharded[kind])
    elif kind == 'sharded thoughts': shard_on_cpu(), train_thoughts(folder, gradient_accumulation_steps=2)
    elif kind == 'thoughts': train_thoughts(folder, gradient_accumulation_steps=2)
    else: train(folder, dropout=0., per_device_train_batch_size=2, gradient_accumulation_steps=2, **how)
    os._exit(0)     # at the interpreter's end Gloo may wait for a thread of its own that waits for the interpreter
