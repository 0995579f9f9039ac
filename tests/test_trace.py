"What a notebook cannot show of a recording: a process that is killed, a disk that is full, data larger than memory."
import errno
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from latent_lab.trace import open_trace, record, to_npy, to_parquet, validate_trace


class Echo(nn.Module):
    "A state that fades by half and adds each token"
    latent_axes = {'state': ('token','feature')}
    def __init__(self, width=4, rest=0.):
        super().__init__()
        torch.manual_seed(0)
        self.embed,self.head,self.rest = nn.Embedding(12, width),nn.Linear(width, 12),rest
    def forward(self, input_ids, attention_mask=None, output_latents=False, use_cache=False):
        time.sleep(self.rest)
        state = torch.tanh(self.embed(input_ids).cumsum(1)/2)
        return SimpleNamespace(logits=self.head(state), latents={'state':state})


class Made:
    "Rows that are made when they are read, so that they take no memory"
    def __init__(self, rows, tokens): self.rows,self.tokens = rows,tokens
    def __len__(self): return self.rows
    def __getitem__(self, i):
        ids = np.random.default_rng(i).integers(0, 12, self.tokens - i%3)
        return {'input_ids':ids, 'even':ids%2==0, 'kind':f'row {i%7}'}


def script(role, path):
    "A process of its own, see the end of this file"
    return subprocess.Popen([sys.executable, __file__, role, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def recorded(path):
    try: return open_trace(path).sizes['example']
    except FileNotFoundError: return 0

def same_rows(part, whole):
    validate_trace(part)
    xr.testing.assert_equal(part.load(), whole.isel(example=slice(part.sizes['example'])))


def test_a_killed_recording_goes_on(tmp_path):
    path,whole = tmp_path/'killed.zarr',record(Echo(), Made(400, 9))
    for least in (1, 150):
        process = script('slow', path)
        while recorded(path)<least:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(.02)
        process.kill()
        assert process.wait()==-9
        assert least<=recorded(path)<400
        same_rows(open_trace(path), whole)
    before = recorded(path)
    made,read = Made(400, 9),[]
    model = Echo()
    model.register_forward_pre_hook(lambda module, args, kwargs: read.append(len(kwargs['input_ids'])), with_kwargs=True)
    same_rows(record(model, made, path), whole)
    assert sum(read)==400-before                     # what was recorded is not read again


class Crash(Exception): "Not an error of the disk"

@pytest.mark.parametrize('error,step', [(Crash('lights out'),2), (OSError(errno.ENOSPC, 'No space left on device'),5)], ids=['crash','disk full'])
def test_any_write_may_fail(tmp_path, monkeypatch, error, step):
    "Each file is renamed to its place; fail at every second or fifth of them, then go on"
    whole,replace = record(Echo(), Made(70, 3), batch_size=32),Path.replace
    def failing(at):
        count = iter(range(10**6))
        def tried(self, target):
            if next(count)==at: raise error
            return replace(self, target)
        return tried
    for at in range(0, 10**6, step):
        path = tmp_path/f'{at}.zarr'
        monkeypatch.setattr(Path, 'replace', failing(at))
        try:
            record(Echo(), Made(70, 3), path, batch_size=32)
            break
        except type(error) as raised: line = str(raised)
        finally: monkeypatch.undo()
        if path.exists(): same_rows(open_trace(path), whole)
        if isinstance(error, OSError):
            assert '\n' not in line and 'disk full: ' in line and str(path) in line
            assert (f'{recorded(path)} of 70 rows are recorded' if path.exists() else 'nothing was recorded') in line
        same_rows(record(Echo(), Made(70, 3), path, batch_size=32), whole)
    assert at>30                                      # every array, twice


@pytest.fixture
def small_disk(tmp_path):
    "A file system of one megabyte"
    folder = tmp_path/'disk'
    folder.mkdir()
    if not sys.platform.startswith('linux') or subprocess.run(['mount','-t','tmpfs','-o','size=1m','tmpfs',folder], capture_output=True).returncode:
        pytest.skip('only who may mount can test a real full disk; the test above fails every write instead')
    yield folder
    subprocess.run(['umount', folder], check=True)

def test_a_full_disk(small_disk, tmp_path):
    model,data = Echo(width=64),Made(400, 33)
    with pytest.raises(OSError, match=r'disk full: \d+ of 400 rows are recorded in .*full.zarr. and can be opened') as raised:
        record(model, data, small_disk/'full.zarr')
    assert raised.value.errno==errno.ENOSPC
    part = open_trace(small_disk/'full.zarr').load()
    assert 0<part.sizes['example']<400
    same_rows(part, record(model, data))
    for write,name in ((to_npy,'x.npy'), (to_parquet,'x.parquet')):
        with pytest.raises(OSError, match='disk full'): write(record(model, data), small_disk/name)
    assert {file.name for file in small_disk.iterdir()}=={'full.zarr'}


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='peak memory is read from /proc')
def test_memory_does_not_grow_with_the_data(tmp_path):
    process = script('long', tmp_path/'long.zarr')
    output,errors = process.communicate()
    assert not process.returncode, errors
    _,short,long,size = map(float, output.split())    # MB: peak after 200 rows, after 200 again, when all is warm, and after 1,600; what these take
    assert size>=100 and long-short<20, (short, long, size)


def peak():
    "Most memory this process has held, in MB"
    return int(re.search(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())[1])/2**10

if __name__=='__main__':
    role,path = sys.argv[1:]
    torch.set_num_threads(1)
    if role=='slow': record(Echo(rest=.02), Made(400, 9), path)
    if role=='long':
        for turn,rows in enumerate((200, 200, 1600)):
            trace = record(Echo(width=64), Made(rows, 256), f'{path}.{turn}')
            to_npy(trace, f'{path}.npy')
            print(peak(), flush=True)
        print(trace.state.nbytes/2**20)
