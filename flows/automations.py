"""The automation that finds flow runs whose process was killed.

A killed process cannot tell the Prefect server that it is gone. Flow runs of the deployments send a
heartbeat every 30 s; one that sends none for 90 s, and has not ended, becomes *Crashed*.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

NAME = "eas: flow runs without heartbeat"
TAG = "eas"
"""Flow runs with this tag are watched: those of the deployments, and what they and ``eas run`` start."""
WITHIN = 90.0
"""Three heartbeats, as the deployments send them [s]."""
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


def save_heartbeat_automation(within: float = WITHIN) -> dict[str, Any]:
    """Create the automation, or bring the one that is there up to date; a build step of ``prefect.yaml``.

    Returns its id, as steps do.
    """
    automation = heartbeat_automation(within)
    with get_client(sync_client=True) as client:
        there = client.read_automations_by_name(NAME)
        if not there:
            return {"automation": str(client.create_automation(automation))}
        client.update_automation(there[0].id, automation)
        for double in there[1:]:
            client.delete_automation(double.id)
        return {"automation": str(there[0].id)}
