"""A training step of the idea model with the encoder's features cached, beside the same step with the encoder in it.

    python benchmarks/idea_cache.py                      # the GPU if there is one, else the CPU
    python benchmarks/idea_cache.py --device cpu --tiny  # a look at the script itself; stores nothing

Both at the size of ModernBERT-base and GPT-2 small, from random configurations: time does not depend on what weights know. Backbones are frozen and in half precision, the parts between
them learn in float32. A step is forward, backward, clipping and AdamW; it runs as written (eager), compiled, captured as a CUDA graph, and compiled and captured. All contenders run in
one process, in turn, several rounds; a figure is the median over all steps, a ratio is of medians. What it takes to get a batch from the disk is measured apart.
"""
import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from transformers import GPT2Config, ModernBertConfig
from transformers.utils import logging

from latent_lab.models.idea import IdeaConfig, IdeaForConditionalGeneration

RESULTS = Path(__file__).parent/'results'
WAYS = 'eager', 'compiled', 'captured', 'compiled and captured'
TARGETS = {'cached, eager': 1.8, 'cached, compiled': 2.4, 'cached, captured': 2.4}    # times as fast as the eager step with the encoder


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', help='cuda or cpu')
    parser.add_argument('--batch', type=int, default=64, help='rows of a step')
    parser.add_argument('--source', type=int, default=256, help='tokens of a source text')
    parser.add_argument('--target', type=int, default=64, help='tokens of a target text')
    parser.add_argument('--ways', nargs='+', choices=WAYS, help='how steps run (default: all four; on a CPU the first two)')
    parser.add_argument('--rounds', type=int, default=5, help='times that each contender gets its turn')
    parser.add_argument('--steps', type=int, default=20, help='steps of a turn')
    parser.add_argument('--seconds', type=float, default=500, help='prepare nothing new after this long')
    parser.add_argument('--dtype', default='bfloat16', choices=['bfloat16', 'float32'], help='of the frozen backbones')
    parser.add_argument('--autocast', action='store_true', help='compute everything under bfloat16 autocast, as the Trainer does with `bf16=True`')
    parser.add_argument('--tiny', action='store_true', help='small models and few steps, to try the script')
    parser.add_argument('--output', type=Path, help='where the results go; by default results/idea_cache_<device>.json')
    args = parser.parse_args()
    if args.tiny: args.batch, args.source, args.target, args.rounds, args.steps = 4, 24, 12, 2, 3
    args.ways = args.ways or list(WAYS if args.device == 'cuda' else WAYS[:2])
    return args


def configurations(tiny):
    "The shapes of the two backbones: the published sizes, or toys"
    if not tiny: return ModernBertConfig(), GPT2Config()
    return (ModernBertConfig(vocab_size=200, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, local_attention=8, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2),
            GPT2Config(vocab_size=200, n_embd=32, n_layer=2, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=2))


def make_model(args):
    "An idea model of random weights, its backbones frozen and in half precision"
    torch.manual_seed(0)
    encoder,decoder = configurations(args.tiny)
    model = IdeaForConditionalGeneration(IdeaConfig(encoder=encoder, decoder=decoder, encoder_source=None, decoder_source=None, max_source_length=args.source, max_target_length=args.target))
    for backbone in (model.encoder.backbone, model.decoder): backbone.to(getattr(torch, args.dtype))
    return model.to(args.device).train()                    # frozen backbones stay in evaluation mode


def make_rows(args, model, count):
    "Rows of tokens: sources and targets from half of their length to all of it"
    r = np.random.default_rng(0)
    def ids(length, side): return r.integers(5, getattr(model.config, side).vocab_size, r.integers(length//2, length+1)).tolist()
    return [dict(input_ids=ids(args.source, 'encoder'), labels=ids(args.target, 'decoder')) for _ in range(count)]


def pad(rows, value, length):
    "Rows of one fixed length, which a captured step needs"
    return torch.tensor([row + [value]*(length-len(row)) for row in rows])


@torch.no_grad()
def make_batches(args, model):
    "The same rows twice: as tokens, and as features of the encoder in half precision"
    rows = make_rows(args, model, args.batch)
    ids = [row['input_ids'] for row in rows]
    source = dict(input_ids=pad(ids, 0, args.source), attention_mask=pad([[1]*len(row) for row in ids], 0, args.source))
    source = {name: x.to(args.device) for name, x in source.items()}
    labels = pad([row['labels'] for row in rows], -100, args.target).to(args.device)
    pooled = model.pooled(**source).half().float()          # as it comes back from the disk
    return dict(encoder=source | dict(labels=labels), cached=dict(pooled=pooled, labels=labels))


def loss_of(model, batch, autocast):
    "What every contender computes"
    with torch.autocast(model.device.type, torch.bfloat16, enabled=autocast): return model(**batch).loss


compiled_loss_of = torch.compile(loss_of, dynamic=False)    # compiled once for each kind of batch


class Step:
    "One optimizer step on one batch, prepared to run in one of the `WAYS`"
    def __init__(self, model, batch, way, args):
        self.model, self.batch, self.args = model, batch, args
        self.learnt = [p for p in model.parameters() if p.requires_grad]
        cuda = args.device == 'cuda'
        self.optimizer = torch.optim.AdamW(self.learnt, lr=1e-5, fused=cuda, capturable=cuda and 'captured' in way)
        self.loss_of, self.graph = compiled_loss_of if 'compiled' in way else loss_of, None
        if 'captured' in way: self.capture()

    def once(self):
        loss = self.loss_of(self.model, self.batch, self.args.autocast)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learnt, 1., foreach=True)
        self.optimizer.step()
        return loss

    def forget(self):
        for p in self.learnt: p.grad = None

    def capture(self):
        "Record a step as a CUDA graph; from then on it is only replayed"
        if self.args.device != 'cuda': raise ValueError('a CUDA graph needs a GPU')
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(4):
                self.forget()
                self.once()
        torch.cuda.current_stream().wait_stream(side)
        self.forget()                                       # gradients are made inside the graph, and overwritten by each replay
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph): self.loss = self.once()
        self.graph, self.grads = graph, [p.grad for p in self.learnt]

    def __call__(self):
        if self.graph is None:
            self.forget()
            return self.once().detach()
        self.graph.replay()
        return self.loss


def times(step, args):
    "Milliseconds of each of several steps"
    if args.device != 'cuda':
        marks = [time.perf_counter()]
        for _ in range(args.steps):
            step()
            marks.append(time.perf_counter())
        return [1e3*(b-a) for a,b in zip(marks, marks[1:])]
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(args.steps+1)]
    torch.cuda.synchronize()
    marks[0].record()
    for mark in marks[1:]:
        step()
        mark.record()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) for a,b in zip(marks, marks[1:])]


def prepare(model, batches, args, begin):
    "Every contender, warm; one that cannot be prepared is a line with its error"
    ready,rows,learnt = {},[],[p for p in model.parameters() if p.requires_grad]
    start = [p.detach().clone() for p in learnt]
    for way in args.ways:
        for kind,batch in batches.items():
            name,clock = f'{kind}, {way}', time.perf_counter()
            if clock-begin > args.seconds: rows.append(dict(name=name, error='no time was left')); continue
            try:
                step = Step(model, batch, way, args)
                for _ in range(3): step()
                with torch.no_grad(): torch._foreach_copy_(learnt, start)      # all say the loss of the same weights
                ready[name], loss = step, step().item()
                rows.append(dict(name=name, kind=kind, way=way, loss=loss, prepared_s=time.perf_counter()-clock))
            except Exception as error: rows.append(dict(name=name, kind=kind, way=way, error=f'{type(error).__name__}: {str(error).strip()[:400]}'))
            print(f'{name:<32}', rows[-1].get('error') or f"loss {rows[-1]['loss']:.5f}, ready after {rows[-1]['prepared_s']:.1f} s", flush=True)
    return ready,rows


def race(ready, args):
    "All contenders in turn, several rounds: milliseconds of every step by name"
    found = {name: [] for name in ready}
    for turn in range(args.rounds):
        for name in sorted(ready, reverse=turn % 2 == 1): found[name] += times(ready[name], args)[1:]     # the first step of a turn wakes the caches
    return found


def summary(milliseconds):
    "A median and its neighbourhood"
    low,middle,high = np.percentile(milliseconds, [10, 50, 90]).tolist()
    return dict(ms=middle, low=low, high=high, least=min(milliseconds), steps=len(milliseconds))


def ratios(rows):
    "Times as fast as the step with the encoder, run the same way; and as the eager one"
    ms = {row['name']: row['ms'] for row in rows if 'ms' in row}
    found = []
    for row in rows:
        if 'ms' not in row or row['kind'] != 'cached': continue
        line = dict(name=row['name'], same_way=ms.get(f"encoder, {row['way']}", float('nan'))/row['ms'], beside_eager=ms.get('encoder, eager', float('nan'))/row['ms'])
        if row['name'] in TARGETS: line |= dict(target=TARGETS[row['name']], met=line['beside_eager'] >= TARGETS[row['name']])
        found.append(line)
    return found


def feeding(args, model):
    "Milliseconds to collate a batch of tokens, and to read and collate one of cached features; what the first epoch costs"
    from latent_lab.train.idea import FeatureStore, PadPairs, PooledPairs, add_features, row_names, source_lengths, without_column
    rows,pad_rows = make_rows(args, model, 64*args.batch), PadPairs()
    names = row_names(row['input_ids'] for row in rows)
    width = model.config.encoder.hidden_size
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(folder)
        add_features(store, names, np.random.default_rng(0).normal(size=(len(rows), 1, width)).astype(np.float16))
        cached = PooledPairs(without_column(rows, 'input_ids'), store, store.find(names), source_lengths(rows))
        order = np.random.default_rng(1).permutation(len(rows)).reshape(-1, args.batch).tolist()
        def clock(get):
            taken = []
            for some in order:
                begin = time.perf_counter()
                {name: x.to(args.device) for name,x in get(some).items()}
                taken.append(1e3*(time.perf_counter()-begin))
            return statistics.median(taken)
        tokens,features = clock(lambda some: pad_rows([rows[i] for i in some])), clock(lambda some: pad_rows(cached.__getitems__(some)))
    return dict(tokens_ms=tokens, cached_ms=features, bytes_a_row=2*width)


@torch.no_grad()
def first_epoch(args, model, batch):
    "Milliseconds to compute the features of a batch, once"
    source = {name: x for name,x in batch.items() if name != 'labels'}
    model.pooled(**source)
    return statistics.median(times(lambda: model.pooled(**source), args))


def machine(args):
    "What the numbers were taken on"
    import transformers
    cuda = args.device == 'cuda'
    name = torch.cuda.get_device_name() if cuda else f'{platform.machine()}, {torch.get_num_threads()} threads'
    return dict(device=name, torch=torch.__version__, transformers=transformers.__version__, cuda=torch.version.cuda if cuda else None, python=platform.python_version())


def save(path, result):
    "Write beside, then rename"
    if path is None: return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix('.draft')
    draft.write_text(json.dumps(result, indent=1) + '\n')
    draft.replace(path)


def place(args):
    "Where the results go: a trial stores nothing unless told where"
    if args.output or args.tiny: return args.output
    device = torch.cuda.get_device_name().split()[-1].lower() if args.device == 'cuda' else 'cpu'
    return RESULTS/f'idea_cache_{device}.json'


def main():
    args,begin = parse(), time.perf_counter()
    logging.set_verbosity_error()
    torch.set_float32_matmul_precision('high')
    model = make_model(args)
    batches = make_batches(args, model)
    result = dict(what='a training step of the idea model: forward, backward, clipping, AdamW', command=' '.join(['python benchmarks/idea_cache.py', *sys.argv[1:]]), hardware=machine(args),
                  batch=args.batch, source=args.source, target=args.target, prefix=model.config.prefix_len, backbones=args.dtype, autocast=args.autocast, tiny=args.tiny,
                  parameters=dict(encoder=model.encoder.backbone.num_parameters(), decoder=model.decoder.num_parameters(), learnt=sum(p.numel() for p in model.parameters() if p.requires_grad)))
    result['feeding'] = feeding(args, model)
    result['first_epoch_ms'] = first_epoch(args, model, batches['encoder'])
    ready,rows = prepare(model, batches, args, begin)
    result['rows'] = rows
    save(place(args), result)                               # safe before the race begins
    for name,milliseconds in race(ready, args).items(): next(row for row in rows if row['name'] == name).update(summary(milliseconds))
    result['ratios'], result['seconds'] = ratios(rows), time.perf_counter()-begin
    if args.device == 'cuda': result['peak_gb'] = torch.cuda.max_memory_allocated()/2**30
    save(place(args), result)
    print(f"\n{'':<32} {'ms':>8} {'10 %':>8} {'90 %':>8}")
    for row in rows:
        if 'ms' in row: print(f"{row['name']:<32} {row['ms']:8.2f} {row['low']:8.2f} {row['high']:8.2f}")
    print(f"\nreading a batch: tokens {result['feeding']['tokens_ms']:.2f} ms, cached features {result['feeding']['cached_ms']:.2f} ms; computing features, once: {result['first_epoch_ms']:.2f} ms\n")
    print(f"{'times as fast':<32} {'same way':>9} {'eager':>9}")
    for line in result['ratios']: print(f"{line['name']:<32} {line['same_way']:9.2f} {line['beside_eager']:9.2f}" + (f"   target {line['target']}: {'met' if line['met'] else 'missed'}" if 'target' in line else ''))


if __name__ == '__main__': main()
