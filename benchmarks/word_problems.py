"""Word problems with their steps as equations, from GSM8K and from reasoning-gym's gsm_symbolic, for `thought_runs.py train words`.

    python benchmarks/word_problems.py --gsm8k gsm8k_train.jsonl --symbolic symbolic_train.jsonl symbolic_test.jsonl

A row has `question`, `steps`, `answer` (a list of `equations` beside them is taken as it is). From a step in words the equations are taken that come true: words and units go, and what stays must be a calculation and its result.
Rows without any are left out, and so are those whose last equation is not the answer. The last `--held-out` rows of GSM8K in a random order, and as many of the last symbolic file, are kept for asking.
"""
import argparse
import json
import random
import re
from pathlib import Path

from datasets import Dataset

SUM = re.compile(r'(\(*[\d.]+\)*(?:\s*[-+*/]\s*\(*[\d.]+\)*)+)\s*=\s*([\d.]+)')


def number(text):
    "What a calculation comes to; None if it is none"
    try: return float(eval(text, {'__builtins__': {}})) if set(text) <= set('0123456789.+-*/() ') else None
    except (SyntaxError, ZeroDivisionError, TypeError): return None

def equations(step):
    "Those in a step in words that are true"
    plain = re.sub(r'\s+', ' ', re.sub(r'[A-Za-z_$%]+(?:[-\'/][A-Za-z]+)*', ' ', re.sub(r'(?<=\d),(?=\d\d\d)', '', re.sub(r'(?<=\d)\s*[x×]\s*(?=[\d(])', '*', step))))
    found = [(left.replace(' ', ''), right.rstrip('.')) for left, right in SUM.findall(plain)]
    return [f'{left}={right}' for left, right in found if (value := number(left)) is not None and right and abs(value-float(right)) < .01]

def told(rows, name):
    "Rows with equations for steps"
    for row in rows:
        steps = row.get('equations') or [equation for step in row['steps'] for equation in equations(step)]
        same = steps and (last := number(steps[-1].split('=')[-1])) is not None and abs(last - (number(str(row['answer']).replace(',', '')) or 0)) < .01
        if same: yield dict(question=row['question'], steps=[f'<<{step}>>' for step in steps], answer=str(row['answer']), source=name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--gsm8k', required=True, help='training rows')
    parser.add_argument('--symbolic', nargs=2, required=True, help='training rows, and rows that are asked')
    parser.add_argument('--held-out', type=int, default=400, help='rows of each that are asked')
    parser.add_argument('--output', type=Path, default=Path('.'))
    options = parser.parse_args()
    grade, symbolic, asked = (list(told(Dataset.from_json(file), name)) for file, name in ((options.gsm8k, 'gsm8k'), (options.symbolic[0], 'gsm_symbolic'), (options.symbolic[1], 'gsm_symbolic')))
    random.Random(0).shuffle(grade)
    held_out = grade[-options.held_out:] + asked[:options.held_out]
    hidden = {row['question'] for row in held_out}
    training = [row for row in grade[:-options.held_out] + symbolic if row['question'] not in hidden]
    random.Random(1).shuffle(training)
    for name, rows in (('words_train', training), ('words_asked', held_out)):
        (options.output/f'{name}.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
        print(name, {source: sum(row['source'] == source for row in rows) for source in ('gsm8k', 'gsm_symbolic')})


if __name__ == '__main__': main()
