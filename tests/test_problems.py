"From questions with worked steps to a model that feeds back its states: what is learnt, what is fed back, and what must change nothing."
import copy

import pytest
import torch
from datasets import disable_progress_bars
from tokenizers.processors import TemplateProcessing
from torch.nn.functional import cross_entropy
from torch.testing import assert_close
from transformers import LlamaConfig

from latent_lab.data.answers import exact_match
from latent_lab.data.chat import chat_tokenizer
from latent_lab.data.graphs import graph_paths
from latent_lab.data.reasoning import addition, listops, maze
from latent_lab.data.text import byte_tokenizer
from latent_lab.data.tokens import tokenized
from latent_lab.models.thought import LatentThoughtConfig, LatentThoughtForCausalLM, thought_rows

disable_progress_bars()
letters = byte_tokenizer([], 259)
makers = dict(words=lambda n, seed: addition(n, seed=seed), digits=lambda n, seed: addition(n, digits=range(2, 6), seed=seed, style='digits'), lists=lambda n, seed: listops(n, seed=seed), mazes=lambda n, seed: maze(n, seed=seed),
              kinds=lambda n, seed: graph_paths(n, seed=seed), letters=lambda n, seed: graph_paths(n, seed=seed, style='letters'))


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(letters)+2, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=256, bos_token_id=0, eos_token_id=1)
    model = LatentThoughtForCausalLM(LatentThoughtConfig(decoder=config, decoder_source=None, train_decoder=True, latent_ratio=1., num_passes=None)).double().eval()
    model.tokenizer = letters
    return model


def batch(data, side='right'): return thought_rows(*(data[name][:] for name in ('prompt_ids', 'reasoning_ids', 'answer_ids')), side)


def with_bos(tokenizer):
    other = copy.deepcopy(tokenizer)
    other.backend_tokenizer.post_processor = TemplateProcessing(single='<pad> $A', special_tokens=[('<pad>', 0)])
    return other


@pytest.mark.parametrize('make', makers.values(), ids=makers)
def test_as_many_rows_as_asked_for_and_no_two_alike(make):
    rows = make(120, 3)
    assert len(rows) == len(set(rows['question'])) == 120
    assert set(rows['question']) != set(make(120, 4)['question'])
    assert exact_match(rows['answer'], rows).all()


@pytest.mark.parametrize('side', ['right', 'left'])
@pytest.mark.parametrize('how', [dict(), dict(mark='#### '), dict(chat=True), dict(reasoning=False)], ids=str)
def test_reasoning_and_answer_are_learnt_and_nothing_else(how, side):
    "The end too, although rows are padded with the same token as it"
    tokenizer = chat_tokenizer(letters) if 'chat' in how else copy.deepcopy(letters)
    tokenizer.pad_token = tokenizer.eos_token
    data = tokenized(addition(12, digits=range(1, 5), seed=1, style='digits'), tokenizer, **how)
    rows = batch(data, side)
    rows['input_ids'][rows['attention_mask'] == 0] = tokenizer.pad_token_id
    for ids, mask, reasons, labels, row in zip(*rows.values(), data):
        assert labels[labels >= 0].tolist() == row['reasoning_ids'] + row['answer_ids']
        assert labels[labels >= 0][-1] == tokenizer.eos_token_id and (labels == tokenizer.eos_token_id).sum() == 1
        assert ids[reasons == 1].tolist() == row['reasoning_ids']
        assert ids[mask == 1].tolist() == row['prompt_ids'] + row['reasoning_ids'] + row['answer_ids']


@pytest.mark.parametrize('side', ['right', 'left'])
def test_the_loss_is_that_of_the_next_token_over_what_is_learnt(model, side):
    data = tokenized(addition(6, digits=range(1, 4), seed=2, style='digits'), letters)
    out = model(**batch(data, side), latent_ratio=0.)
    told = []
    for row in data:
        prompt, learnt = row['prompt_ids'], row['reasoning_ids'] + row['answer_ids']
        logits = model.decoder(torch.tensor([prompt + learnt])).logits[0]
        told.append(cross_entropy(logits[len(prompt)-1:-1], torch.tensor(learnt), reduction='none'))      # the last token of the prompt says the first of the reasoning
    assert_close(out.losses['lm'], torch.cat(told).mean().float())


def test_what_is_fed_back_is_the_state_before_and_prompts_stay_words(model):
    row, = tokenized(graph_paths(1, kinds=4, max_steps=2, seed=1, difficulty=2, style='letters'), letters)
    rows = batch(tokenized([row], letters))
    latents = model(**rows, output_latents=True).latents
    start, steps = len(row['prompt_ids']), len(row['reasoning_ids'])
    read, states, words = latents['hidden'][0, :, 0], latents['state'][0], model.decoder.get_input_embeddings()(rows['input_ids'])[0]
    assert_close(read[start:start+steps], model.feedback(states[start-1:start+steps-1]))
    assert torch.equal(read[:start], words[:start]) and torch.equal(read[start+steps:], words[start+steps:])
    assert sum(row['step_lengths']) == steps == int(latents['share'].sum())


@pytest.mark.parametrize('tokenizer, begins', [(letters, 'sum'), (with_bos(letters), '<pad>sum')], ids=['without BOS', 'with BOS'])
def test_a_model_is_asked_as_it_was_taught(model, tokenizer, begins):
    row, = tokenized([dict(question='sum of 4 and 7', steps=['11'], answer='11')], tokenizer)
    model.tokenizer = tokenizer
    assert model.tokenize('sum of 4 and 7\n')['input_ids'][0].tolist() == row['prompt_ids']
    assert tokenizer.decode(row['prompt_ids']) == begins + ' of 4 and 7\n'
