"What the notebook of thoughts shows for one backbone, for others too."
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.testing import assert_close
from transformers import GPT2Config, LlamaConfig, Qwen2Config

from latent_lab import hub
from latent_lab.blocks.halting import Exit
from latent_lab.data.reasoning import running_sums
from latent_lab.models.contract import check_model
from latent_lab.models.thought import LatentThoughtConfig, LatentThoughtForCausalLM

sizes = dict(vocab_size=50, bos_token_id=0, eos_token_id=1, initializer_range=.1)
layers = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64)
backbones = dict(llama=LlamaConfig(**sizes, **layers), qwen=Qwen2Config(**sizes, **layers, tie_word_embeddings=True), gpt2=GPT2Config(**sizes, n_embd=32, n_layer=2, n_head=4, n_positions=64))
prompts = [[5, 6, 7, 8], [9, 10], [11, 12, 13], [2, 3, 4, 5, 6, 7]]


def thinker(decoder='llama', **fields):
    torch.manual_seed(0)
    return LatentThoughtForCausalLM(LatentThoughtConfig(**dict(decoder=backbones[decoder], decoder_source=None, train_decoder=True, latent_ratio=.5, num_passes=None) | fields))


def padded(side): return [pad_sequence([torch.tensor(row) for row in rows], True, 0, side) for rows in (prompts, [[1]*len(prompt) for prompt in prompts])]


@pytest.mark.parametrize('change', [dict(decoder='gpt2'), dict(decoder='qwen', mixing='token'), dict(latent_ratio=1., matching='learned'), dict(matching='projector'), dict(matching='ridge')], ids=str)
def test_the_contract(change): check_model(thinker(**change), ['gradients', 'causal', 'cached'])


@pytest.mark.parametrize('side', ['left', 'right'])
@pytest.mark.parametrize('decoder', list(backbones))
def test_thoughts_that_are_given_are_thought_as_a_row_without_a_cache_has_them(decoder, side):
    "Of each row another number, none among them, at any padding"
    model, (x, real), number = thinker(decoder).double().eval(), padded(side), torch.tensor([2, 0, 3, 1])
    thoughts, embed = torch.randn(4, 3, 32, generator=torch.Generator().manual_seed(0)).double(), model.decoder.get_input_embeddings()
    told = model.answer_ids(x, real, thoughts=number, edit=lambda step, would: thoughts[:, step-1], max_new_tokens=6)
    assert told.num_thoughts.tolist() == number.tolist() and (told.steps == told.num_thoughts+told.num_tokens).all()
    for i, (prompt, k, m) in enumerate(zip(prompts, number.tolist(), told.num_tokens.tolist())):
        row = torch.cat([embed(torch.tensor(prompt)), thoughts[i, :k], embed(told.tokens[i, :m-1])])
        whole, n = model.decoder(inputs_embeds=row[None], output_hidden_states=True), len(prompt)
        assert_close(told.states[i, :k], whole.hidden_states[-1][0, n:n+k], atol=1e-9, rtol=0)
        assert_close(told.read[i, :k], thoughts[i, :k], atol=0, rtol=0)
        assert not told.states[i, k:].any() and not told.read[i, k:].any()
        assert whole.logits[0, n+k-1:].argmax(-1).tolist() == told.tokens[i, :m].tolist()


@pytest.mark.parametrize('mode', ['latent', 'mixed'])
@pytest.mark.parametrize('decoder', list(backbones))
def test_its_own_thoughts_given_back_lead_to_the_same(decoder, mode):
    model, (x, real) = thinker(decoder).double().eval(), padded('left')
    mine = model.answer_ids(x, real, mode=mode, thoughts=Exit(.3, max_steps=6), max_new_tokens=6)
    again = model.answer_ids(x, real, thoughts=mine.num_thoughts, edit=lambda step, would: mine.read[:, step-1], max_new_tokens=6)
    for a, b in zip(again, mine, strict=True): assert torch.equal(a, b)


def test_the_shipped_model_adds_up_in_thoughts_and_says_what_it_had_no_thoughts_for():
    "As people write a sum, and as it was taught; with too few thoughts the rest comes in words"
    model, sums = hub.load('thought-tiny'), running_sums(64, digits=1, modulus=10, difficulty=8, seed=2**20+1)
    questions, right = sums['question'], ['#' + answer for answer in sums['answer']]
    told = model.answer(questions)
    assert sum(a == b for a, b in zip(told, right)) >= 63
    assert told == model.answer([question + '\n' for question in questions])
    shorter = model.answer(questions[:16], thoughts=4, max_new_tokens=64)
    assert all(said not in right and said.count('=') >= 3 for said in shorter)
    assert sum(said.endswith(answer) for said, answer in zip(shorter, right)) >= 15
