"What the recurrence's notebook cannot hold: threads, forks and folders that cannot be written."
import multiprocessing
import os
import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import latent_lab
import pytest
import torch
from latent_lab.blocks.recurrence import LeakyGatedRecurrence, recurrence
from torch.utils._python_dispatch import TorchDispatchMode

LARGE = 16, 256, 64          # rows, tokens, width: enough work for several threads inside the call


def step(seed):
    "One forward and backward pass; everything that comes of it"
    g = torch.Generator().manual_seed(seed)
    z, u = (torch.randn(*LARGE, generator=g).requires_grad_() for _ in range(2))
    weight, alpha = torch.randn(64, 64, generator=g).div(8).requires_grad_(), torch.full((64,), .1, requires_grad=True)
    h, last = recurrence(z, u, weight, alpha, kernel='cpu')
    return [h.detach(), *torch.autograd.grad(last.square().sum() + h.sum(), [z, u, weight, alpha])]


def test_several_python_threads_at_once():
    "Callbacks of several widgets may run the same kernel together"
    alone = [step(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool: together = list(pool.map(step, list(range(4))*4))
    for k, got in enumerate(together):
        for a, b in zip(got, alone[k % 4]): torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_the_threads_of_a_call_do_not_change_the_result():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = step(0)
        torch.set_num_threads(3)
        three = step(0)
    finally: torch.set_num_threads(before)
    for a, b in zip(one[:3], three[:3]): torch.testing.assert_close(a, b, rtol=0, atol=0)      # rows are independent


def _in_child(queue):
    torch.set_num_threads(1)
    queue.put(recurrence(torch.ones(*LARGE), torch.ones(*LARGE), torch.eye(64), torch.full((64,), .1), kernel='cpu')[1].sum().item())


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='this system has no fork')
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_after_a_fork():
    "Data loaders fork; a pool of threads kept between calls would hang here"
    wanted = recurrence(torch.ones(*LARGE), torch.ones(*LARGE), torch.eye(64), torch.full((64,), .1), kernel='cpu')[1].sum().item()
    context = multiprocessing.get_context('fork')
    queue = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(queue,))
    child.start()
    child.join(60)
    if child.is_alive():
        child.kill()
        pytest.fail('the kernel hung in a forked process')
    assert queue.get() == pytest.approx(wanted)


RUN = '''
import torch
from latent_lab.blocks.recurrence import LeakyGatedRecurrence, _cpu_kernels
h, _ = LeakyGatedRecurrence(8, kernel='cpu')(torch.randn(2, 20, 8))
h.sum().backward() if h.requires_grad else None
assert torch.isfinite(h).all()
print([type(k._cache).__name__ for k in _cpu_kernels()], [k._cache.cache_path for k in _cpu_kernels() if hasattr(k._cache, 'cache_path')])
'''


def read_only_copy(folder):
    "The package where nobody may write: __pycache__ is a file, so not even the superuser can make a folder of it"
    copy = folder/'site'/'latent_lab'
    shutil.copytree(Path(latent_lab.__file__).parent, copy, ignore=shutil.ignore_patterns('__pycache__', 'assets', 'checkpoints'))
    (copy/'blocks'/'__pycache__').write_text('')
    return copy.parent


@pytest.mark.parametrize('home', ['writable', 'nowhere'])
def test_without_a_folder_to_keep_the_compiled_kernels(tmp_path, home):
    site = read_only_copy(tmp_path)
    (tmp_path/'blocked').write_text('')
    cache = tmp_path/'cache' if home == 'writable' else tmp_path/'blocked'/'cache'
    keep = {k: v for k, v in os.environ.items() if not k.startswith('NUMBA')}
    env = {**keep, 'PYTHONPATH': str(site), 'HOME': str(cache), 'XDG_CACHE_HOME': str(cache), 'PYTHONDONTWRITEBYTECODE': '1'}
    done = subprocess.run([sys.executable, '-c', textwrap.dedent(RUN)], env=env, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert ('NullCache' in done.stdout) == (home == 'nowhere')
    assert (cache.is_dir() and any(cache.rglob('*.nbc'))) == (home == 'writable')


def test_a_numba_that_cannot_be_imported_leaves_the_reference(tmp_path):
    "As when its version and numpy's do not fit"
    (tmp_path/'numba.py').write_text('raise ImportError("Numba needs another NumPy")')
    code = '''
        import torch, warnings
        from latent_lab.blocks.recurrence import LeakyGatedRecurrence, recurrence_kernel
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter('always')
            LeakyGatedRecurrence(4)(torch.randn(1, 5, 4))
        assert 'another NumPy' in str(seen[0].message), seen
    '''
    env = {**os.environ, 'PYTHONPATH': f'{tmp_path}{os.pathsep}{Path(latent_lab.__file__).parent.parent}'}
    done = subprocess.run([sys.executable, '-c', textwrap.dedent(code)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_compile_takes_the_layer_whole():
    "With training, by the compiler's ahead-of-time half; the operators pass PyTorch's own check"
    from latent_lab.blocks.recurrence import _forward_op
    parts = [torch.randn(2, 5, 3), torch.randn(2, 5, 3), torch.randn(3, 3), torch.full((3,), .1), torch.zeros(2, 3)]
    torch.library.opcheck(_forward_op, (*[p.requires_grad_() for p in parts], None))
    layer, z = LeakyGatedRecurrence(8), torch.randn(2, 20, 8)
    compiled = torch.compile(layer, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(z)[0], layer(z)[0])


class Started(TorchDispatchMode):
    "Names of the operations that compute something; views and fresh memory do not"
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._overloadpacket.__name__
        if not func.is_view and 'empty' not in name: self.names.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(('frozen', 'wanted'), [((), ['addmm', 'addmm_', 'bmm', 'bmm', 'sum', 'sum']),
                                                (('from_token.weight',), ['addmm', 'addmm_', 'bmm', 'sum', 'sum'])])
def test_a_layer_starts_little_beside_its_two_kernels(frozen, wanted):
    "On a GPU each start costs more than a short sequence takes; the kernels are left out, so what is seen here holds for both devices"
    layer, z = LeakyGatedRecurrence(8), torch.randn(2, 512, 8, requires_grad=True)
    for name in frozen: layer.get_parameter(name).requires_grad_(False)
    leaves, grad = [z, *[p for p in layer.parameters() if p.requires_grad]], torch.randn_like(z)
    nothing = dict.fromkeys(('_cpu_run_forward', '_cpu_run_backward'), lambda *_: None)
    with patch.multiple('latent_lab.blocks.recurrence', **nothing), Started() as started:
        torch.autograd.grad(layer(z)[0], leaves, grad)
    assert sorted(started.names) == wanted


def test_gradients_that_share_memory_are_each_their_own():
    "Two products and two sums come from one tensor each; accumulating, clipping and changing one leaves the others"
    layer, z = LeakyGatedRecurrence(8), torch.randn(2, 200, 8)
    layer(z)[0].square().sum().backward()
    once = {name: p.grad.clone() for name, p in layer.named_parameters()}
    layer(z)[0].square().sum().backward()
    layer.from_token.bias.grad.zero_()
    layer.from_token.weight.grad.zero_()
    for name in ('leak_logit', 'from_state.weight'): torch.testing.assert_close(layer.get_parameter(name).grad, 2*once[name])
    torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.)
    torch.optim.AdamW(layer.parameters(), fused=True).step()
    assert all(torch.isfinite(p).all() for p in layer.parameters())


def test_what_a_layer_is_given_stays_as_it_was():
    "The gate overwrites the product; neither the tokens nor the parameters are touched"
    layer, z = LeakyGatedRecurrence(8), torch.randn(2, 50, 8)
    before = z.clone(), [p.clone() for p in layer.parameters()]
    with torch.no_grad(): h, last = layer(z)
    torch.testing.assert_close(h, layer(z)[0].detach(), rtol=0, atol=0)
    torch.testing.assert_close((z, list(layer.parameters())), before, rtol=0, atol=0)
