"""Damaged and hostile light curve files: each is read or refused as a LightCurveError, within a second."""

from __future__ import annotations

import atexit
import gzip
import random
import shutil
import tempfile
import time
from functools import cache
from pathlib import Path

from hypothesis import strategies as st

from eas.lightcurves import files, lcsg
from eas.lightcurves.lightcurve import LightCurveError

MAX_CPU = 1.0
"""Longest that reading one file of some kB may take [s of CPU time]."""
PIECES = [
    *(b"# #a=1\n", b"# #a=", b"# #orbital_period=3 d\n", b"# #orbital_period=1 (", b"#", b"# ", b"=", b"[", b"{"),
    *(b'"', b"]"),
    *(b"\n", b"\r\n", b"\r", b" ", b"\t", b",", b";", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe"),
    *(b"9", b"-", b"e", b"."),
    *(b"0 1 0 0\n", b"600 1 1 0.001\n", b"1200 nan 0 0\n", b"0,1,0\n", b"1,2,0\n", b"time,flux,flag\n"),
    b"1e999 inf 0 0\n",
    *(b"SIMPLE  =", b"# %ECSV 1.0\n", b"PK\x03\x04", b"1;2,5;0\n", b"true", b"null", b"\xe2\x80\xae"),
]  # fmt: skip
STRATEGY = st.tuples(
    st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from([1, 1, 1, 3, 50, 5000])), max_size=12),
    st.sampled_from(["gzip", "gzip", "plain", "byte", "cut", "twice"]),
    st.integers(0, 2**32),
)


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="eas-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def check(example: tuple[list[tuple[bytes, int]], str, int]) -> None:
    """Fail if a file takes long to read, or gives anything but a light curve or a LightCurveError."""
    pieces, how, seed = example
    content = b"".join(piece * times for piece, times in pieces)
    if how != "plain":
        content = gzip.compress(content, 1)
    if how in ("byte", "cut"):
        at = random.Random(seed).randrange(len(content))
        content = content[:at] + (bytes([content[at] ^ 0x41]) + content[at + 1 :] if how == "byte" else b"")
    path = _folder() / "lc.gz"
    path.write_bytes(content * 2 if how == "twice" else content)
    for read in (files.read, lcsg.read):
        started = time.thread_time()
        try:
            assert len(read(path)) > 0
        except LightCurveError as error:
            assert str(error)
        assert time.thread_time() - started < MAX_CPU
