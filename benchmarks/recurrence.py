"""The gated leaky recurrence beside PyTorch's own recurrent layers, in one process.

    python benchmarks/recurrence.py --device cpu
    python benchmarks/recurrence.py --device cuda

Every round times each contender, forward and backward, with gradients for the tokens and for all weights; the
figure is the median over the rounds. On a GPU calls follow each other without waiting, as in training, up to ten in 20 ms; the time of a
call that is waited for is stored beside it; sizes of at most 512 tokens, where starting the work may take longer than the work, also run captured as CUDA graphs. `ours` is the whole layer, the product W_z z + b included, as it is in the rivals; `ours (function)` is
the recurrence alone, given z and u. Relative errors are against the plain PyTorch reference in float64.
"""
import argparse
import copy
import json
import os
import statistics
import sys
import time
from importlib.metadata import version

import torch
from halting import hardware
from torch import nn

from latent_lab.blocks.recurrence import LeakyGatedRecurrence, recurrence

SIZES = {'cpu': [(64, 32, 512), (64, 1, 512), (64, 32, 2048), (128, 32, 512), (256, 32, 512)],
         'cuda': [(d, b, n) for d in (64, 128, 256) for b in (32, 128, 256) for n in (512, 2048, 8192)]}
CHECKED = {'cpu': [(64, 32, 512), (128, 32, 512), (256, 32, 512)],
           'cuda': [(64, 32, 2048), (128, 32, 2048), (256, 32, 2048), (64, 32, 8192), (256, 256, 8192)]}
HEADLINE = {'cpu': (64, 32, 512), 'cuda': (64, 32, 2048)}


def contenders(d, b, n, device, loop):
    "Functions that run forward and backward once"
    x, grad = (torch.randn(b, n, d, device=device) for _ in range(2))
    ours, gru, rnn = (m.to(device) for m in (LeakyGatedRecurrence(d), nn.GRU(d, d, batch_first=True), nn.RNN(d, d, batch_first=True)))

    def layer(module):
        leaves = [x.requires_grad_(), *module.parameters()]
        return lambda: torch.autograd.grad(module(x)[0], leaves, grad)

    def tf32(allowed, run):
        def both():
            torch.backends.cudnn.allow_tf32 = allowed
            run()
        return both

    u = torch.randn_like(x).requires_grad_()
    given = [x.requires_grad_(), u, ours.from_state.weight, ours.alpha.detach().requires_grad_()]
    runs = {'ours': layer(ours), 'ours (function)': lambda: torch.autograd.grad(recurrence(*given)[0], given, grad)}
    if device == 'cpu': runs |= {'nn.GRU': layer(gru), 'nn.RNN': layer(rnn)}
    else:
        for name, module in {'nn.GRU': gru, 'nn.RNN': rnn}.items():
            runs |= {name: tf32(True, layer(module)), f'{name}, no TF32': tf32(False, layer(module))}
        if n <= 512:
            for name, module in {'ours, captured': ours, 'nn.GRU, captured': gru, 'nn.RNN, captured': rnn}.items(): runs[name] = captured(module, x, grad)
    if loop: runs['plain loop'] = lambda: torch.autograd.grad(recurrence(*given, kernel='reference')[0], given, grad)
    return runs


class States(nn.Module):
    "A recurrent layer that gives its states alone"
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x): return self.module(x)[0]


def captured(module, x, grad):
    "Forward and backward as two CUDA graphs, as `torch.cuda.make_graphed_callables` makes them: nothing is started from Python but the graphs"
    torch.backends.cudnn.allow_tf32 = True
    module = copy.deepcopy(module)
    if isinstance(module, nn.RNNBase): module.flatten_parameters()
    states = torch.cuda.make_graphed_callables(States(module), (x.detach().clone().requires_grad_(),))
    leaves = [x, *states.parameters()]
    return lambda: torch.autograd.grad(states(x), leaves, grad)


def milliseconds(run, device, calls=1):
    "Time of a call, the mean of a few that follow each other without waiting, as in training"
    if device == 'cpu':
        start = time.perf_counter()
        for _ in range(calls): run()
        return 1e3*(time.perf_counter()-start)/calls
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(calls): run()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end)/calls


def medians(runs, device, rounds):
    "Median milliseconds of each contender, timed in turn: calls in a row, and one call alone"
    rows, alone = ({name: [] for name in runs} for _ in range(2))
    calls = {}
    for name, run in runs.items():
        for _ in range(1 if name == 'plain loop' else 3): took = milliseconds(run, device)
        calls[name] = 1 if device == 'cpu' else max(1, min(10, int(20/took)))
    for k in range(rounds):
        for name, run in runs.items():
            if name == 'plain loop' and k > 2: continue
            alone[name].append(milliseconds(run, device))
            rows[name].append(milliseconds(run, device, calls[name]) if calls[name] > 1 else alone[name][-1])
    return tuple({name: statistics.median(values) for name, values in found.items()} for found in (rows, alone))


def errors(d, b, n, device):
    "Relative errors of the states and of every gradient against float64"
    torch.manual_seed(1)
    z, u, grad = (torch.randn(b, n, d, device=device, dtype=torch.float64).float() for _ in range(3))
    weight = nn.Linear(d, d, bias=False).to(device).weight.detach()
    parts = dict(z=z, u=u, weight=weight, alpha=torch.full((d,), .1, device=device), initial=torch.randn(b, d, device=device).tanh())

    def run(dtype, kernel):
        leaves = [p.to(dtype).requires_grad_() for p in parts.values()]
        h, _ = recurrence(*leaves, kernel=kernel)
        return h, *torch.autograd.grad(h, leaves, grad.to(dtype))

    pairs = zip(['states', *parts], run(torch.float32, 'auto'), run(torch.float64, 'reference'))
    return {name: ((a.double()-w).norm()/w.norm()).item() for name, a, w in pairs}


def versions(device):
    "Of what stands behind the rivals and our kernels"
    return dict(cudnn=torch.backends.cudnn.version()) if device == 'cuda' else dict(numba=version('numba'))


def main():
    "Run, print a table, store the results"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('--rounds', type=int, default=11, help='timed rounds for each size')
    parser.add_argument('--only', type=int, nargs=3, metavar=('D', 'B', 'N'), help='one size instead of all')
    parser.add_argument('--out', help='JSON file (default: results/recurrence_{cpu,h200}.json beside this script)')
    args = parser.parse_args()
    sizes = [tuple(args.only)] if args.only else SIZES[args.device]
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'results')
    out = args.out or os.path.join(here, f"recurrence_{'cpu' if args.device == 'cpu' else 'h200'}.json")
    rows = []
    for d, b, n in sizes:
        head = (d, b, n) == HEADLINE[args.device]
        torch.manual_seed(0)
        ms, alone = medians(contenders(d, b, n, args.device, head), args.device, args.rounds)
        ratios = {name: round(t/ms['ours'], 2) for name, t in ms.items() if not name.startswith('ours')}
        if 'ours, captured' in ms: ratios |= {name: round(t/ms['ours, captured'], 2) for name, t in ms.items() if name.endswith('captured') and not name.startswith('ours')}
        tidy = lambda times: {name: round(t, 4) for name, t in times.items()}
        rows.append(dict(d=d, b=b, n=n, ms=tidy(ms), ms_of_one_call_alone=tidy(alone), times_slower_than_ours=ratios))
        print(f'd={d:<4} b={b:<4} n={n:<5}', '  '.join(f'{k} {v:.2f} ms' + (f' (x{ratios[k]:.1f})' if k in ratios else '') for k, v in ms.items()), flush=True)
    checked = {}
    for d, b, n in sizes if args.only else CHECKED[args.device]:
        checked[f'd={d} b={b} n={n}'] = found = errors(d, b, n, args.device)
        print(f'd={d} b={b} n={n} relative errors', ' '.join(f'{k} {v:.1e}' for k, v in found.items()), flush=True)
    given = [word for k, word in enumerate(sys.argv[1:]) if word != '--out' and sys.argv[k] != '--out']
    report = dict(command=' '.join(['python benchmarks/recurrence.py', *given]), hardware=hardware(args.device) | versions(args.device), rounds=args.rounds,
                  what=__doc__.strip().splitlines()[0], timings=rows, relative_errors=checked)
    with open(out, 'w') as f: json.dump(report, f, indent=1)


if __name__ == '__main__': main()
