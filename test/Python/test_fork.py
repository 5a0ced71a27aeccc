"""fork() after use, as multiprocessing and data loaders do it: the child computes the same, known formulas and new ones."""

import faulthandler
import multiprocessing
import os
import signal
import time
import traceback
import warnings

import numpy as np
import pytest

import attnjit
from attnjit._forward import Prepared

LIMIT = 120  # seconds


def operands():
    random = np.random.default_rng(0)
    return [random.standard_normal((2, 4, 128, 32)).astype(np.float32) for _ in range(3)]


def in_child(work):
    """Runs `work` in a child of fork(); fails with what went wrong there, also if it hangs."""
    reads, writes = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's own, about fork() beside threads
        child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reads)
            faulthandler.dump_traceback_later(LIMIT - 20, file=writes)
            work()
            status = 0
        except BaseException:
            os.write(writes, traceback.format_exc().encode()[-4000:])
        finally:
            os._exit(status)
    os.close(writes)
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.02)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        status = "it hung"
    with os.fdopen(reads) as pipe:
        said = pipe.read()
    assert status == 0, f"the child failed ({status}): {said}"


def test_child_computes_what_the_parent_did():
    q, k, v = operands()
    out = attnjit.attention(q, k, v, score_mod="score * 0.5", threads=2)
    in_child(lambda: np.testing.assert_array_equal(attnjit.attention(q, k, v, score_mod="score * 0.5", threads=2), out))


def test_child_compiles():
    q, k, v = operands()
    attnjit.attention(q, k, v, score_mod="score * 0.5")
    number = os.getpid()  # a formula that no cache knows

    def work():
        out = attnjit.attention(q, k, v, score_mod=f"score + 0.0 * torch.sin(score + {number})", threads=2)
        np.testing.assert_allclose(out, attnjit.attention(q, k, v), rtol=1e-4, atol=1e-5)

    in_child(work)


@pytest.mark.parametrize("kernel", ["known", "new"])
def test_child_of_a_parent_that_compiles(kernel):
    """fork() while other threads are inside the library, again and again."""
    import threading

    q, k, v = operands()
    attnjit.attention(q, k, v, score_mod="score")
    going = True

    def busy(thread):
        number = 0
        while going:
            number += 1
            attnjit.attention(q, k, v, score_mod=f"score + 0.0 * torch.cos(score + {os.getpid()}{thread}{number})", threads=2)

    threads = [threading.Thread(target=busy, args=(thread,)) for thread in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(100):
            text = "score" if kernel == "known" else f"score - 0.0 * torch.cos(score + {os.getpid()}{number})"
            in_child(lambda: attnjit.attention(q, k, v, score_mod=text, threads=2))
    finally:
        going = False
        for thread in threads:
            thread.join()


def test_child_compiles_in_the_background():
    """fork() while the parent's queue is at work and full: the child's calls have their kernels made, too, and nobody waits for threads that are not there."""
    q, k, v = operands()
    expected = attnjit.attention(q, k, v)
    number = iter(range(10_000))

    def report(engine):
        """How a call of a new formula went; another kernel computes it, and its own is made meanwhile."""
        text = f"score + 0.0 * torch.sin(score + {os.getpid()}{next(number)})"
        prepared = Prepared(q, k, v, score_mod=text, when_missing="fallback")
        said = engine.forward(prepared.call)
        np.testing.assert_allclose(prepared.out, expected, rtol=1e-4, atol=1e-5)
        return prepared, said

    def work(engine):
        prepared, said = report(engine)
        assert said.awaited == "FLASH_ATTENTION" and engine.counters()["awaited"] > 0
        engine.wait_for_compilations()
        assert engine.counters()["awaited"] == 0
        said = engine.forward(prepared.call)
        assert said.awaited == "" and said.pipeline == "FLASH_ATTENTION" and said.source == "memory"

    for busy in (0, 1, 12):  # kernels that the parent's queue has when fork() comes
        for _ in range(4):
            engine = attnjit.Engine(cache_directory="", when_missing="fallback")
            for _ in range(busy):
                report(engine)
            in_child(lambda: work(engine))
            in_child(engine.wait_for_compilations)
            work(engine)
            engines = [engine]
            report(engine)
            del engine
            in_child(engines.clear)  # an engine ends whose queue is at work in the parent


def _square(seed):
    q, k, v = operands()
    return float(attnjit.attention(q * seed, k, v).sum())


def test_a_pool_of_processes():
    q, k, v = operands()
    expected = [float(attnjit.attention(q * seed, k, v).sum()) for seed in range(4)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(_square, range(4)).get(LIMIT) == expected


def test_torch_data_loader():
    torch = pytest.importorskip("torch")
    q, k, v = (torch.from_numpy(array) for array in operands())
    attnjit.attention(q, k, v)

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return attnjit.attention(q[:1], k[:1], v[:1]) * index

    loader = torch.utils.data.DataLoader(Rows(), num_workers=2, multiprocessing_context="fork", timeout=LIMIT)
    rows = list(loader)
    torch.testing.assert_close(rows[3][0], 3 * rows[1][0])
