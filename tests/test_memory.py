"Generation holds as much after thousands of tokens as after hundreds"
import json
import sys
from pathlib import Path

import pytest
import torch
from transformers.utils import logging

sys.path.insert(0, str(Path(__file__).resolve().parents[1]/'benchmarks'))
from generation_memory import cache_bytes, generate, one

from latent_lab.models.baselines import GRUTransformerConfig, GRUTransformerForCausalLM, PlainTransformerConfig, PlainTransformerForCausalLM
from latent_lab.models.reasoner import LatentReasoningConfig, LatentReasoningForCausalLM

small = dict(attn_dim=16, num_hidden_layers=1, num_attention_heads=2, chunk_size=64, dropout=0.)
models = {'reasoner': lambda **how: LatentReasoningForCausalLM(LatentReasoningConfig(latent_dim=16, **small, **how)),
          'GRU + Transformer': lambda **how: GRUTransformerForCausalLM(GRUTransformerConfig(**small, **how)),
          'Transformer': lambda **how: PlainTransformerForCausalLM(PlainTransformerConfig(**small, **how))}


@pytest.fixture(autouse=True)
def quiet():
    "Going beyond `max_position_embeddings` is what this is about, and one thread is enough"
    verbosity, threads = logging.get_verbosity(), torch.get_num_threads()
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    yield
    logging.set_verbosity(verbosity)
    torch.set_num_threads(threads)


def test_the_cache_after_3000_generated_tokens_is_that_after_300():
    model = models['reasoner'](attention='sliding').eval()
    (_, early), (_, late) = generate(model, 300), generate(model, 3000)
    assert early == late > 0


@pytest.mark.parametrize('attention', ['sliding', 'chunked'])
@pytest.mark.parametrize('name', models)
def test_no_cache_outgrows_its_window(name, attention):
    "Read in pieces: as many bytes at token 6,400 as at token 640"
    model, cache, sizes = models[name](attention=attention).eval(), None, []
    with torch.no_grad():
        for piece in torch.randint(0, 68, (2, 6400)).split(64, 1):
            cache = model(input_ids=piece, past_key_values=cache, use_cache=True).past_key_values
            sizes.append(cache_bytes(cache))
    assert sizes[9] == sizes[-1] and cache.get_seq_length() == 6400


def test_full_attention_is_the_one_that_grows():
    "What the test above would see if a cache were not bounded"
    model = models['reasoner'](attention='full').eval()
    (_, early), (_, late) = generate(model, 20), generate(model, 80)
    assert late > 2*early


@pytest.mark.parametrize('checkpoint', ['reasoner-tiny', 'titans-tiny'])
def test_the_benchmark_measures(capsys, checkpoint):
    "One length, at a size that says nothing but that it works"
    one(checkpoint, 20, 'cpu')
    row = json.loads(capsys.readouterr().out)['row']
    assert row['tokens'] == 20 and row['cache_bytes'] > 0 and row['peak_mb'] > 100
