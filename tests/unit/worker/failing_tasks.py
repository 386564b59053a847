"""Throw-away task types that misbehave in every way the executor must survive. Imported in the child."""

from __future__ import annotations

import ctypes
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eas.errors import TaskFailure
from eas.model import Check, Metadata, Scalar
from eas.tasks.base import Task, TaskContext


class Empty(Task):
    def run(self, context: TaskContext) -> Mapping[str, Scalar]:
        return {}


class Do(Task):
    """Calls the function of this module that the setting ``act`` names; reports what it returns."""

    def run(self, context: TaskContext) -> Mapping[str, Scalar]:
        return globals()[context.settings["act"]](context)


class Checked(Do):
    """The same, with QC that does what the setting ``check`` says."""

    def check(self, context: TaskContext, metadata: Metadata | None) -> Sequence[Check]:
        act = context.settings.get("check")
        if act:
            globals()[act](context)
        path = context.outputs.get("product")
        found = path.read_text() if path and path.exists() else "nothing"
        return [
            Check("metadata", metadata is not None, repr(metadata)),
            Check("scratch", True, ",".join(sorted(each.name for each in context.scratch.iterdir()))),
            Check("product", found == "whole", found),
        ]


class OddCheck(Empty):
    def check(self, context: TaskContext, metadata: Metadata | None) -> Any:
        return "fine"


class NotATask:
    pass


class Unspeakable(Exception):
    def __init__(self, first, second):
        super().__init__("x")
        self.lock = threading.Lock()

    def __str__(self):
        raise SystemExit(3)


def nothing(context):
    return {}


def whoami(context):
    return {
        "pid": os.getpid(),
        "cwd": str(Path.cwd()),
        "scratch": str(context.scratch),
        "empty": not any(Path().iterdir()),
        "threads": os.environ["OMP_NUM_THREADS"],
        "cores": context.threads,
        "stdin": len(sys.stdin.read()),
        "session": os.getsid(0),
        "environment": "\n".join(f"{key}={value}" for key, value in os.environ.items()),
        "sigint": signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
        "sigterm": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
        "seed": context.seed,
        "inherited": context.metadata.get("size"),
        "inputs": "".join(f"{k}:{v.file_name}:{v.path}:{v.metadata['a']}" for k, v in context.inputs.items()),
        "heavy": any(name in sys.modules for name in ("numpy", "sqlalchemy", "prefect", "pandas", "psutil", "yaml")),
    }


def write_product(context):
    context.output("product").write_text("whole")
    return {"written": True}


def write_half_and_die(context):
    context.output("product").write_text("half")
    Path("left.txt").write_text("x")
    os._exit(3)


def write_whole_and_die(context):
    context.output("product").write_text("whole")
    os._exit(3)


def crash(context):
    raise ValueError("first line\nsecond line")


def explain(context):
    raise TaskFailure("the star is missing", hint="bring it back")


def missing_input(context):
    return {"x": context.input("lightcurve").file_name}


def unspeakable(context):
    raise Unspeakable(1, 2)


def recurse(context):
    return recurse(context)


def keyboard(context):
    raise KeyboardInterrupt


def leave(context):
    sys.exit(context.settings.get("code"))


def vanish(context):
    os._exit(context.settings.get("code", 0))


def segfault(context):
    logging.getLogger("here").info("about to fall")
    print("printed before the fall")
    ctypes.string_at(0)


def abort(context):
    os.abort()


def kill_self(context):
    os.kill(os.getpid(), signal.SIGKILL)


def memory_at_once(context):
    hoard = bytearray(3_000_000_000)
    return {"size": len(hoard)}


def memory_in_pieces(context):
    hoard = []
    while True:
        hoard.append(b"x" * 1_000_000)


def memory_by_many(context):
    code = "b = b'x' * 90_000_000\nimport time\ntime.sleep(600)"
    family = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    family[0].wait()
    return {}


def memory_once(context):
    hoard = b"x" * 120_000_000
    return {"size": len(hoard)}


_LEAK = []


def leak(context):
    _LEAK.append(b"x" * 120_000_000)
    return {"pid": os.getpid()}


def sleep(context):
    Path(context.settings["tell"]).write_text(str(os.getpid())) if "tell" in context.settings else None
    time.sleep(context.settings.get("duration", 600))
    return {"slept": True}


def tidy_up_on_request(context):
    def tidy(*_):
        Path(context.settings["tidied"]).write_text("tidied up")
        os._exit(0)

    signal.signal(signal.SIGTERM, tidy)
    return sleep(context)


def ignore_the_request(context):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return sleep(context)


def hold_the_lock(context):
    ctypes.PyDLL(None).sleep(600)  # with the interpreter's lock held, as Fortran does
    return {}


def burn(context):
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"], check=True)
    return {}


def log_much(context):
    for number in range(5000):
        context.log.info("entry %d", number)
    context.log.error("the end")
    return {}


def log_some(context):
    context.log.debug("not this")
    context.log.info("a %s", "b")
    logging.getLogger("other").warning("wrong %d arguments", "x")
    try:
        raise KeyError("inner")
    except KeyError:
        logging.exception("caught \udcff")
    return {}


def change_logging(context):
    logging.basicConfig(force=True, level=logging.CRITICAL)
    logging.disable(logging.CRITICAL)
    sys.stdout = None
    return {}


def speak(context):
    print(f"out {context.seed}")
    print(f"err {context.seed}", file=sys.stderr)
    return {}


def speak_in_c(context):
    ctypes.CDLL(None).printf(b"from C %d\n", 7)
    os.write(1, b'\x00\x00\x00\x10{"say":"result"}\xff\n')
    return {}


def flood(context):
    print("beginning")
    for _ in range(3000):
        print("z" * 1000)
    print("10%\r20%\rending")
    return {}


def close_everything(context):
    os.closerange(3, 200)
    return {}


def close_and_write(context):
    os.closerange(3, 200)
    files = [(Path(context.settings["folder"]) / f"{n}").open("wb") for n in range(10)]
    return {"n": len(files)}


def forge(context):
    """Write a message of one's own to the worker's connection, then go on."""
    body = context.settings["message"].encode()
    os.write(int(sys.argv[1]), len(body).to_bytes(4, "big") + body)
    time.sleep(context.settings.get("duration", 0))
    return {}


def say_nothing(context):
    raise TaskFailure("")


def close_output(context):
    os.close(1)
    os.close(2)
    return {}


def redirect_output(context):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    print("lost")
    return {}


def thread(context):
    threading.Thread(target=time.sleep, args=(600,)).start()
    return {"pid": os.getpid()}


def grandchild(context):
    return {"pid": subprocess.Popen(["sleep", "600"]).pid}


_ORPHAN = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
open(sys.argv[1], 'w').write(str(os.getpid()))
time.sleep(600)
"""


def orphan(context):
    tell = Path(context.settings["tell"])
    subprocess.run([sys.executable, "-c", _ORPHAN, str(tell)], check=True)
    while not (tell.exists() and tell.read_text()):
        time.sleep(0.01)
    return {}


def orphan_and_wait(context):
    orphan(context)
    time.sleep(600)


def orphan_and_die(context):
    orphan(context)
    os._exit(5)


def fork_and_return(context):
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    else:
        logging.warning("from the copy")
    return {"first": bool(child)}


def fork_and_exit(context):
    child = os.fork()
    if not child:
        sys.exit(7)
    return {"code": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}


def mess(context):
    Path("file").write_text("x")
    Path("folder").mkdir()
    (Path("folder") / "inner").write_text("x")
    os.chdir("/")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    return {"pid": os.getpid()}


def remove_scratch(context):
    context.scratch.rmdir()
    return {"pid": os.getpid()}


def replace_scratch(context):
    context.scratch.rmdir()
    context.scratch.symlink_to(context.settings["target"])
    return {}


def numbers(context):
    import numpy as np

    return {
        "f64": np.float64(1.5),
        "f32": np.float32(0.5),
        "i8": np.int8(3),
        "u64": np.uint64(4),
        "bool": np.bool_(True),
        "str": np.str_("s"),
        "zero": np.array(2.5),
        "long": np.longdouble(1.25),
        "nan": math.nan,
        "inf": np.float32("inf"),
        "none": None,
        "text": "é\udcff",
    }


def wrong_list(context):
    return {"values": [1, 2]}


def wrong_complex(context):
    import numpy as np

    return {"z": np.complex128(1)}


def wrong_key(context):
    return {1: 2}


def wrong_none(context):
    return None


def wrong_integer(context):
    return {"big": 2**80}


def wrong_size(context):
    return {"text": "x" * 2_000_000}


def parent_of(context):
    return {"pid": os.getppid(), "own": os.getpid()}
