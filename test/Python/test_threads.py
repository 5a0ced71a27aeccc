"""Many Python threads at once: none holds the others up, and none gets another's numbers."""

import concurrent.futures
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import attnjit


def operands(seed, M=24, N=40, D=16):
    random = np.random.default_rng(seed)
    return [random.standard_normal((1, 2, size, D)).astype(np.float32) for size in (M, N, N)]


def expected(q, k, v, shift):
    scores = q.astype(np.float64) @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    scores += shift * (np.arange(k.shape[2])[None, :] - np.arange(q.shape[2])[:, None])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


def test_many_threads_get_their_own_answers():
    def work(seed):
        q, k, v = operands(seed)
        shift = 0.01 * seed
        for _ in range(20):
            out = attnjit.attention(q, k, v, score_mod=lambda score, b, h, q_idx, kv_idx: score + shift * (kv_idx - q_idx))
            np.testing.assert_allclose(out, expected(q, k, v, shift), rtol=2e-4, atol=2e-5)
        return seed

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(32))) == list(range(32))


def test_threads_that_compile_do_not_disturb_each_other():
    """Eight formulas that nobody has seen before, from eight threads, twice each."""
    q, k, v = operands(1)
    engine = attnjit.Engine(cache_directory="")
    plain = attnjit.attention(q, k, v)

    def work(number):
        text = f"score + 0.0 * torch.sin(score * {number}.5)"
        return attnjit.attention(q, k, v, score_mod=text)

    before = attnjit.engine()
    attnjit.set_engine(engine)
    try:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for out in pool.map(work, [1, 2, 3, 4, 5, 6, 7, 8] * 2):
                np.testing.assert_allclose(out, plain, rtol=1e-4, atol=1e-5)
        assert engine.counters()["compiles"] == 8
    finally:
        attnjit.set_engine(before)


class Ticks:
    """A thread of plain Python that notes when it ran."""

    def __enter__(self):
        self.going, self.times = True, []
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def run(self):
        while self.going:
            now = time.perf_counter()
            if not self.times or now - self.times[-1] > 1e-4:
                self.times.append(now)

    def __exit__(self, *error):
        self.going = False
        self.thread.join()


@pytest.mark.parametrize("what", ["run", "compile"])
def test_other_threads_run_meanwhile(what):
    """The interpreter's lock is not held: a thread of plain Python runs in the middle of a call, which is no Python."""
    q, k, v = operands(2, M=1024, N=4096, D=64)
    text = "score * 1.0"
    attnjit.attention(q, k, v, score_mod=text, threads=1)
    for attempt in range(10):  # a busy machine may have no processor for the other thread
        if what == "compile":
            text = f"score + 1e-9 * torch.tanh(score * {attempt + 2}.25) + 1e-9 * torch.erf(score) + 1e-9 * torch.sin(score + {os.getpid()}{attempt})"
        with Ticks() as ticks:
            begin = time.perf_counter()
            attnjit.attention(q, k, v, score_mod=text, threads=1)
            took = time.perf_counter() - begin
        if any(begin + 0.3 * took < tick < begin + 0.7 * took for tick in ticks.times):
            return
    pytest.fail(f"no other thread ran in the middle of a call of {took * 1e3:.1f} ms")


def in_own_process(program):
    """For what depends on which libraries are in the process, and on who came first."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_threads_follow_torch():
    """One setting for both: where PyTorch is in the process, its number of threads is the default."""
    pytest.importorskip("torch")
    in_own_process("""
import torch, attnjit
from attnjit._forward import Prepared
q = torch.randn(8, 8, 256, 64)
for count in (1, 2):
    torch.set_num_threads(count)
    assert Prepared(q, q, q).run().workers == count
    assert Prepared(q, q, q, threads=3 - count).run().workers == 3 - count
attnjit.set_engine(attnjit.Engine(threads=1))
assert Prepared(q, q, q).run().workers == 1
""")


def test_pools_do_not_add_up():
    """PyTorch's OpenMP and attnjit's oneTBB in turn: two pools of torch.get_num_threads(), however many calls there are."""
    pytest.importorskip("torch")
    more = int(in_own_process("""
import os, torch, attnjit
torch.manual_seed(0)
q, values = torch.randn(1, 8, 512, 64), torch.randn(1 << 21)
for _ in range(50):
    torch.exp(values)
    attnjit.attention(q, q, q)
print(len(os.listdir("/proc/self/task")) - 2 * torch.get_num_threads())
"""))
    assert more <= 2, f"{more} threads more than two pools of torch.get_num_threads()"
