"Watching a run: every family is watched alike, and a run that is watched is the run that is not."
import itertools
import threading
import time

import numpy as np
import pytest
import torch
import xarray as xr

from latent_lab.explore.compare import vector_sites
from latent_lab.explore.learning import LearningExplorer, Moments, WatchLearning, learning, states_over_training
from latent_lab.recipes import KINDS, RECIPES, changed
from latent_lab.train.trainer import LatentArguments

steps, every = 6, 3
small_encoder = dict(model_type='bert', hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, max_position_embeddings=256)
small_decoder = dict(model_type='gpt2', n_embd=16, n_layer=1, n_head=2, n_positions=64)
FAMILIES = dict(
    reasoner=('reasoner-rules', {'model.latent_dim': 16, 'model.attn_dim': 16, 'model.num_attention_heads': 2, 'model.dropout': .1, 'data.stages': [[16, steps]], 'data.rows_per_step': 4, 'data.eval_rows': 4}, ['<switch> 3 7 11', '<switch> 5 4'], {}),
    idea=('idea-facts', {'model.encoder': small_encoder, 'model.decoder': small_decoder, 'model.latent_dim': 8, 'model.prefix_len': 2, 'data.num_rows': 40, 'data.eval_rows': 4, 'data.vocabulary': 300, 'data.steps': steps, 'data.reconstruction_steps': 0, 'data.rows_per_step': 4},
          ['Ann: Tea at five?', 'Bob: No.'], {}),
    thought=('thought-tiny', {'model.decoder': dict(model_type='llama', hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=128), 'data.num_rows': 40, 'data.eval_rows': 4, 'data.stage_steps': [3, 3], 'data.per_step': 2, 'data.rows_per_step': 4},
             ['8+9+3+3=', '4+7+1='], dict(thoughts=2)),
    titans=('titans-tasks', {'model.attn_dim': 16, 'model.num_attention_heads': 2, 'model.chunk_size': 32, 'model.memory_chunk_size': 8, 'model.memory_block_size': 32, 'model.max_thoughts': 3, 'model.dropout': .1, 'data.num_rows': 40, 'data.eval_rows': 4, 'data.steps': steps},
            ['12+34=', '5+6='], {}))


def fit(family, folder, watch=None, more={}):
    "A few steps of a recipe, small"
    name, settings, *_ = FAMILIES[family]
    recipe = changed(RECIPES[name](), settings | more | {'training.per_device_train_batch_size': 4, 'training.warmup_steps': 0, 'training.logging_steps': 1})
    training = {k: v for k, v in recipe.training.items() if k not in ('bf16', 'dataloader_num_workers')}
    args = LatentArguments(str(folder), max_steps=steps, **training | dict(use_cpu=True, disable_tqdm=True, save_strategy='no', eval_strategy='no', load_best_model_at_end=False))
    torch.manual_seed(0)
    trainer = KINDS[recipe.data['kind']](recipe, args).trainer
    if watch: trainer.add_callback(watch)
    trainer.train()
    return trainer


@pytest.mark.parametrize('family', FAMILIES)
def test_watched_or_not(family, tmp_path):
    "The same weights, bit for bit, and the same losses; a film of every site, which an explorer shows"
    *_, texts, thinking = FAMILIES[family]
    watch = WatchLearning(texts, tmp_path/'film', every=every, max_new_tokens=3, **thinking)
    alone, watched = fit(family, tmp_path/'alone'), fit(family, tmp_path/'watched', watch)
    for (name, a), (_, b) in zip(alone.model.state_dict().items(), watched.model.state_dict().items()): assert torch.equal(a, b), name
    losses = [[log['loss'] for log in trainer.state.log_history if 'loss' in log] for trainer in (alone, watched)]
    assert losses[0] == losses[1] and len(losses[0]) == steps
    film = learning(tmp_path/'film')
    xr.testing.assert_identical(film.drop_attrs(), learning(watch.moments).drop_attrs())
    assert film.training_step.values.tolist() == [0, every, steps] and film.loss.values[1:].tolist() == [losses[0][every-1], losses[0][-1]]
    explorer = LearningExplorer(film)
    for site in vector_sites(film.isel(training_step=0, drop=True)):
        assert np.isfinite(states_over_training(film, site)).all((0, 3)).any()
        explorer.controls['site'].value = site
        assert explorer.settle().view.site == site and len(explorer.frame()['places']) == 3


def test_a_schedule_is_seen(tmp_path):
    "What a trainer changes of a model beside its weights, such as the share of state that grows, is in the copy too"
    watch, shares = WatchLearning(FAMILIES['thought'][2], every=1, max_new_tokens=1), []
    watch.followers.append(lambda: shares.append(watch.snapshot.model.config.latent_ratio))
    trainer = fit('thought', tmp_path, watch, {'data.method': 'mixing', 'data.stage_steps': [2, 4]})
    assert len(set(shares)) > 2 and shares == sorted(shares) and shares[-1] == trainer.model.config.latent_ratio
    assert all(a.equal(b) for a, b in zip(watch.snapshot.model.state_dict().values(), trainer.model.state_dict().values()))


def test_a_moment_may_come_while_the_film_is_made():
    moments, stop = Moments(), threading.Event()
    def add():
        for step in itertools.count():
            if stop.is_set(): return
            moments.add(xr.Dataset(dict(state=(('example', 'token', 'feature'), np.zeros((1, 2, 3))))).assign_attrs(training_step=step))
            time.sleep(.0005)
    adding = threading.Thread(target=add)
    adding.start()
    try:
        while not len(moments): time.sleep(.001)
        films = [learning(moments) for _ in range(15)]
    finally:
        stop.set()
        adding.join()
    assert films[-1].sizes['training_step'] > films[0].sizes['training_step']
