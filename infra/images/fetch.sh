#!/bin/sh
# Runs a command that downloads packages, with the mounted configuration of a package index, if any.
set -e
if [ -f /run/secrets/pip_conf ]; then
    export PIP_CONFIG_FILE=/run/secrets/pip_conf
fi
if [ -f /run/secrets/uv_conf ]; then
    export UV_CONFIG_FILE=/run/secrets/uv_conf
fi
if [ -f /run/secrets/certificates ]; then
    export SSL_CERT_FILE=/run/secrets/certificates PIP_CERT=/run/secrets/certificates
fi
exec "$@"
