"""A private RabbitMQ server on a loopback port with its own data folder, node name and epmd."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pika
import pika.exceptions

from infra.services import processes, servers
from infra.services.service_state import State, folder, is_listening


def _data_folder() -> Path:
    return folder() / "rabbitmq"


def _pid_file() -> Path:
    return folder() / "rabbitmq.pid"


def _log() -> Path:
    return folder() / "rabbitmq.log"


def start(state: State) -> None:
    """Start the server unless it runs."""
    if not is_listening(state.epmd_port):
        _start_epmd(state)
    if processes.find(_pid_file()) is None:
        command = servers.command([servers.require("rabbitmq-server", "rabbitmq-server")])
        _configure(state)
        processes.start(command, log=_log(), pid_file=_pid_file(), environment=environment(state))
    processes.wait_until(lambda: can_log_in(state), pid_file=_pid_file(), log=_log(), what="RabbitMQ")


def _start_epmd(state: State) -> None:
    epmd = servers.require("epmd", "rabbitmq-server")
    processes.start(
        servers.command([epmd, "-port", str(state.epmd_port), "-address", "127.0.0.1"]),
        log=folder() / "epmd.log",
        pid_file=folder() / "epmd.pid",
        environment={"PATH": os.environ.get("PATH", ""), "HOME": str(folder())},
    )


def _configure(state: State) -> None:
    _data_folder().mkdir(parents=True, exist_ok=True)
    configuration = _data_folder() / "rabbitmq.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(
        f"listeners.tcp.1 = 127.0.0.1:{state.amqp_port}\n"
        "default_user = eas\n"
        f"default_pass = {state.password}\n"
        "loopback_users = none\n"
        "log.console = true\n"
        "log.console.level = warning\n"
        "disk_free_limit.absolute = 50MB\n",
        encoding="utf-8",
    )
    (_data_folder() / "enabled_plugins").write_text("[].\n", encoding="ascii")


def environment(state: State) -> dict[str, str]:
    """Return the environment of RabbitMQ's programs."""
    place = _data_folder()
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(place),
        "LANG": "C.UTF-8",
        "RABBITMQ_NODENAME": f"eas{state.amqp_port}@localhost",
        "RABBITMQ_CONFIG_FILE": str(place / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(place / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(place / "data"),
        "RABBITMQ_LOG_BASE": str(place / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_DIST_PORT": str(state.distribution_port),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "ERL_EPMD_PORT": str(state.epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        # Few threads, bound to cores: the default settings use all cores of a large machine.
        "RABBITMQ_IO_THREAD_POOL_SIZE": "32",
        "RABBITMQ_SCHEDULER_BIND_TYPE": "u",
    }


def can_log_in(state: State) -> bool:
    """Return whether a client can log in."""
    if not is_listening(state.amqp_port):
        return False
    try:
        pika.BlockingConnection(pika.URLParameters(f"{state.rabbitmq_url}?socket_timeout=5")).close()
    except (pika.exceptions.AMQPError, OSError):
        return False
    return True


def control(state: State, *arguments: str) -> str:
    """Run ``rabbitmqctl`` on the server and return its output."""
    command = servers.command([servers.require("rabbitmqctl", "rabbitmq-server"), *arguments])
    done = subprocess.run(command, env=environment(state), check=True, capture_output=True, text=True)
    return done.stdout


def stop(how: signal.Signals = signal.SIGTERM, *, with_epmd: bool = True) -> bool:
    """Stop the server (SIGKILL simulates a crash); return whether it ran."""
    ran = processes.end(_pid_file(), how=how)
    if with_epmd:
        processes.end(folder() / "epmd.pid")
    return ran


def running() -> bool:
    """Return whether the server process runs."""
    return processes.find(_pid_file()) is not None
