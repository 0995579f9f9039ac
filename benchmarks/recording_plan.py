"""Is a recording as large, and as long, as its plan said?

    python benchmarks/recording_plan.py                                   # by the clock on the wall, on a machine that does nothing else
    python benchmarks/recording_plan.py --clock process --threads 1       # by the processor time of this process, which others hardly move

Plans a recording, makes it, and weighs and times it, in memory and on a disk: models of this package, and causal language models of Hugging Face with random
weights. Each is planned and made several times in turn; medians are compared.
"""
import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from latent_lab import hub, planner
from latent_lab.planner import plan_recording
from latent_lab.trace import record

RESULTS = Path(__file__).parent/'results'/'recording_plan.json'


def folder_bytes(path): return sum(file.stat().st_size for file in Path(path).rglob('*') if file.is_file())


def cases():
    "Name, model, and token ids of texts of different lengths"
    rng, none = np.random.default_rng(0), dict(bos_token_id=None, eos_token_id=None)
    def rows(count, least, most, words): return [dict(input_ids=rng.integers(4, words, n).tolist()) for n in rng.integers(least, most+1, count)]
    torch.manual_seed(0)
    yield 'reasoner-tiny, 400 texts of 64 to 256 tokens', hub.load('reasoner-tiny'), rows(400, 64, 256, 60)
    yield 'titans-tiny, 200 texts of 16 to 128 tokens', hub.load('titans-tiny'), rows(200, 16, 128, 500)
    yield 'GPT-2 of 6 layers and 384 features, 120 texts of 16 to 256 tokens', GPT2LMHeadModel(GPT2Config(n_embd=384, n_layer=6, n_head=6, vocab_size=8000, **none)), rows(120, 16, 256, 8000)
    yield 'Llama of 4 layers and 256 features, 120 texts of 256 to 1,024 tokens', LlamaForCausalLM(LlamaConfig(hidden_size=256, intermediate_size=688, num_hidden_layers=4, num_attention_heads=4, vocab_size=4000, **none)), rows(120, 256, 1024, 4000)


def compare(name, model, rows, where, rounds, clock):
    "One row: what was said, what was found"
    planned, made, asked = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            store = f'{folder}/x.zarr' if where == 'disk' else None
            start = clock()
            plan = plan_recording(model, rows, store).check()
            asked.append(clock()-start), planned.append(plan.seconds)
            start = clock()
            trace = record(model, rows, store, progress=False)
            made.append(clock()-start)
            found = folder_bytes(store) if store else trace.nbytes
    said, took = statistics.median(planned), statistics.median(made)
    return dict(case=name, where=where, bytes_said=plan.bytes, bytes_found=found, bytes_off=plan.bytes/found-1, seconds_said=said, seconds_taken=took, seconds_off=said/took-1,
                each_said=planned, each_taken=made, seconds_to_plan=statistics.median(asked))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--clock', choices=['wall', 'process'], default='wall')
    parser.add_argument('--output', type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.perf_counter if options.clock == 'wall' else time.process_time
    planner.time = SimpleNamespace(perf_counter=clock)          # the plan measures with the same clock
    found = []
    for name, model, rows in cases():
        for where in ('memory', 'disk'):
            found.append(row := compare(name, model, rows, where, options.rounds, clock))
            print(f'{row["case"]}, {where}: {row["bytes_said"]/1e6:.1f} MB said, {row["bytes_found"]/1e6:.1f} found ({row["bytes_off"]:+.1%}); {row["seconds_said"]:.2f} s said, {row["seconds_taken"]:.2f} taken ({row["seconds_off"]:+.1%}); planned in {row["seconds_to_plan"]:.2f} s', flush=True)
    processor = next((line.split(':')[1].strip() for line in open('/proc/cpuinfo') if line.startswith('model name')), platform.machine())
    hardware = dict(device=processor, threads=options.threads, load=os.getloadavg()[0], python=platform.python_version(), torch=torch.__version__)
    options.output.write_text(json.dumps(dict(command=' '.join(['python benchmarks/recording_plan.py', *sys.argv[1:]]), clock=options.clock, hardware=hardware, rows=found), indent=1) + '\n')


if __name__ == '__main__': main()
