"""The halting loop beside the plain masked loop over all thoughts, in one process.

    python benchmarks/halting.py --device cpu
    python benchmarks/halting.py --device cuda
    python benchmarks/halting.py --device cpu --attempts --thoughts mlp --tokens 8192

Tokens stop after 2.5 of at most 8 thoughts in the mean, told by a learned head whose bias is found beforehand. The plain loop is what one would write first: every
thought for every token, and `torch.where` keeps those that have stopped. Beside it stand the loops of `ponder`: compact (rows that have stopped are left out), dense,
and on a GPU dense and compiled, with and without CUDA graphs. A thought is h + MLP(LN(h)), two linear layers, or a GRU that reads the token. Every round times each contender in turn;
figures are medians, forward alone (without a graph, as in generation) and forward with backward, with gradients for the tokens and for all weights. On a GPU calls follow each other without waiting, up to ten in 20 ms.
On a CPU the process keeps the memory that it frees (mallopt), for all contenders alike: where giving it back and asking again is slow, nothing else is measured. There the time that the processor spent is told beside the time that passed: others who use the machine
make the second longer, and that of the longest call most. `--attempts` adds what was tried to be faster still, and the thoughts alone, without a loop around them. Relative errors are against the plain loop in float64.
"""
import argparse
import ctypes
import json
import os
import platform
import statistics
import sys
import time
from functools import partial

import torch
from torch import nn

from latent_lab.blocks.halting import ACT, ponder

MOST, MEAN = 8, 2.5
SIZES = {'cpu': [('mlp', 2048), ('mlp', 8192), ('gru', 2048)], 'cuda': [('mlp', 8192), ('mlp', 32768), ('gru', 8192), ('gru', 32768)]}


class Think(nn.Module):
    "One thought about each token by itself: (state, what the token says) -> next state"
    def __init__(self, kind, width):
        super().__init__()
        self.kind = kind
        if kind == 'gru': self.cell = nn.GRUCell(width, width)
        else: self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, h, c):
        if self.kind == 'mlp': return h + self.mlp(h)
        return self.cell(c.flatten(0, -2), h.flatten(0, -2)).view_as(h)


def plain(think, c, rule):
    "Every thought for every token, as one would write it: the mean of the states, thoughts and remainders"
    h, out = c, torch.zeros_like(c, dtype=torch.promote_types(c.dtype, torch.float32))
    total = torch.zeros(c.shape[:2], device=c.device, dtype=out.dtype)
    running, steps, remainder = torch.ones_like(total, dtype=torch.bool), torch.zeros_like(total), torch.zeros_like(total)
    for k in range(1, rule.max_steps+1):
        h = torch.where(running[..., None], think(h, c), h)
        p = torch.sigmoid(rule.head(h).to(total.dtype)).squeeze(-1)
        stops = running & ((total+p >= 1-rule.epsilon) | (k == rule.max_steps))
        w = torch.where(stops, 1-total, torch.where(running, p, 0.))
        out, steps, remainder = out + w[..., None]*h, steps + running, torch.where(stops, w, remainder)
        total, running = total + w, running & ~stops
    return out.to(c.dtype), steps, remainder


def halting(way):
    "The same by `ponder`"
    def run(think, c, rule):
        told = ponder(lambda h, rows: think(h, c if rows is None else c.flatten(0, 1).index_select(0, rows)), c, rule, pointwise=True, way=way)
        return told.state, told.ponder_steps, told.remainder
    return run


def compiled(mode):
    "The dense loop through `torch.compile`"
    torch.compiler.reset()
    run = torch.compile(halting('dense'), mode=mode, fullgraph=True, dynamic=False)
    def fresh(*given):
        if mode == 'reduce-overhead': torch.compiler.cudagraph_mark_step_begin()
        return run(*given)
    return fresh


class Share(torch.autograd.Function):
    "A state times its weight, and the rows that go on; both gradients are added in place"
    @staticmethod
    def forward(ctx, new, w, on):
        ctx.save_for_backward(new, w, on)
        return w[:, None]*new, new.index_select(0, on)

    @staticmethod
    def backward(ctx, said, state):
        new, w, on = ctx.saved_tensors
        return (w[:, None]*said).index_add_(0, on, state), (said*new).sum(-1), None


def join(parts):
    "One after the other; one alone is not copied"
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def thoughts(think, c, rule, rows, state, total, numbers, record):
    "Some thoughts about some rows: what they said, and who goes on"
    said = []
    for k in numbers:
        if not len(rows): break
        new = think(state, c if len(rows) == len(c) else c.index_select(0, rows) if think.kind == 'gru' else None)
        p = rule.chance(new, state, 1-total, k)
        stops = total+p >= 1-rule.epsilon if k < rule.max_steps else torch.ones_like(rows, dtype=torch.bool)
        w, on = torch.where(stops, 1-total, p), (~stops).nonzero().flatten()
        part, state = Share.apply(new, w, on)
        said.append((part, on)), record.append((k, rows, w))
        rows, total = rows[on], (total+p)[on]
    return said, rows, state, total


def gathered(said, later):
    "The mean of the states, from the last thought back"
    for part, on in reversed(said): later = part.index_add_(0, on, later)
    return later


def attempt(block=None, first=2):
    "Fewer passes over memory around a thought; with `block` the first thoughts go block by block, so that states stay in the cache, and the few that think on go together"
    def run(think, c, rule):
        flat, record = c.flatten(0, 1), []
        none = flat.new_zeros(len(flat))
        blocks = [thoughts(think, flat, rule, rows, state, none[rows], range(1, first+1), record)
                  for rows, state in zip(torch.arange(len(flat)).split(block or len(flat)), flat.split(block or len(flat)))]
        said, rows, state, total = zip(*blocks)
        rest = thoughts(think, flat, rule, join(rows), join(state), join(total), range(first+1, rule.max_steps+1), record)[0]
        later = gathered(rest, flat[:0]).split([len(r) for r in rows])
        out, steps, remainder = join([gathered(*pair) for pair in zip(said, later)]), torch.zeros_like(none), none
        for k, rows, w in record: steps, remainder = steps.index_fill(0, rows, k), remainder.index_copy(0, rows, w)
        return tuple(x.unflatten(0, c.shape[:2]) for x in (out, steps, remainder))
    return run


def in_blocks(block):
    "The compact loop of `ponder` for one block of tokens after the other, each through all of its thoughts"
    def run(think, c, rule):
        found = zip(*[halting('compact')(think, part[None], rule) for part in c.flatten(0, 1).split(block)])
        return tuple(torch.cat(x, 1).unflatten(1, c.shape[:2])[0] for x in found)
    return run


def alone(think, c, grad, counts, way):
    "As many thoughts about as many rows, each by itself, and nothing decided, picked, weighed or added up: a loop that costs nothing"
    c, grad = c.detach().flatten(0, 1), grad.flatten(0, 1)
    for rows in counts:
        h, read = (c[:rows].detach().requires_grad_(way == 'both') for _ in range(2))
        with torch.set_grad_enabled(way == 'both'): new = think(h, read)
        if way == 'both': torch.autograd.grad(new, [h, read, *think.parameters()], grad[:rows], allow_unused=True)


ATTEMPTS = {'fewer passes': attempt()} | {f'fewer passes, blocks of {n:,}': attempt(n) for n in (1024, 2048)} | {f'compact, blocks of {n:,}': in_blocks(n) for n in (512, 2048)}


def contestants(device, attempts=False):
    "Functions of a thought, the tokens and a rule, by name"
    runs = {'plain': plain, 'compact': halting('compact'), 'dense': halting('dense'), **(ATTEMPTS if attempts else {})}
    if device == 'cuda': runs |= {'dense, compiled': compiled(None), 'dense, compiled, CUDA graphs': compiled('reduce-overhead')}
    return runs


def setting(kind, width, tokens, device, dtype, seed=0):
    "A thought, tokens in rows of up to 1,024, a rule with a mean of 2.5 thoughts, and a gradient"
    torch.manual_seed(seed)
    think, rule = Think(kind, width).to(device), ACT(width, MOST).to(device)
    n = min(tokens, 1024)
    c, grad = torch.randn(2, tokens//n, n, width, device=device).unbind(0)
    nn.init.normal_(rule.head.weight, std=2*width**-.5)
    low, high = -8., 8.
    for _ in range(14):                                    # the mean falls as the bias grows
        nn.init.constant_(rule.head.bias, (low+high)/2)
        with torch.no_grad(): mean = halting('compact')(think, c, rule)[1].float().mean().item()
        low, high = ((low+high)/2, high) if mean > MEAN else (low, (low+high)/2)
    return think.to(dtype), c.to(dtype).requires_grad_(), rule.to(dtype), grad.to(dtype)


def both_ways(run, think, c, rule, grad):
    "The answer, the thoughts of each token and all gradients, those of the head through the ponder cost too"
    leaves = [c, *think.parameters(), *rule.parameters()]
    out, steps, remainder = run(think, c, rule)
    return out, steps, *torch.autograd.grad([out, remainder], leaves, [grad, torch.full_like(remainder, 1/remainder.numel())])


def milliseconds(step, device, calls=1):
    "Time of a call, the mean of a few that follow each other without waiting"
    if device == 'cpu':
        start = time.perf_counter()
        for _ in range(calls): step()
        return 1e3*(time.perf_counter()-start)/calls
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(calls): step()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end)/calls


def medians(steps, device, rounds):
    "Median and least milliseconds of each contender, timed in turn, and those that the processor spent"
    calls, times, spent = {}, {name: [] for name in steps}, {name: [] for name in steps}
    for name, step in steps.items():
        for _ in range(4 if device == 'cuda' else 2): took = milliseconds(step, device)
        calls[name] = 1 if device == 'cpu' else max(1, min(10, int(20/took)))
    for _ in range(rounds):
        for name, step in steps.items():
            before = time.process_time()
            times[name].append(milliseconds(step, device, calls[name]))
            spent[name].append(1e3*(time.process_time()-before)/calls[name])
    return [{name: pick(values) for name, values in found.items()} for found in (times, spent) for pick in (statistics.median, min)]


def compared(ms, least):
    "Times, and ratios of medians"
    digits = lambda times: {name: round(t, 4) for name, t in times.items()}
    return dict(ms=digits(ms), least_ms=digits(least), times_as_fast_as_plain={name: round(ms['plain']/t, 2) for name, t in ms.items() if name != 'plain'})


def timed(kind, width, tokens, args, dtype):
    "One row for a thought and a number of tokens: times and ratios, forward and with backward"
    given = setting(kind, width, tokens, args.device, dtype)
    think, c, rule, grad = given
    runs = contestants(args.device, args.attempts)
    with torch.no_grad(): steps = plain(think, c, rule)[1].long()
    counts = [(steps >= k).sum().item() for k in range(1, MOST+1)]
    row = dict(thought=kind, d=width, tokens=tokens, dtype=str(dtype).removeprefix('torch.'), mean_thoughts=round(steps.float().mean().item(), 3),
               tokens_by_thoughts=steps.flatten().bincount(minlength=MOST+1)[1:].tolist(), forward={}, both={})
    def forward(run):
        with torch.no_grad(): return run(think, c, rule)
    ways = dict(forward=lambda run: lambda: forward(run), both=lambda run: lambda: both_ways(run, *given))
    print(f"{kind} d={width} {tokens} tokens, mean {row['mean_thoughts']} of {MOST} thoughts", flush=True)
    for way, made in ways.items():
        calls = {name: made(run) for name, run in runs.items()}
        if args.attempts: calls['thoughts alone'] = partial(alone, think, c, grad, counts, way)
        ms, least, *spent = medians(calls, args.device, args.rounds)
        row[way] = compared(ms, least) | (dict(processor=compared(*spent)) if args.device == 'cpu' else {})
        told = lambda times: '  '.join(f"{k} {t:.2f} ms" + ('' if k == 'plain' else f" (x{times['plain']/t:.2f})") for k, t in times.items())
        print(f'  {way:<8}', told(ms), *([f"\n  {'spent':<8} {told(spent[0])}"] if args.device == 'cpu' else []), flush=True)
    return row


def errors(kind, width, args, tokens=2048):
    "Largest relative error of the answers and the gradients of each contender in float32, and tokens that think another number of times"
    think, c, rule, grad = setting(kind, width, tokens, args.device, torch.float32)
    torch.backends.cuda.matmul.allow_tf32 = False
    found = {name: [x.detach().double().clone() for x in both_ways(run, think, c, rule, grad)] for name, run in contestants(args.device, args.attempts).items()}
    c = c.detach().double().requires_grad_()
    exact = both_ways(plain, think.double(), c, rule.double(), grad.double())
    rows = {}
    for name, (out, steps, *grads) in found.items():
        far = [((a-b).norm()/b.norm()).item() for a, b in zip((out, *grads), (exact[0], *exact[2:]))]
        rows[name] = dict(answer=far[0], worst_gradient=max(far[1:]), other_number_of_thoughts=int((steps != exact[1]).sum()))
        print(f"{kind} {tokens} tokens, {name}: relative error {far[0]:.1e}, worst gradient {max(far[1:]):.1e}, tokens with another number of thoughts {rows[name]['other_number_of_thoughts']}", flush=True)
    return rows


def keep_memory():
    "Let glibc keep freed memory instead of giving it back to the system after each large tensor"
    try: libc = ctypes.CDLL('libc.so.6')
    except OSError: return
    for parameter, value in ((-1, 2**31-1), (-3, 2**25), (-4, 0)): libc.mallopt(parameter, value)      # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX


def hardware(device):
    "What this ran on"
    versions = dict(torch=torch.__version__, python=platform.python_version())
    if device == 'cuda': return dict(device=torch.cuda.get_device_name(), cuda=torch.version.cuda, **versions)
    with open('/proc/cpuinfo') as f: names = [line.split(':')[1].strip() for line in f if line.startswith('model name')]
    return dict(device=f'{names[0]}, {len(os.sched_getaffinity(0))} cores', threads=torch.get_num_threads(), load_average=round(os.getloadavg()[0], 1), **versions)


def main():
    "Run, print, store the results"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('--rounds', type=int, default=7, help='timed rounds for each size')
    parser.add_argument('--tokens', type=int, nargs='+', help='only these numbers of tokens (default: 2,048 and 8,192 on a CPU, 8,192 and 32,768 on a GPU)')
    parser.add_argument('--width', type=int, default=512, help='features of a state')
    parser.add_argument('--thoughts', nargs='+', choices=['mlp', 'gru'], default=['mlp', 'gru'], help='what a thought is (default: both)')
    parser.add_argument('--dtype', choices=['float32', 'bfloat16'], help='default: float32 on a CPU, bfloat16 on a GPU')
    parser.add_argument('--threads', type=int, help='threads on a CPU; one where the other cores are busy (default: as many as cores)')
    parser.add_argument('--attempts', action='store_true', help='on a CPU, also what was tried to be faster, and the thoughts alone')
    parser.add_argument('--out', help='JSON file (default: results/halting_{cpu,cuda}.json beside this script)')
    args = parser.parse_args()
    if args.attempts and args.device != 'cpu': parser.error('`--attempts` is for `--device cpu`')
    dtype = getattr(torch, args.dtype or ('float32' if args.device == 'cpu' else 'bfloat16'))
    out = args.out or os.path.join(os.path.dirname(os.path.abspath(__file__)), 'results', f'halting_{args.device}.json')
    if args.threads: torch.set_num_threads(args.threads)
    before = hardware(args.device)
    if args.device == 'cpu': keep_memory()
    sizes = [(kind, tokens) for kind in args.thoughts for tokens in args.tokens] if args.tokens else [size for size in SIZES[args.device] if size[0] in args.thoughts]
    rows = [timed(kind, args.width, tokens, args, dtype) for kind, tokens in sizes]
    checked = {kind: errors(kind, args.width, args) for kind in args.thoughts}
    given = [word for k, word in enumerate(sys.argv[1:]) if word != '--out' and sys.argv[k] != '--out']
    report = dict(command=' '.join(['python benchmarks/halting.py', *given]), hardware=before, rounds=args.rounds,
                  what=__doc__.strip().splitlines()[0], timings=rows, relative_errors=checked)
    with open(out, 'w') as f: json.dump(report, f, indent=1)


if __name__ == '__main__': main()
