"""Windowed attention beside full causal attention: forward and backward, in one process.

    python benchmarks/attention.py                 # the GPU if there is one, else the CPU
    python benchmarks/attention.py --device cpu    # writes benchmarks/results/attention_cpu.json

On a GPU, in bf16: FlexAttention and block attention with a window, beside PyTorch's full causal attention (flash and, where it runs, cuDNN).
On a CPU, in fp32: block attention beside the same full attention. Ratios are of medians.
"""
import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from latent_lab.blocks.attention import attend

RESULTS = Path(__file__).parent / 'results'


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', help='cuda or cpu')
    parser.add_argument('--lengths', type=int, nargs='+', help='tokens (default: 16k to 256k on a GPU, 1k to 16k on a CPU)')
    parser.add_argument('--window', type=int, default=512, help='tokens in a window')
    parser.add_argument('--heads', type=int, default=4)
    parser.add_argument('--head-dim', type=int, default=64, help='features of a head')
    parser.add_argument('--seconds', type=float, default=80, help='start nothing new after this long')
    parser.add_argument('--output', type=Path, help='where the results go')
    return parser.parse_args()


def full_attention(backend=None):
    "Full causal attention by one of PyTorch's kernels, or by the one that PyTorch picks"
    def run(q, k, v, positions):
        if backend is None: return scaled_dot_product_attention(q, k, v, is_causal=True)
        with sdpa_kernel(backend): return scaled_dot_product_attention(q, k, v, is_causal=True)
    return run


def windowed(backend, kind, window):
    "Our attention under the mask `kind`, through the same door that models use"
    def run(q, k, v, positions): return attend(q, k, v, positions, positions, kind, window, backend=backend)
    return run


def contestants(device, window):
    "Who runs, in this order: (name, mask, function)"
    ours = [(backend, kind, windowed(backend, kind, window))
            for kind in ('sliding', 'chunked') for backend in (('flex', 'banded') if device == 'cuda' else ('banded',))]
    if device == 'cpu': return [('sdpa', 'full', full_attention()), *ours]
    return [('flash', 'full', full_attention(SDPBackend.FLASH_ATTENTION)), *ours, ('cudnn', 'full', full_attention(SDPBackend.CUDNN_ATTENTION))]


def inputs(n, args, dtype, batch=1, seed=0):
    "Questions, keys, values, a gradient for the answers, and positions"
    make = torch.Generator(args.device).manual_seed(seed)
    shape = batch, args.heads, n, args.head_dim
    q,k,v,grad = (torch.randn(shape, generator=make, device=args.device, dtype=dtype) for _ in range(4))
    return [x.requires_grad_() for x in (q, k, v)], grad, torch.arange(n, device=args.device).expand(batch, -1)


def both_ways(run, qkv, grad, positions):
    "Forward and backward once: the answers and the three gradients"
    y = run(*qkv, positions)
    return y, *torch.autograd.grad(y, qkv, grad)


def milliseconds(step, device):
    "How long one step takes"
    if device == 'cpu':
        begin = time.perf_counter()
        step()
        return 1e3 * (time.perf_counter() - begin)
    begin,end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    step()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end)


def measure(run, n, args, dtype):
    "Median time of forward and backward, and the most memory held beyond the inputs"
    qkv,grad,positions = inputs(n, args, dtype)
    def step(): both_ways(run, qkv, grad, positions)
    cuda = args.device == 'cuda'
    begin = time.perf_counter()
    first = milliseconds(step, args.device)                            # compilation is in here
    warm = milliseconds(step, args.device)
    if cuda:
        held = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    repeats = max(3, min(21, int(2000 / warm)))
    times = [milliseconds(step, args.device) for _ in range(repeats)]
    row = dict(ms=statistics.median(times), least=min(times), most=max(times), repeats=repeats, first_ms=first,
               wall_s=time.perf_counter() - begin)
    if cuda: row['extra_mb'] = (torch.cuda.max_memory_allocated() - held) / 2**20
    return row


def time_all(args, lengths, dtype, begin):
    "One row for every contestant and length, longest first; a failure is a row too"
    rows = []
    for name,kind,run in contestants(args.device, args.window):
        torch.compiler.reset()                                        # each starts cold, at its longest
        for n in sorted(lengths, reverse=True):
            if time.perf_counter() - begin > args.seconds: break
            row = dict(n=n, kind=kind, backend=name)
            try: row |= measure(run, n, args, dtype)
            except Exception as error: row['error'] = f'{type(error).__name__}: {str(error).strip()[:300]}'
            rows.append(row)
            shown = f"{row['ms']:10.2f} ms" if 'ms' in row else row['error'].splitlines()[0][:100]
            print(f"{n:>8,} {kind:<8} {name:<7} {shown}   at {time.perf_counter() - begin:.0f} s", flush=True)
            if args.device == 'cuda': torch.cuda.empty_cache()
    return rows


def ratios(rows):
    "How many times faster than full attention, for every length, ours and peer"
    good = [row for row in rows if 'ms' in row]
    return [dict(n=ours['n'], kind=ours['kind'], backend=ours['backend'], beside=peer['backend'], times=peer['ms'] / ours['ms'])
            for ours in good if ours['kind'] != 'full' for peer in good if peer['kind'] == 'full' and peer['n'] == ours['n']]


def compare(args, kind, backend, dtype, n=2048):
    "Largest difference from the dense reference in fp64, answers and gradients, with padding on the left, right and inside"
    qkv,grad,positions = inputs(n, args, torch.float64, batch=4)
    real = torch.ones(4, n, dtype=torch.long, device=args.device)
    real[1,:301],real[2,-77:],real[3,500:900] = 0,0,0
    positions = (real.cumsum(1) - 1).masked_fill(real == 0, -1)
    window = min(args.window, n//3)
    exact = both_ways(windowed('dense', kind, window), qkv, grad, positions)
    low = [x.detach().to(dtype).requires_grad_() for x in qkv]
    found = both_ways(windowed(backend, kind, window), low, grad.to(dtype), positions)
    return max((a.double() - b).abs().max().item() for a,b in zip(found, exact))


def check_all(args, begin):
    "Each fast path against the reference"
    rows = []
    torch.compiler.reset()
    for name,kind,_ in contestants(args.device, args.window):
        if kind == 'full' or time.perf_counter() - begin > args.seconds: continue
        row = dict(kind=kind, backend=name, dtype='float32')
        try: row['difference'] = compare(args, kind, name, torch.float32)
        except Exception as error: row['error'] = f'{type(error).__name__}: {str(error).strip()[:300]}'
        rows.append(row)
        print('fp32 beside fp64 dense, padded:', *row.values(), flush=True)
    return rows


def machine(args):
    "What the numbers were taken on"
    cuda = args.device == 'cuda'
    name = torch.cuda.get_device_name() if cuda else f'{platform.machine()}, {torch.get_num_threads()} threads'
    return dict(device=name, torch=torch.__version__, cuda=torch.version.cuda if cuda else None, python=platform.python_version())


def main():
    args = parse()
    cuda = args.device == 'cuda'
    lengths = args.lengths or ([16_384, 32_768, 65_536, 131_072, 262_144] if cuda else [1024, 4096, 16_384])
    dtype = torch.bfloat16 if cuda else torch.float32
    begin = time.perf_counter()
    output = args.output or RESULTS / ('attention_h200.json' if cuda else 'attention_cpu.json')
    result = dict(what='forward + backward, batch 1', window=args.window, heads=args.heads, head_dim=args.head_dim,
                  dtype=str(dtype).removeprefix('torch.'), **machine(args))
    result['rows'] = time_all(args, lengths, dtype, begin)
    result['ratios'] = ratios(result['rows'])
    save(output, result)                                              # safe before the checks begin
    result['checks'] = check_all(args, begin)
    result['seconds'] = time.perf_counter() - begin
    save(output, result)
    print(f"\n{'tokens':>8} {'mask':<8} {'ours':<7} {'peer':<6} times as fast")
    for row in result['ratios']: print(f"{row['n']:>8,} {row['kind']:<8} {row['backend']:<7} {row['beside']:<6} {row['times']:10.1f}")


def save(path, result):
    "Write beside, then rename"
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix('.draft')
    draft.write_text(json.dumps(result, indent=1) + '\n')
    draft.replace(path)


if __name__ == '__main__': main()
