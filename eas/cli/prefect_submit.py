"""``eas submit --through-prefect``: submits a chain to a deployment through Prefect's API alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eas import registry
from eas.chains.grammar import load_chain
from eas.errors import RequestError, ServiceError
from eas.operations.plan import plan_chain, require_no_warnings

DEPLOYMENT = "run-chain/eas"
OPTIONS = ("if_exists", "retries", "backoff", "max_stalls", "seed", "priority", "job_name")


def submit_through_prefect(file: Path, values: dict[str, Any]) -> dict[str, str]:
    """Check a chain locally and create a flow run of the deployment ``run-chain`` with it; return the flow run.

    Raises RequestError if the chain or the API's address is wrong, ServiceError if the API does not answer.
    """
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
    from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL

    url = PREFECT_API_URL.value()
    if not url:
        raise RequestError("no Prefect API is configured", hint="set PREFECT_API_URL to http://HOST:4200/api")
    known = registry.load()
    parsed = load_chain(file, known)
    if values["strict"]:
        require_no_warnings(parsed, plan_chain(parsed, known))
    chain = json.loads(file.read_text(encoding="utf-8"))
    parameters = {name: values[name] for name in OPTIONS if values[name] is not None} | {"chain": chain}
    try:
        with get_client(sync_client=True) as client:
            deployment = client.read_deployment_by_name(DEPLOYMENT)
            run = client.create_flow_run_from_deployment(deployment.id, parameters=deployment.parameters | parameters)
    except ObjectNotFound:
        raise RequestError(
            f"{url} has no deployment {DEPLOYMENT}", hint="run `eas deploy`, or `prefect deploy --all`"
        ) from None
    except PrefectHTTPStatusError as error:
        hint = "set PREFECT_API_AUTH_STRING" if error.response.status_code == 401 else "check the server's message"
        raise ServiceError(
            f"Prefect at {url} refused the chain: {error.response.status_code} {error.response.text[:300]}", hint=hint
        ) from None
    except (httpx.HTTPError, RuntimeError) as error:
        raise ServiceError(
            f"Prefect at {url} cannot be reached: {error}", hint="check PREFECT_API_URL and the port-forward"
        ) from None
    return {
        "flow_run_id": str(run.id),
        "name": run.name,
        "url": f"{PREFECT_UI_URL.value() or url}/runs/flow-run/{run.id}",
    }
