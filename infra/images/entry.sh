#!/bin/sh
# Runs a command of an image. The root of the file system may be read-only; numba wants to write beside
# what it reads: it gets a copy of the code that was compiled when the image was built.
set -e
if [ -d "$EAS_NUMBA_CACHE" ] && [ ! -e "$NUMBA_CACHE_DIR" ]; then
    cp -r "$EAS_NUMBA_CACHE" "$NUMBA_CACHE_DIR" 2>/dev/null || true
fi
exec "$@"
