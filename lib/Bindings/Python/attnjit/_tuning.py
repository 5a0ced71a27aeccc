"""Work that takes seconds, and tells how far it is: trying tile sizes, and making the kernels of a manifest."""
from __future__ import annotations

import re
import threading
import time
from typing import Any, Callable

from . import _core, _engines
from ._display import Callback, Progress
from ._forward import Prepared

_OFTEN = 0.05  # seconds between two looks at how far the work is


def autotune(query: Any, key: Any, value: Any, *, seconds: float = 1.0, progress: Callback | None = None, **options: Any) -> dict[str, Any]:
    """Measures which tile sizes are fastest for calls like this one, on its operands, and makes later calls of its class use them: now, and from the disk cache.

    query [B, Hq, M, D], key [B, Hkv, N, D], value [B, Hkv, N, Dv] of typical lengths; options are those of attention(), but for block_mask and tiles. `progress(what,
    done, total)` is called with hundredths of a second; without it, notebooks and terminals get a bar of tqdm where that is installed. Answers "model" and "best", the
    tile sizes before and after as (rows, keys), "timings" as [(tiles, nanoseconds)], and "on_disk".
    """
    prepared = Prepared(query, key, value, **options)
    begin = time.monotonic()
    return _watched("autotune", round(seconds * 100), lambda: round((time.monotonic() - begin) * 100), lambda: prepared.engine.autotune(prepared.call, seconds),
                    progress)


def warm_up(path: str, *, engine: _core.Engine | None = None, progress: Callback | None = None) -> dict[str, Any]:
    """Brings the kernels that a manifest lists (Engine.save_manifest) into memory, from the disk cache or by compiling them: what a server does before its first request.

    `progress(what, done, total)` is called with numbers of kernels; without it, notebooks and terminals get a bar of tqdm where that is installed. Answers how many came
    "from_disk", were "compiled", "present", "skipped" or "failed", and "problems" in words. Error: OSError for what is no manifest.
    """
    working = engine or _engines.engine()
    with open(path, encoding="utf-8", errors="replace") as file:
        total = len(re.findall(r"^kernel \d+$", file.read(), re.MULTILINE))
    before = working.counters()

    def made() -> int:
        now = working.counters()
        return sum(now[name] - before[name] for name in ("compiles", "disk_hits", "compile_failures"))

    return _watched("warm-up", total, made, lambda: working.warm_up(path), progress)


def _watched(what: str, total: int, done: Callable[[], int], work: Callable[[], dict[str, Any]], callback: Callback | None) -> dict[str, Any]:
    """Does the work on a thread of its own and tells meanwhile how far it is; its errors are this function's."""
    results: list[dict[str, Any]] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # raised by the caller's thread
            errors.append(error)

    worker = threading.Thread(target=run, name=f"attnjit {what}")
    with Progress(what, total, callback) as progress:
        worker.start()
        while worker.is_alive():
            worker.join(_OFTEN)
            progress.reach(min(done(), total))
        if not errors:
            progress.reach(total)
    if errors:
        raise errors[0]
    return results[0]
