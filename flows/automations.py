"""The automations that find flow runs whose process was killed, and start supervisor and scaler again.

A killed process cannot report its end to the Prefect server. Flow runs of the deployments send a
heartbeat every 30 s; one that sends none for 90 s, and has not ended, becomes *Crashed*. A crashed run
of a service is followed by a new one with the same parameters. If the process is still alive, the
new run waits: only the holder of the lease in the task database is active.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

NAME = "eas: flow runs without heartbeat"
TAG = "eas"
"""Tag of the monitored flow runs: those of deployments, and those that deployments and ``eas run`` start."""
HEARTBEAT_TIMEOUT = 90.0
"""Three heartbeat intervals of the deployments [s]."""
SERVICE_FLOWS = ("schedule-waiting-tasks", "scale-workers")
"""Flows that keep running, and are restarted after a crash."""
AUTOMATION_NAMES = {flow: f"eas: start {flow} again" for flow in SERVICE_FLOWS}
"""Flow to the name of the automation that restarts it."""
RESTART_DELAY = 30.0
"""Delay between a crash and the new run [s]; it limits the rate of restarts of a flow that crashes immediately."""
PARAMETERS_TEMPLATE = {
    "__prefect_kind": "json",
    "value": {"__prefect_kind": "jinja", "template": "{{ flow_run.parameters | tojson }}"},
}
END_STATES = ("Completed", "Failed", "Cancelled", "Crashed", "AwaitingRetry", "Paused", "Suspended")


def heartbeat_automation(within: float = HEARTBEAT_TIMEOUT) -> AutomationCore:
    """Return the automation, unsaved; ``within``: time without a heartbeat after which a flow run has crashed [s]."""
    ends = {f"prefect.flow-run.{name}" for name in END_STATES}
    trigger = EventTrigger(
        posture=Posture.Proactive,
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        match_related=ResourceSpecification({"prefect.resource.id": f"prefect.tag.{TAG}"}),
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat", *ends},
        for_each={"prefect.resource.id"},
        threshold=1,
        within=timedelta(seconds=within),
    )
    message = f"no heartbeat for {within:g} s: its process is gone. Its job, if any, can be resumed."
    return AutomationCore(
        name=NAME,
        description="Marks flow runs of EAS whose process was killed as crashed.",
        enabled=True,
        trigger=trigger,
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=message)],
    )


def restart_automation(flow: str) -> AutomationCore:
    """Return the automation, unsaved, that starts a new run after a run of a deployment of ``flow`` has crashed.

    A run that failed or was cancelled is not restarted.
    """
    trigger = EventTrigger(
        posture=Posture.Reactive,
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        match_related=[
            ResourceSpecification({"prefect.resource.role": "flow", "prefect.resource.name": flow}),
            ResourceSpecification({"prefect.resource.role": "deployment"}),
            ResourceSpecification({"prefect.resource.id": f"prefect.tag.{TAG}"}),
        ],
        expect={"prefect.flow-run.Crashed"},
        for_each={"prefect.resource.id"},
        threshold=1,
        within=timedelta(0),
    )
    again = RunDeployment(
        source="inferred", parameters=PARAMETERS_TEMPLATE, schedule_after=timedelta(seconds=RESTART_DELAY)
    )
    return AutomationCore(
        name=AUTOMATION_NAMES[flow],
        description=f"Starts {flow} again, with the same parameters, after its process was killed.",
        enabled=True,
        trigger=trigger,
        actions=[again],
    )


def save_automations(within: float = HEARTBEAT_TIMEOUT) -> dict[str, Any]:
    """Create the automations, or update those that exist; a build step of ``prefect.yaml``.

    Returns their ids by name, as steps return their results.
    """
    wanted = [heartbeat_automation(within), *map(restart_automation, SERVICE_FLOWS)]
    with get_client(sync_client=True) as client:
        return {each.name: _save(client, each) for each in wanted}


def _save(client: SyncPrefectClient, automation: AutomationCore) -> str:
    there = client.read_automations_by_name(automation.name)
    if not there:
        return str(client.create_automation(automation))
    client.update_automation(there[0].id, automation)
    for double in there[1:]:
        client.delete_automation(double.id)
    return str(there[0].id)
