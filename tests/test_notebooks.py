"Every notebook runs from top to bottom: one notebook, one case, through nbdev's own runner."
import gc
import sys
from pathlib import Path

import pytest
import torch
from nbdev.config import get_config
from nbdev.doclinks import nbglob
from nbdev.test import test_nb as run_notebook

import latent_lab.blocks.memory  # both define operators
import latent_lab.blocks.recurrence

root = Path(__file__).resolve().parents[1]
config = get_config(path=root)


def in_reading_order(path):
    "The library first, by number, so that the first failure is the deepest one; then everything built on it"
    folder = path.relative_to(config.nbs_path).parts[0]
    return (folder != 'api', path)


notebooks = sorted(nbglob(config.nbs_path, as_path=True), key=in_reading_order)


def lost_operators():
    "Operators of the library whose names stand for others by now: what they were is freed, and calling them reads there"
    named = lambda op: getattr(getattr(torch.ops, op._namespace), op._name).default
    found = {op for name, module in list(sys.modules.items()) if name.startswith('latent_lab.') for op in vars(module).values()
             if isinstance(op, torch.library.CustomOpDef)}
    return [op for op in found if named(op) is not op._opoverload]


@pytest.mark.parametrize('path', notebooks, ids=lambda path: str(path.relative_to(config.nbs_path).with_suffix('')))
def test_notebook(path):
    passed, _ = run_notebook(path, skip_flags=config.tst_flags.split(), basepath=root)
    gc.unfreeze()                                                    # a notebook may have left its imports out of sweeping
    if dynamo := sys.modules.get('torch._dynamo'): dynamo.reset()   # what was compiled holds on to the notebook's names
    assert passed, f'{path.name}: a cell failed; its traceback is in the captured stderr'
    assert not lost_operators(), f'{path.name} defines operators of the library again'
