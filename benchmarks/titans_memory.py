"""The neural memory beside that of `titans-pytorch`, in one process.

    python benchmarks/titans_memory.py                                                       # the GPU if there is one
    python benchmarks/titans_memory.py --device cpu --width 32 --rows 2 --tokens 256 --rounds 3

Both have the same options and the same weights. Every round times each contender once, in turn, forward and backward, with gradients for the tokens and for all weights; the figure is the median over the rounds. On a GPU the peak is the
most memory that was allocated during a call, beyond what was there before it, and for a graph what it works in; on a CPU it is not measured. `--also compiled captured reference` adds the same layer under `torch.compile`, its two passes captured as CUDA graphs, and its plain reference.
Agreement: largest difference of answers and of every gradient, relative to the largest entry, in float64 over `--checked` tokens.
"""
import argparse
import json
import statistics
import sys
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path

import torch
from halting import hardware
from titans_model import once
from titans_pytorch import NeuralMemory as PeerMemory

from latent_lab.blocks.memory import NeuralMemory

RESULTS = Path(__file__).parent/'results'
WEIGHTS = {'norm.gamma': 'scale', 'model.weights.0': 'first', 'model.weights.1': 'second'}


def parse():
    "What is measured, and where"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', choices=['cpu', 'cuda'])
    parser.add_argument('--width', type=int, default=384)
    parser.add_argument('--chunk', type=int, default=4, help='tokens that write together')
    parser.add_argument('--block', type=int, default=128, help='tokens measured against the same weights')
    parser.add_argument('--heads', type=int, default=1, help='memories side by side, which share the width')
    parser.add_argument('--span', type=int, help='blocks that go by until weights are made (default: as suits the device)')
    parser.add_argument('--rows', type=int, default=8)
    parser.add_argument('--tokens', type=int, default=1024)
    parser.add_argument('--rounds', type=int, default=11, help='timed rounds')
    parser.add_argument('--checked', type=int, default=256, help='tokens over which both are compared in float64')
    parser.add_argument('--modes', nargs='+', default=['fp32'], choices=['fp32', 'tf32', 'bf16'], help='bf16: autocast')
    parser.add_argument('--also', nargs='+', default=[], choices=['compiled', 'captured', 'reference'])
    parser.add_argument('--out', type=Path, help='JSON file (default: results/titans_memory_{cpu,gpu}.json beside this script)')
    return parser.parse_args()


def twins(args, dtype):
    "Ours and the peer, with the same options and weights, and pairs of parameters"
    torch.manual_seed(0)
    ours = NeuralMemory(args.width, heads=args.heads, chunk_size=args.chunk, block_size=args.block, form='dual', span=args.span).to(args.device, dtype)
    peer = PeerMemory(args.width, heads=args.heads, dim_head=args.width//args.heads, chunk_size=args.chunk, batch_size=args.block, default_step_transform_max_lr=ours.max_rate).to(args.device, dtype)
    for p in peer.memory_model_parameters: p.data = p.data.clone()   # one for each head, not one seen by all
    pairs = [(ours.read_norm.weight, peer.retrieve_norm.weight), (ours.write_norm.weight, peer.store_norm.weight)]
    pairs += [(ours.to_query.weight, peer.to_queries.weight), (ours.to_key.weight, peer.to_keys.weight), (ours.to_value.weight, peer.to_values.weight)]
    pairs += [(ours.initial[WEIGHTS[name]], p) for name, p in zip(peer.memory_model_parameter_names, peer.memory_model_parameters, strict=True)]
    for name, theirs in (('rate', peer.to_adaptive_step), ('momentum', peer.to_momentum), ('forget', peer.to_decay_factor)):
        pairs += [(ours.to_rates[name].weight, theirs[0].weight), (ours.to_rates[name].bias, theirs[0].bias)]
    if args.heads > 1: pairs += [(ours.gate.weight, peer.retrieve_gate[0].weight), (ours.combine.weight, peer.combine_heads.weight)]
    with torch.no_grad():
        for a, b in pairs:
            if a.abs().max() == 0: a.normal_(std=.01)                # rates that differ from token to token
            b.copy_(a)
    assert len(pairs) == len(list(ours.parameters()))
    return ours, peer, pairs


def inputs(args, dtype, rows, tokens):
    "Tokens, and a gradient for what is read"
    make = torch.Generator(args.device).manual_seed(1)
    x, grad = (torch.randn(rows, tokens, args.width, generator=make, device=args.device, dtype=dtype) for _ in range(2))
    return x.requires_grad_(), grad


class Reads(torch.nn.Module):
    "A memory that gives what is read alone"
    def __init__(self, memory):
        super().__init__()
        self.memory = memory

    def forward(self, x): return self.memory(x)[0]


def contenders(args, mode):
    "What makes functions that run forward and backward once"
    ours, peer, _ = twins(args, torch.float32)
    x, grad = inputs(args, torch.float32, args.rows, args.tokens)
    low = (lambda: torch.autocast(args.device, torch.bfloat16)) if mode == 'bf16' else nullcontext

    def both_ways(module):
        leaves = [x, *module.parameters()]
        def run():
            with low(): read = module(x)
            torch.autograd.grad(read, leaves, grad.to(read.dtype), allow_unused=True)
        return run

    def plain():
        layer = twins(args, torch.float32)[0]
        layer.form = 'reference'
        return both_ways(Reads(layer))

    def captured(): return both_ways(torch.cuda.make_graphed_callables(Reads(twins(args, torch.float32)[0]), (x.detach().clone().requires_grad_(),)))

    makers = {'ours': lambda: both_ways(Reads(ours)), 'titans-pytorch': lambda: both_ways(Reads(peer))}
    if 'compiled' in args.also: makers['ours, compiled'] = lambda: both_ways(torch.compile(Reads(ours), dynamic=False))
    if 'reference' in args.also: makers['ours, reference'] = plain
    if 'captured' in args.also: makers['ours, captured'] = captured
    return makers


def reserved(args):
    "Megabytes that cannot be given back: what graphs work in, and tensors"
    if args.device == 'cpu': return 0
    torch.cuda.empty_cache()
    return torch.cuda.memory_reserved()/2**20

def measure(args, mode):
    "A row for each contender; a failure is a row too"
    torch.backends.cuda.matmul.allow_tf32 = mode == 'tf32'
    rows, failed, runs, pools = {}, {}, {}, {}
    for name, make in contenders(args, mode).items():
        try:
            before = reserved(args)
            run = make()
            if 'captured' in name: pools[name] = reserved(args)-before
            for _ in range(3 if args.device == 'cuda' else 1): once(run, args.device)
            runs[name] = run
        except Exception as error: failed[name] = f'{type(error).__name__}: {str(error).strip()[:300]}'
    found = {name: [] for name in runs}
    for _ in range(args.rounds):
        for name, calls in found.items(): calls.append(once(runs[name], args.device))
    for name, calls in found.items():
        ms, peaks = zip(*calls)
        median = statistics.median(ms)
        peak = None if None in peaks else round(max(peaks)+pools.get(name, 0), 1)
        rows[name] = dict(ms=round(median, 3), least=round(min(ms), 3), most=round(max(ms), 3), tokens_per_second=round(1e3*args.rows*args.tokens/median), peak_mb=peak)
    for name, row in rows.items():
        if name == 'titans-pytorch' or 'titans-pytorch' not in rows: continue
        theirs = rows['titans-pytorch']
        row['times_faster'] = round(theirs['ms']/row['ms'], 2)
        if row['peak_mb']: row['times_less_memory'] = round(theirs['peak_mb']/row['peak_mb'], 2)
    return {**rows, **{name: dict(error=error) for name, error in failed.items()}}


def agreement(args):
    "Largest relative difference in float64, of what is read and of each gradient"
    ours, peer, pairs = twins(args, torch.float64)
    x, grad = inputs(args, torch.float64, min(args.rows, 2), args.checked)
    sides = []
    for module, parameters in zip((ours, peer), zip(*pairs)):
        read = module(x)[0]
        sides.append([read, *torch.autograd.grad(read, [x, *parameters], grad, allow_unused=True, materialize_grads=True)])
    differences = [((a-b).abs().max()/b.abs().max().clamp(min=1e-30)).item() for a, b in zip(*sides, strict=True)]
    return dict(tokens=args.checked, read=differences[0], worst_gradient=max(differences[1:]))


def main():
    "Run, print, store"
    args = parse()
    checked = agreement(args)
    print(f'float64, {checked["tokens"]} tokens: largest relative difference {checked["read"]:.1e}, in a gradient {checked["worst_gradient"]:.1e}', flush=True)
    timings = {}
    for mode in args.modes:
        timings[mode] = measure(args, mode)
        for name, row in timings[mode].items():
            print(f'{mode} {name:<16}', row.get('error') or ' '.join(f'{key} {value:,}' for key, value in row.items() if value is not None), flush=True)
    given = [word for k, word in enumerate(sys.argv[1:]) if word != '--out' and sys.argv[k] != '--out']
    shape = {name: getattr(args, name) for name in ('width', 'heads', 'chunk', 'block', 'span', 'rows', 'tokens', 'rounds')}
    report = dict(command=' '.join(['python benchmarks/titans_memory.py', *given]), hardware=hardware(args.device) | dict(titans_pytorch=version('titans-pytorch')), what=__doc__.strip().splitlines()[0], shape=shape, timings=timings, float64=checked)
    out = args.out or RESULTS/f"titans_memory_{'gpu' if args.device == 'cuda' else 'cpu'}.json"
    out.write_text(json.dumps(report, indent=1))


if __name__ == '__main__': main()
