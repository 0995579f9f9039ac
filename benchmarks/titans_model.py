"""A training step of the whole Titans beside that of a plain Transformer of the same width and depth, in one process.

    python benchmarks/titans_model.py --device cuda
    python benchmarks/titans_model.py --device cuda --also compiled captured
    python benchmarks/titans_model.py --device cpu --rows 1 --rounds 3

A step is forward, backward and AdamW over rows without padding, under bfloat16 autocast on a GPU and in float32 on a CPU. The plain Transformer attends to everything, or through the window that Titans has. Titans has a memory in
three layers, which speaks as context, and in one layer tokens think, up to eight times; beside it stand the same without thinking, without memory, and without either. Where it is installed, `MemoryAsContextTransformer` of titans-pytorch
is the third, with memories in as many layers, and the same chunk and block. Every round times each contender once, in turn; figures are of the median step. On a GPU the peak is the most memory that was allocated during a step, beyond
what was there before it (weights, gradients and AdamW's sums); on a CPU it is not measured. `--also compiled` adds `torch.compile` of the models; `--also captured` adds forward and backward captured as one CUDA graph.
"""
import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch
from halting import hardware

from latent_lab.models.baselines import PlainTransformerConfig, PlainTransformerForCausalLM
from latent_lab.models.titans import TitansConfig, TitansForCausalLM

RESULTS = Path(__file__).parent/'results'


def parse():
    "What is measured, and where"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', choices=['cpu', 'cuda'])
    parser.add_argument('--width', type=int, default=512)
    parser.add_argument('--layers', type=int, default=12)
    parser.add_argument('--heads', type=int, default=8)
    parser.add_argument('--window', type=int, default=256, help='tokens in a window')
    parser.add_argument('--memories', type=int, nargs='+', default=[2, 5, 8], help='layers with a memory')
    parser.add_argument('--thinks', type=int, nargs='+', default=[6], help='layers in which tokens think')
    parser.add_argument('--chunk', type=int, default=8, help='tokens that write together')
    parser.add_argument('--block', type=int, default=64, help='tokens measured against the same weights')
    parser.add_argument('--vocabulary', type=int, default=4096)
    parser.add_argument('--rows', type=int, default=16)
    parser.add_argument('--tokens', type=int, default=1024)
    parser.add_argument('--rounds', type=int, default=7, help='timed rounds')
    parser.add_argument('--only', nargs='+', help='only these contenders, by name')
    parser.add_argument('--also', nargs='+', default=[], choices=['compiled', 'captured'])
    parser.add_argument('--out', type=Path, help='JSON file (default: results/titans_model_{cpu,cuda}.json beside this script)')
    return parser.parse_args()


def plain(args, kind):
    "A Transformer over the tokens"
    return PlainTransformerForCausalLM(PlainTransformerConfig(vocab_size=args.vocabulary, attn_dim=args.width, num_hidden_layers=args.layers, num_attention_heads=args.heads, dropout=0., attention=kind, chunk_size=args.window))


def titans(args, memories=True, thinks=True):
    "Ours, with or without"
    return TitansForCausalLM(TitansConfig(vocab_size=args.vocabulary, attn_dim=args.width, num_hidden_layers=args.layers, num_attention_heads=args.heads, dropout=0., chunk_size=args.window, memory_layers=args.memories if memories else [],
                                          reasoning_layers=args.thinks if thinks else [], memory_chunk_size=args.chunk, memory_block_size=args.block))


def peer(args):
    "The published one that can be installed; its layers are numbered from 1"
    from titans_pytorch import MemoryAsContextTransformer
    return MemoryAsContextTransformer(num_tokens=args.vocabulary, dim=args.width, depth=args.layers, segment_len=args.window, heads=args.heads, dim_head=args.width//args.heads, num_persist_mem_tokens=4, num_longterm_mem_tokens=0,
                                      neural_memory_layers=tuple(i+1 for i in args.memories), neural_memory_segment_len=args.chunk, neural_memory_batch_size=args.block, num_residual_streams=1, sliding_window_attn=True)


def makers(args):
    "What makes each contender, by name"
    found = {'plain, full': lambda: plain(args, 'full'), 'plain, sliding': lambda: plain(args, 'sliding'), 'titans': lambda: titans(args), 'titans without thinking': lambda: titans(args, thinks=False),
             'titans without memory': lambda: titans(args, memories=False), 'titans without either': lambda: titans(args, False, False)}
    ours = list(found)
    try: import titans_pytorch
    except ImportError: print('titans-pytorch is not installed', flush=True)
    else: found['titans-pytorch'] = lambda: peer(args)
    for how in args.also: found |= {f'{name}, {how}': found[name] for name in ours if name in ('plain, full', 'plain, sliding', 'titans', 'titans without thinking')}
    if args.only and (unknown := set(args.only) - set(found)): sys.exit(f'`--only` names {", ".join(sorted(unknown))}; there are: {"; ".join(found)}')
    return {name: make for name, make in found.items() if not args.only or name in args.only}


def captured(forward, model):
    "Forward and backward as one CUDA graph"
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            model.zero_grad(set_to_none=True)
            forward().backward()
    torch.cuda.current_stream().wait_stream(side)
    model.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = forward()
        loss.backward()
    def replay():
        graph.replay()
        return loss
    return replay


def step_of(name, make, args, x):
    "A training step, and the model"
    torch.manual_seed(0)
    model = make().to(args.device).train()
    ours = hasattr(model, 'latent_axes')
    run = torch.compile(model, dynamic=False) if name.endswith(', compiled') else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=args.device == 'cuda')
    def forward():
        with torch.autocast(args.device, torch.bfloat16, enabled=args.device == 'cuda', cache_enabled=not name.endswith(', captured')):
            return run(input_ids=x, labels=x).loss if ours else run(x, return_loss=True)
    if name.endswith(', captured'): both = captured(forward, model)
    else:
        def both():
            optimizer.zero_grad(set_to_none=True)
            loss = forward()
            loss.backward()
            return loss
    def step():
        loss = both()
        optimizer.step()
        return loss
    return step, model


def once(step, device):
    "Milliseconds and peak megabytes of one step"
    if device == 'cpu':
        start = time.perf_counter()
        step()
        return 1e3*(time.perf_counter()-start), None
    torch.cuda.synchronize()
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    step()
    torch.cuda.synchronize()
    return 1e3*(time.perf_counter()-start), (torch.cuda.max_memory_allocated()-held)/2**20


def prepared(args, x):
    "Steps that have run three times, what the models are, and what would not run"
    steps, facts, failed = {}, {}, {}
    for name, make in makers(args).items():
        begin = time.perf_counter()
        try:
            step, model = step_of(name, make, args, x)
            losses = [step().item() for _ in range(3 if args.device == 'cuda' else 1)]
        except Exception as error:               # one that fails must not keep the others from being measured
            failed[name] = f'{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ""}'
            print(f'{name:<28} failed: {failed[name]}', flush=True)
            continue
        steps[name] = step
        facts[name] = dict(parameters=sum(p.numel() for p in model.parameters()), first_loss=round(losses[0], 4), seconds_to_warm_up=round(time.perf_counter()-begin, 1))
        print(f'{name:<28} {facts[name]["parameters"]:>12,} parameters, first loss {losses[0]:.3f}, warm after {facts[name]["seconds_to_warm_up"]} s', flush=True)
    return steps, facts, failed


def measured(args, steps, facts):
    "Medians of rounds in which each contender has one turn"
    times, peaks = {name: [] for name in steps}, {name: [] for name in steps}
    for _ in range(args.rounds):
        for name, step in steps.items():
            ms, peak = once(step, args.device)
            times[name].append(ms), peaks[name].append(peak)
    rows = {}
    for name in steps:
        ms = statistics.median(times[name])
        rows[name] = facts[name] | dict(ms=round(ms, 3), least_ms=round(min(times[name]), 3), tokens_a_second=round(1e3*args.rows*args.tokens/ms), peak_mb=None if peaks[name][0] is None else round(statistics.median(peaks[name]), 1))
    for row in rows.values(): row['of_plain'] = {base.removeprefix('plain, '): round(rows[base]['ms']/row['ms'], 3) for base in rows if base.startswith('plain')}
    return rows


def main():
    "Run, print, store the results"
    args = parse()
    if 'captured' in args.also and args.device == 'cpu': sys.exit('`--also captured` needs a GPU')
    before = hardware(args.device)
    x = torch.randint(0, args.vocabulary, (args.rows, args.tokens), generator=torch.Generator().manual_seed(0)).to(args.device)
    steps, facts, failed = prepared(args, x)
    rows = measured(args, steps, facts)
    for name, row in rows.items():
        beside = ', '.join(f'{ratio:.2f} of {base}' for base, ratio in row['of_plain'].items())
        print(f"{name:<28} {row['ms']:>10.1f} ms  {row['tokens_a_second']:>10,} tokens/s  {'' if row['peak_mb'] is None else str(round(row['peak_mb'])) + ' MB  '}{beside}", flush=True)
    given = [word for k, word in enumerate(sys.argv[1:]) if word != '--out' and sys.argv[k] != '--out']
    report = dict(command=' '.join(['python benchmarks/titans_model.py', *given]), what=__doc__.strip().splitlines()[0], hardware=before, setting={name: value for name, value in vars(args).items() if name != 'out'}, steps=rows, failed=failed)
    out = args.out or RESULTS/f'titans_model_{args.device}.json'
    out.write_text(json.dumps(report, indent=1))


if __name__ == '__main__': main()
