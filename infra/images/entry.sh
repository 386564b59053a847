#!/bin/sh
# Runs a command of an image. The root file system may be read-only, but numba needs a writable cache:
# copy the cache that was compiled when the image was built.
# EAS_AWAIT_PREFECT: time for which a pod waits for Prefect's API before its command starts [s].
set -e
if [ -d "$EAS_NUMBA_CACHE" ] && [ ! -e "$NUMBA_CACHE_DIR" ]; then
    cp -r "$EAS_NUMBA_CACHE" "$NUMBA_CACHE_DIR" 2>/dev/null || true
fi
if [ -n "$EAS_AWAIT_PREFECT" ]; then
    python -m infra.deploy.await_prefect "$EAS_AWAIT_PREFECT" || true
fi
exec "$@"
