"The neural memory beside `titans-pytorch`, and what its notebook cannot hold: every kind of layer, the compiler, what is kept for the backward pass"
import itertools
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from titans_pytorch import MemoryMLP
from titans_pytorch import NeuralMemory as PeerMemory

from latent_lab.blocks import memory
from latent_lab.blocks.memory import NeuralMemory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]/'benchmarks'))
from titans_memory import agreement, measure

KINDS = {'as it comes': {}, 'one layer': dict(depth=1), 'no momentum': dict(momentum=None), 'nothing around': dict(wrapped=False), 'one head': dict(heads=1),
         'wide heads': dict(head_dim=6), 'token by token': dict(chunk_size=1, block_size=1), 'paper': dict(chunk_size=3, block_size=3), 'one block': dict(block_size=36)}
CAP = .03          # in these layers about half of the tokens would write more
CAPPED = {f'{kind}, capped': KINDS[kind] | dict(max_write=CAP) for kind in ('as it comes', 'one layer', 'nothing around', 'token by token')}
each_kind, capped_or_not = pytest.mark.parametrize('kind', KINDS), pytest.mark.parametrize('kind', KINDS | CAPPED)
FORMS = {'reference': dict(form='reference'), 'dual': dict(form='dual'), 'spans of two': dict(form='dual', span=2), 'one span': dict(form='dual', span=100), 'auto': {}}
each_form = pytest.mark.parametrize('form', ['reference', 'dual', 'spans of two', 'one span'])


@pytest.fixture(autouse=True)
def small():
    "One thread is enough for tensors of this size"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def make(kind, form='auto', **fields):
    "A layer whose rates differ from token to token"
    layer = NeuralMemory(8, **{'heads': 2, 'chunk_size': 3, 'block_size': 9, 'expansion': 2., **FORMS[form], **(KINDS | CAPPED)[kind], **fields}).double()
    with torch.no_grad():
        for name, p in layer.named_parameters(): p.add_(torch.randn_like(p)*(.5 if name.startswith('to_') else .05))
    return layer


def twin(layer):
    "The peer with the same options and weights, and pairs of parameters"
    e, depth = layer.initial['first'].shape[1], 2 if 'second' in layer.initial else 1
    peer = PeerMemory(8, dim_head=e, heads=layer.heads, chunk_size=layer.chunk_size, batch_size=layer.block_size, momentum='momentum' in layer.to_rates, model=MemoryMLP(e, depth, 2.),
                      mem_model_norm_add_residual='scale' in layer.initial, default_step_transform_max_lr=layer.max_rate).double()
    names = {'norm.gamma': 'scale', **{f'{prefix}weights.{i}': name for prefix in ('', 'model.') for i, name in enumerate(('first', 'second'))}}
    pairs = [(layer.read_norm.weight, peer.retrieve_norm.weight), (layer.write_norm.weight, peer.store_norm.weight), (layer.to_query.weight, peer.to_queries.weight),
             (layer.to_key.weight, peer.to_keys.weight), (layer.to_value.weight, peer.to_values.weight)]
    pairs += [(layer.initial[names[name]], p) for name, p in zip(peer.memory_model_parameter_names, peer.memory_model_parameters, strict=True)]
    for name, head in layer.to_rates.items():
        theirs = dict(rate=peer.to_adaptive_step, momentum=peer.to_momentum, forget=peer.to_decay_factor)[name][0]
        pairs += [(head.weight, theirs.weight), (head.bias, theirs.bias)]
    if layer.heads > 1: pairs += [(layer.gate.weight, peer.retrieve_gate[0].weight), (layer.combine.weight, peer.combine_heads.weight)]
    for ours, theirs in pairs: theirs.data = ours.data.clone()          # the peer's weights of several heads share their memory
    assert {id(p) for p in layer.parameters()} == {id(ours) for ours, _ in pairs}
    return peer, pairs


@each_form
@each_kind
@pytest.mark.parametrize('n', [2, 27, 34])
def test_the_peer_gives_the_same(kind, form, n):
    "Answers, and gradients of the tokens and of every parameter, in double precision"
    layer = make(kind, form)
    peer, pairs = twin(layer)
    x, grad = torch.randn(2, n, 8, dtype=torch.float64, requires_grad=True), torch.randn(2, n, 8, dtype=torch.float64)
    ours, theirs = layer(x)[0], peer(x)[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    found = [torch.autograd.grad(y, [x, *parameters], grad, allow_unused=True, materialize_grads=True) for y, parameters in zip((ours, theirs), zip(*pairs))]
    for a, b in zip(*found, strict=True): torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    assert found[0][0].abs().max() > 0


@each_form
@each_kind
def test_the_peer_ends_with_the_same_memory(kind, form):
    layer = make(kind, form)
    peer, _ = twin(layer)
    x = torch.randn(2, 36, 8, dtype=torch.float64)
    state, (_, _, _, (weights, momentum), _) = layer(x)[1], peer(x)[1]
    names = sorted(state.weights, key=['scale', 'first', 'second'].index)
    for name, theirs in zip(names, sorted(weights.items(), key=lambda item: 'gamma' not in item[0])):
        torch.testing.assert_close(state.weights[name].flatten(0, 1), theirs[1], rtol=1e-9, atol=1e-9)
        if state.momentum: torch.testing.assert_close(state.momentum[name].flatten(0, 1), momentum[theirs[0]][0], rtol=1e-9, atol=1e-9)


@each_form
@capped_or_not
def test_a_text_may_be_cut_anywhere(kind, form):
    layer, x = make(kind, form), torch.randn(2, 25, 8, dtype=torch.float64)
    whole, last = layer(x)
    for at in range(1, 25):
        first, state = layer(x[:, :at])
        second, state = layer(x[:, at:], state)
        torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(state, last, rtol=1e-9, atol=1e-9)


@capped_or_not
def test_forms_may_take_turns(kind):
    "Each leaves a state with which the other goes on"
    layer, x = make(kind), torch.randn(2, 40, 8, dtype=torch.float64)
    whole, state, parts = layer(x)[0], None, []
    for piece, (layer.form, layer.span) in zip(x.split(5, 1), itertools.cycle([('dual', 1), ('reference', None), ('dual', 3)])):
        read, state = layer(piece, state)
        parts.append(read)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-9, atol=1e-9)


@each_form
@capped_or_not
def test_padded_and_packed_rows_read_as_if_alone(kind, form):
    layer, x = make(kind, form), torch.randn(3, 31, 8, dtype=torch.float64)
    for trial in range(3):
        mask, documents = torch.rand(3, 31) > .3*trial, (torch.rand(3, 31) > .9).cumsum(1)
        read, _ = layer(x.masked_fill(~mask[..., None], torch.nan), mask=mask, documents=documents)
        for i in range(3):
            for number in documents[i].unique():
                if (at := mask[i] & (documents[i] == number)).any():
                    torch.testing.assert_close(read[i, at], layer(x[i:i+1, at])[0][0], rtol=1e-9, atol=1e-9)


@each_form
@capped_or_not
def test_later_tokens_change_nothing(kind, form):
    layer, x = make(kind, form), torch.randn(1, 20, 8, dtype=torch.float64)
    read = layer(x)[0]
    for at in range(1, 20):
        other = torch.cat([x[:, :at], torch.randn(1, 20-at, 8, dtype=torch.float64)], 1)
        torch.testing.assert_close(layer(other)[0][:, :at], read[:, :at], rtol=1e-9, atol=1e-9)


def everything(layer, x):
    "What is read, written and left, and first and second derivatives by the tokens and every parameter"
    leaves = [x, *layer.parameters()]
    def outs():
        read, state, writes = layer(x, output_writes=True)
        return [read, *(part[name] for part in state[:3] for name in sorted(part)), writes.surprise, writes.size]
    by = lambda parts, **how: torch.autograd.grad(sum(y.sin().sum() for y in parts), leaves, allow_unused=True, materialize_grads=True, **how)
    first = by(outs()[:-1], create_graph=True)                # without sizes: that of a write of zero has no second derivative
    return outs()[:-1], by(outs()[:-1]), first, by(first)


def agree(ones, others):
    "To nine digits of the largest entry"
    for one, other in zip(ones, others, strict=True):
        for a, b in zip(one, other, strict=True): torch.testing.assert_close(a, b, rtol=0, atol=1e-9*max(1, a.abs().max().item()))


@pytest.mark.parametrize('max_write', [None, CAP])
@pytest.mark.parametrize('form', ['dual', 'spans of two', 'one span'])
@each_kind
def test_forms_agree_and_gradients_have_gradients(kind, form, max_write):
    layer, x = make(kind, 'reference', max_write=max_write), torch.randn(2, 31, 8, dtype=torch.float64, requires_grad=True)
    wanted = everything(layer, x)
    layer.form, layer.span = 'dual', FORMS[form].get('span')
    agree(everything(layer, x), wanted)
    agree(wanted[1:2], wanted[2:3])


@each_form
@each_kind
def test_some_tokens_are_capped_and_some_are_not(kind, form):
    "Those that would have written more write as much as they may; in the first block, before which nothing was written, they are known"
    layer, x = make(kind, form), torch.randn(2, 36, 8, dtype=torch.float64)
    free, first = layer(x, output_writes=True)[2].size, layer.block_size
    layer.max_write = CAP
    size = layer(x, output_writes=True)[2].size
    torch.testing.assert_close(size[..., :first], free[..., :first].clamp(max=CAP), rtol=1e-12, atol=0)
    assert .2 < (size > CAP*(1-1e-9)).double().mean() < .8 and size.max() < CAP*(1+1e-9)
    layer.max_write = 1e6          # nobody writes as much: not a bit is changed
    assert torch.equal(layer(x, output_writes=True)[2].size, free)


def all_but_first(cap): return cap.index_fill(1, torch.arange(9, cap.shape[1]), 1e6)

MISTAKES = {'nothing is capped': ('_write', lambda write: lambda *inputs: write(*inputs[:5], None, *inputs[6:])),
            'the first block alone is capped': ('_write', lambda write: lambda *inputs: write(*inputs[:5], all_but_first(inputs[5]), *inputs[6:])),
            'the way back knows of no cap': ('_write_back', lambda back: lambda inputs, outs, kept, grads: back(inputs, outs, (*kept[:6], None, *kept[7:]), grads))}

@pytest.mark.parametrize('mistake', MISTAKES)
def test_a_mistaken_cap_is_found(monkeypatch, mistake):
    name, broken = MISTAKES[mistake]
    monkeypatch.setattr(memory, name, broken(getattr(memory, name)))
    with pytest.raises(AssertionError, match='not close'): test_forms_agree_and_gradients_have_gradients('as it comes', 'spans of two', CAP)


@each_form
def test_a_cap_bounds_the_memory(form):
    "One word over and over, at nine times the usual rate"
    norm = lambda weights: sum(w.square().sum() for w in weights.values()).sqrt()
    layer, word = NeuralMemory(32, rate=.09, **FORMS[form]), torch.randn(1, 1, 32).expand(1, 512, 32)
    with torch.no_grad():
        assert not norm(layer(word)[1].weights) < 1e6
        layer.max_write = .05
        assert norm(layer(word)[1].weights) < norm(layer.initial) + layer.chunk_size*.05/(.01*(1-.9))


def kept_bytes(layer, x):
    "What autograd keeps for the backward pass"
    kept = {}
    def keep(t):
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage()
        return t
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t): layer(x)
    return sum(storage.nbytes() for storage in kept.values())


def test_the_dual_form_keeps_no_weights_of_chunks():
    "Sixty-four chunks in a block: the reference keeps weights for each"
    def kept(form, block, n):
        layer = NeuralMemory(64, chunk_size=1, block_size=block, form=form)
        return kept_bytes(layer, torch.randn(1, n, 64))
    assert kept('reference', 64, 64) > 3*kept('reference', 16, 16)
    assert kept('dual', 64, 64) < kept('reference', 64, 64)/10


def test_a_long_span_keeps_no_weights_of_blocks():
    def kept(span): return kept_bytes(NeuralMemory(128, chunk_size=8, block_size=8, span=span), torch.randn(1, 256, 128))
    assert kept(32) < kept(1)/3


class Calls(TorchDispatchMode):
    "Counts what is launched"
    def __init__(self):
        super().__init__()
        self.made = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        moves = isinstance(result, torch.Tensor) and not any(isinstance(x, torch.Tensor) and x.untyped_storage()._cdata == result.untyped_storage()._cdata for x in args)
        self.made += moves or not isinstance(result, torch.Tensor)
        return result


@pytest.mark.parametrize('low', [False, True])
def test_a_long_span_launches_little(low):
    "For each block, forward and backward"
    def made(span, blocks):
        layer, x = NeuralMemory(16, chunk_size=2, block_size=8, span=span), torch.randn(1, 8*blocks, 16)
        with Calls() as calls:
            with torch.autocast('cpu', torch.bfloat16, enabled=low): read = layer(x)[0]
            torch.autograd.grad(read.float().sum(), [*layer.parameters()])
        return calls.made
    assert made(8, 8) - made(4, 4) < (made(1, 8) - made(1, 4))/2


@pytest.mark.parametrize('depth, low', [(1, False), (2, False), (2, True)])
def test_a_cap_launches_little(depth, low):
    "For each block, forward and backward: ten beside what is made smaller in place"
    def made(blocks, max_write):
        layer, x = NeuralMemory(16, depth=depth, chunk_size=2, block_size=8, span=8, max_write=max_write), torch.randn(1, 8*blocks, 16)
        with Calls() as calls:
            with torch.autocast('cpu', torch.bfloat16, enabled=low): read = layer(x)[0]
            torch.autograd.grad(read.float().sum(), [*layer.parameters()])
        return calls.made
    per_block = [(made(8, most) - made(4, most))/4 for most in (None, 1.)]
    assert 0 < per_block[1] - per_block[0] <= 10


@pytest.mark.parametrize('max_write', [None, .025])
@pytest.mark.parametrize('span', [1, 2])
@pytest.mark.parametrize('padded', [False, True])
def test_compile_takes_the_layer_whole(padded, span, max_write):
    layer, x = NeuralMemory(8, depth=span, chunk_size=2, block_size=4, span=span, max_write=max_write), torch.randn(2, 8, 8)
    mask = torch.arange(8) < torch.tensor([[8], [5]]) if padded else None
    compiled = torch.compile(lambda x: layer(x, mask=mask)[0], fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(x), layer(x, mask=mask)[0])
    leaves = [*layer.parameters()]
    torch.testing.assert_close(torch.autograd.grad(compiled(x).sum(), leaves), torch.autograd.grad(layer(x, mask=mask)[0].sum(), leaves))


def test_it_learns_to_recall():
    "Four tokens say a key and a value each, the fifth a key: its value is to be read. Guessing among what was told would be right one time in four"
    layer, name, head = NeuralMemory(16, chunk_size=1, block_size=8, rate=.05, max_rate=1.), nn.Embedding(12, 16), nn.Linear(16, 12)
    optimizer = torch.optim.Adam([*layer.parameters(), *name.parameters(), *head.parameters()], lr=1e-2)
    for _ in range(150):
        keys, values = (torch.rand(32, 6).argsort(1)[:, :4] for _ in range(2))
        asked = keys.gather(1, torch.randint(0, 4, (32, 1)))
        wanted = values[keys == asked]
        read, _ = layer(torch.cat([name(keys) + name(values+6), name(asked)], 1))
        loss = nn.functional.cross_entropy(head(read[:, -1]), wanted+6)
        optimizer.zero_grad(), loss.backward(), optimizer.step()
    assert (head(read[:, -1]).argmax(-1) == wanted+6).float().mean() > .5


@pytest.mark.parametrize('heads', [1, 2])
def test_the_benchmark_measures(heads):
    "At a size that says nothing but that it works"
    args = Namespace(device='cpu', width=8, heads=heads, chunk=2, block=4, span=None, rows=1, tokens=16, rounds=1, checked=16, also=['reference'])
    assert max(agreement(args)[name] for name in ('read', 'worst_gradient')) < 1e-9
    rows = measure(args, 'fp32')
    assert all(rows[name]['ms'] > 0 for name in ('ours', 'titans-pytorch', 'ours, reference')) and rows['ours']['times_faster'] > 0
