"""The parent's functions for a child and its descendants: environment, sampling, killing."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from eas.worker.protocol import FAMILY, MEGABYTE, TAG

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)
_PRIVATE_NAME = re.compile(
    r"^PREFECT_|^EAS_(DATABASE|QUEUE|DB|MQ)_|PASSW|SECRET|TOKEN|CREDENTIAL|API_?KEY|AUTH_STRING", re.IGNORECASE
)
_PRIVATE_VALUE = re.compile(r"://[^/@\s]*:[^/@\s]+@")


def environment(
    current: Mapping[str, str],
    *,
    threads: int,
    tag: str,
    family: str,
    temporary: str,
    python_path: tuple[Path, ...] = (),
) -> dict[str, str]:
    """Return the environment for a child: ``current`` without passwords, with limits on threads.

    ``tag`` marks all descendants, ``family`` those of all children of the worker.
    ``temporary`` is the directory for their temporary files;
    ``python_path`` comes first in the module search path.
    """
    kept = {
        name: value
        for name, value in current.items()
        if not _PRIVATE_NAME.search(name) and not _PRIVATE_VALUE.search(value)
    }
    kept |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
    kept |= {TAG: tag, FAMILY: family, "TMPDIR": temporary}
    if python_path:
        kept["PYTHONPATH"] = os.pathsep.join([*map(str, python_path), *filter(None, [kept.get("PYTHONPATH")])])
    return kept


def sample(pid: int, known_peak: float) -> tuple[float, float]:
    """Return the memory [MB] that process ``pid`` and its descendants use now, and its own CPU time [s].

    The memory is the resident set size. If several processes together exceed ``known_peak`` [MB], shared pages
    are counted once, which takes longer to read. Returns zeros if the process is gone.
    """
    try:
        root = psutil.Process(pid)
        times = root.cpu_times()
        family = [root, *root.children(recursive=True)]
        memory = sum(_resident(each) for each in family)
    except psutil.Error:
        return 0.0, 0.0
    if len(family) > 1 and memory > known_peak:
        memory = sum(_proportional(each.pid) or _resident(each) for each in family)
    return memory, times.user + times.system


def _resident(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / MEGABYTE
    except psutil.Error:
        return 0.0


def _proportional(pid: int) -> float:
    """Return the proportional set size of ``pid`` [MB], or 0 where the kernel does not report it."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024 / MEGABYTE
    return 0.0


def kill_family(pid: int, tag: str) -> None:
    """Kill process ``pid`` (not yet waited for), its process group and all its descendants.

    Finds descendants that left the group and lost their parents by ``tag``.
    """
    descendants: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        descendants = psutil.Process(pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for each in descendants:
        with contextlib.suppress(psutil.Error):
            each.kill()
    for _ in range(3):  # one pass can miss a process that is forking at that moment
        if not _kill_all(_tagged(tag, besides=pid)):
            return


def _tagged(tag: str, *, besides: int) -> Iterator[psutil.Process]:
    needle = f"{TAG}={tag}".encode()
    for process in psutil.process_iter():
        if process.pid == besides:
            continue
        with contextlib.suppress(OSError, psutil.Error):
            if psutil.LINUX:  # psutil would parse every environment of the host
                found = needle in Path(f"/proc/{process.pid}/environ").read_bytes()
            else:
                found = process.environ().get(TAG) == tag
            if found:
                yield process


def _kill_all(processes: Iterator[psutil.Process]) -> bool:
    found = False
    for process in processes:
        found = True
        with contextlib.suppress(psutil.Error):
            process.kill()
    return found


def describe_end(process: subprocess.Popen[bytes], status: int) -> str:
    """Return how a process ended, from its wait ``status``; set ``process.returncode``."""
    code = process.returncode = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"the task's process ended with exit code {code} before its code had returned"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"{-code}"
    hint = " (by another process; the kernel does that when memory runs out)" if -code == signal.SIGKILL else ""
    return f"killed by signal {name}{hint}"
