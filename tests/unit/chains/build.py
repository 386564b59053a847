"""Short ways to write a chain in a test."""

from __future__ import annotations

import json
from typing import Any

from eas.chains.expansion import Expander
from eas.chains.grammar import Chain, parse_chain
from eas.chains.plan import Plan, plan
from eas.registry import builtin, merge_registries

REGISTRY = merge_registries([("builtin", builtin())])


def chain(*tasks: dict[str, Any], **others: Any) -> Chain:
    return parse_chain(json.dumps({**others, "task_list": list(tasks)}), "test.json", REGISTRY)


def planned(*tasks: dict[str, Any], **options: Any) -> Plan:
    return plan(chain(*tasks), REGISTRY, "1", job_name="job", working_directory="wd", **options)


def expander(*tasks: dict[str, Any], seed: str = "1") -> Expander:
    return Expander(chain(*tasks), REGISTRY, seed)


def null(**others: Any) -> dict[str, Any]:
    return {"task": "null", **others}


def makes(file_name: str, **others: Any) -> dict[str, Any]:
    return {"task": "synthesis_batman", "outputs": {"lightcurve": file_name}, **others}


def reads(file_name: str, **others: Any) -> dict[str, Any]:
    return {"task": "verify", "inputs": {"lightcurve": file_name}, **others}


def bins(source: str, target: str, **others: Any) -> dict[str, Any]:
    return {"task": "binning", "inputs": {"lightcurve": source}, "outputs": {"lightcurve": target}, **others}


def searches(file_name: str, **others: Any) -> dict[str, Any]:
    return {"task": "transit_search_bls_reference", "inputs": {"lightcurve": file_name}, **others}


def loop(parameter: str, values: Any, *tasks: dict[str, Any], key: str = "values", **others: Any) -> dict[str, Any]:
    return {"task": "execution_for_loop", "parameter": parameter, key: values, "task_list": list(tasks), **others}


def either(criterion: Any, yes: list[dict[str, Any]], no: list[dict[str, Any]], **others: Any) -> dict[str, Any]:
    return {"task": "execution_conditional", "criterion": criterion, "task_list": yes, "else_task_list": no, **others}


def repeat(name: str, criterion: Any, *tasks: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {
        "task": "execution_do_while_loop",
        "iteration_name": name,
        "repeat_criterion": criterion,
        "task_list": list(tasks),
        **others,
    }


PASSED = "(requested_metadata['transit_detection']['outcome'] == 'PASS')"
FILE = "'evsize_batman_{tda_index}_{cadence_index}_{size_index}.gz'.format(**metadata)"


def campaign_chain(*more: dict[str, Any], sizes: int = 10) -> dict[str, Any]:
    """A sweep as users have them."""
    synthesis = makes(
        FILE,
        name="lightcurve_synthesis",
        specs={
            "duration": 730,
            "planet_radius": "(metadata['size'])",
            "semi_major_axis": "(pow(metadata['lc_length']/365.25, 2/3))",
            "noise": "(constants.plato_noise)",
            "enable_transits": 0,
        },
    )
    search = {
        "task": "'transit_search_{tda}'.format(**metadata)",
        "name": "transit_detection",
        "inputs": {"lightcurve": FILE},
        "lc_duration": "(metadata['lc_length'])",
    }
    size = loop(
        "size",
        ["(constants.Rearth / 4)", "(constants.Rearth * 4)", sizes],
        synthesis,
        reads(FILE, name="lightcurve_verification"),
        search,
        *more,
        key="log_range",
    )
    lengths = loop("lc_length", ["(3 * constants.month)"], size)
    return loop("tda", ["bls_reference", "tls"], loop("cadence", [900, 25], lengths))
