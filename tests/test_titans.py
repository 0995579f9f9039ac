"Every variant of Titans, with strong opinions, keeps what the contract promises where it matters most"
import itertools
import json

import pytest
import torch
from numpy.testing import assert_allclose
from transformers import AutoModelForCausalLM

from latent_lab import hub
from latent_lab.data.text import tales
from latent_lab.explore.pondering import PrefixCaches, next_chances, told_to_stop
from latent_lab.models.contract import check_model
from latent_lab.models.titans import INNER, RULES, VARIANTS, TitansForCausalLM, opinionated

THRESHOLDS = dict(difference=.25, kl=.01, entropy=3.9)      # at which some tokens of the small models below stop early
CHECKS = ['causal', 'cached', 'padding', 'pieces', 'gradients']

@pytest.mark.parametrize('variant, inner, halting', itertools.product(VARIANTS, INNER, RULES))
def test_every_variant_thought_and_rule(variant, inner, halting):
    check_model(opinionated(variant=variant, inner=inner, halting=halting, halting_threshold=THRESHOLDS.get(halting, .05)), ['causal', 'cached', 'padding', 'embeddings'] + ['resizing']*(halting not in ('kl', 'entropy')))     # these two weigh new words too, and may stop elsewhere


@pytest.mark.parametrize('variant, inner, halting', itertools.product(VARIANTS, INNER, RULES))
def test_a_question_from_a_cache_is_answered_as_from_the_first_token(variant, inner, halting):
    "Told after each number of thoughts, at borders of chunks, blocks and windows and inside them, and with memories before and after the thoughts (float64)"
    ids = torch.randint(0, 68, (36,), generator=torch.Generator().manual_seed(0)).numpy()
    for memories, thinkers in (([0], [0, 1]), ([0, 1], [0])):
        model = opinionated(variant=variant, inner=inner, halting=halting, halting_threshold=THRESHOLDS.get(halting, .05), memory_layers=memories, reasoning_layers=thinkers).double()
        pieces = PrefixCaches(model, every=8), PrefixCaches(model, every=5)
        for token in (7, 8, 12, 35):
            told = told_to_stop(token, len(thinkers)-1, len(thinkers), range(7))      # 0: as it likes; 6: one more than are allowed
            want = next_chances(model, ids[:token+1], told)
            for prefixes in pieces: assert_allclose(next_chances(model, ids[:token+1], told, prefixes=prefixes), want, rtol=0, atol=1e-9)
            assert abs(want[1:]-want[0]).max() > 1e-4, 'another thought changes nothing, so this says little'
        assert [len(kept) for kept in pieces[0].kept] == [0, 8, 32]


@pytest.mark.parametrize('change', [dict(memory_depth=1), dict(memory_heads=2), dict(persistent_tokens=0), dict(persistent_tokens=0, variant='gate'), dict(memory_layers=[]), dict(reasoning_layers=[]), dict(memory_layers=[0, 1], reasoning_layers=[0, 1]),
                                    dict(memory_layers=[1], reasoning_layers=[0]), dict(gate_bias=None), dict(horizon=0), dict(intuition_layers=0), dict(max_thoughts=1, halting='fixed'), dict(memory_chunk_size=1, memory_block_size=1), dict(memory_max_write=None), dict(memory_max_write=.02, memory_heads=2)], ids=str)
def test_every_part_may_be_there_or_not(change): check_model(opinionated(**change), CHECKS)


@pytest.mark.parametrize('halting', ['act', 'ponder_net', 'difference', 'kl', 'entropy'])
def test_these_models_do_stop_at_different_thoughts(halting):
    "Otherwise the tests above would say little"
    steps = opinionated(halting=halting, halting_threshold=THRESHOLDS.get(halting, .05))(torch.randint(0, 68, (4, 40), generator=torch.Generator().manual_seed(0)), output_latents=True).latents['ponder_steps']
    assert len(steps.unique()) > 1


def test_a_low_cap_is_met():
    "So is the cap in the tests above"
    model, x = opinionated(memory_max_write=.02), torch.randint(0, 68, (4, 40), generator=torch.Generator().manual_seed(0))
    capped = model(x, output_latents=True).latents['write'] > .02*(1-1e-5)
    assert .1 < capped.float().mean() < .9
    assert not torch.equal(model(x).logits, opinionated(memory_max_write=None)(x).logits)


def test_a_model_from_before_the_cap_says_what_it_said(tmp_path):
    "Its configuration says nothing of one; asked for, it is there, also where it is read by the library"
    model, x = opinionated(memory_max_write=None).eval(), torch.randint(0, 68, (2, 40), generator=torch.Generator().manual_seed(0))
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path/'config.json').read_text())
    assert config.pop('memory_max_write', 'missing') is None
    (tmp_path/'config.json').write_text(json.dumps(config))
    assert torch.equal(AutoModelForCausalLM.from_pretrained(tmp_path)(x).logits, model(x).logits)
    assert torch.equal(TitansForCausalLM.from_pretrained(tmp_path, memory_max_write=.02)(x).logits, opinionated(memory_max_write=.02)(x).logits)


def test_the_shipped_model_has_a_cap_that_ordinary_text_does_not_meet():
    "Not a bit is changed by it, and much would be by a lower one"
    model = hub.load('titans-tiny')
    ids = model.tokenizer(' '.join(tales()[5000:8000].split()), return_tensors='pt')['input_ids'][:, :600]
    said = []
    with torch.no_grad():
        for model.blocks[1].memory.max_write in (model.config.memory_max_write, None, .05): said.append(model(ids).logits)
    assert model.config.memory_max_write == 1 and ids.shape[1] > 400
    assert torch.equal(said[0], said[1]) and not torch.allclose(said[0], said[2], atol=.1)
