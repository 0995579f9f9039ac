"""What a click on a token of the explorer of pondering waits for: one thought less, as it was, one thought more.

    python benchmarks/ponder_click.py

Three ways to the same answer, in one process, in turn, several rounds: everything before the token is read again, in three rows; reading starts from the nearest kept beginning of the text; and the
same where nothing has been kept yet. Answers that the explorer has prepared before they are asked for are not in it. A figure is the least, or the median, over rounds; on a busy machine the least says more.
"""
import argparse
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import torch

from latent_lab import hub
from latent_lab.data.text import tales
from latent_lab.explore.pondering import Ponder, PrefixCaches, another_thought
from latent_lab.trace import text_ids

RESULTS = Path(__file__).parent/'results'


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--checkpoint', default='titans-tiny')
    parser.add_argument('--length', type=int, default=200, help='tokens of the text')
    parser.add_argument('--tokens', type=int, nargs='+', default=[20, 60, 100, 140, 160, 190], help='which are clicked on')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=15, help='times that each way gets its turn')
    parser.add_argument('--output', type=Path, help='where the results go; by default results/ponder_click.json')
    return parser.parse_args()


def some_text(tokenizer, length):
    "The beginning of a tale, so many tokens long"
    words, text = next(words for tale in tales().split('\n\n\n') if len(text_ids(' '.join(words := tale.split()), tokenizer)) > length), ''
    for word in words:
        if len(text_ids(longer := f'{text} {word}'.strip(), tokenizer)) > length: return text
        text = longer


def once(model, ids, token, steps, prefixes):
    "Milliseconds of one answer"
    start = time.perf_counter()
    another_thought(model, ids, token, steps, prefixes=prefixes)
    return 1e3*(time.perf_counter()-start)


def processor():
    "The name of the processor"
    try: return next(line.split(':')[1].strip() for line in open('/proc/cpuinfo') if line.startswith('model name'))
    except (OSError, StopIteration): return platform.machine()


def main():
    options = parse()
    torch.set_num_threads(options.threads)
    model = hub.load(options.checkpoint)
    ponder = Ponder(model, some_text(model.tokenizer, options.length))
    ids, steps, kept = ponder.trace.token_id.values[0], ponder.trace.ponder_steps.values[0, :, 0].astype(int), ponder.prefixes
    for piece in kept.pieces(ids): kept.after(piece)
    ways = {'read again': lambda: None, 'from a kept beginning': lambda: kept, 'nothing kept yet': lambda: PrefixCaches(model, kept.every)}
    took = {(token, way): [] for token in options.tokens for way in ways}
    load = [round(os.getloadavg()[0], 2)]
    for _ in range(options.rounds+1):
        for token, way in took: took[token, way].append(once(model, ids, token, steps[token], ways[way]()))
    load.append(round(os.getloadavg()[0], 2))
    rows = [dict(token=token) | {way: dict(least=round(min(took[token, way][1:]), 1), median=round(statistics.median(took[token, way][1:]), 1)) for way in ways} for token in options.tokens]    # the first round warms up
    for row in rows: print(f'token {row["token"]:>4}   ' + '   '.join(f'{way} {row[way]["least"]:.0f} (median {row[way]["median"]:.0f}) ms' for way in ways), flush=True)
    hardware = dict(device=processor(), threads=options.threads, load=load, python=platform.python_version(), torch=torch.__version__)
    result = dict(command=' '.join(['python benchmarks/ponder_click.py', *sys.argv[1:]]), model=f'{options.checkpoint}, {len(ids)} tokens', hardware=hardware, rows=rows)
    (options.output or RESULTS/'ponder_click.json').write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__': main()
