"""The automations that find flow runs whose process was killed, and start supervisor and scaler again.

A killed process cannot report its end to the Prefect server. Flow runs of the deployments send a
heartbeat every 30 s; one that sends none for 90 s, and has not ended, becomes *Crashed*. A crashed run
of a service is followed by a new one with the same parameters. Where the process lives after all, the
new run stands by: the lease in SQL decides which one works.
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
"""Flow runs with this tag are watched: those of the deployments, and what they and ``eas run`` start."""
WITHIN = 90.0
"""Three heartbeats, as the deployments send them [s]."""
SERVICES = ("schedule-waiting-tasks", "scale-workers")
"""Flows that keep running and are started again."""
RESTARTS = {flow: f"eas: start {flow} again" for flow in SERVICES}
"""The names of their automations."""
PAUSE = 30.0
"""Time between a crash and the new run [s]: what crashes at once is not started without end in a hurry."""
SAME_PARAMETERS = {
    "__prefect_kind": "json",
    "value": {"__prefect_kind": "jinja", "template": "{{ flow_run.parameters | tojson }}"},
}
ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "AwaitingRetry", "Paused", "Suspended")


def heartbeat_automation(within: float = WITHIN) -> AutomationCore:
    """Return the automation, not saved yet; ``within``: the longest silence of a living flow run [s]."""
    ends = {f"prefect.flow-run.{name}" for name in ENDS}
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
    """Return the automation that follows a crashed run of a deployment of ``flow`` by a new one, not saved yet.

    A run that failed or was cancelled is not followed: it ended by itself, or an operator ended it.
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
    again = RunDeployment(source="inferred", parameters=SAME_PARAMETERS, schedule_after=timedelta(seconds=PAUSE))
    return AutomationCore(
        name=RESTARTS[flow],
        description=f"Starts {flow} again, with the same parameters, after its process was killed.",
        enabled=True,
        trigger=trigger,
        actions=[again],
    )


def save_automations(within: float = WITHIN) -> dict[str, Any]:
    """Create the automations, or update those that exist; a build step of ``prefect.yaml``.

    Returns their ids by name, as steps return their results.
    """
    wanted = [heartbeat_automation(within), *map(restart_automation, SERVICES)]
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
