#!/bin/sh
# Installs the packages of the core, and of the extras that are named, at the locked versions, into .venv.
set -eu
for extra in "$@"; do
    shift
    set -- "$@" --extra "$extra"
done
exec sh /opt/tools/bin/fetch /opt/tools/bin/uv pip install --quiet --no-cache --link-mode=copy --compile-bytecode \
    --python .venv/bin/python --constraint requirements.txt --requirement pyproject.toml "$@"
