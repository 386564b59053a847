import json

import pytest

from reports.units import axis_label, parameter_units


def chain(**settings):
    body = {"task": "synthesis_batman", "specs": settings}
    loop = {"task": "execution_for_loop", "parameter": "size", "values": [1], "task_list": [body]}
    return json.dumps({"task_list": [loop]})


@pytest.mark.parametrize("text", ["(metadata['size'])", '(metadata["size"])', " ( metadata[ 'size' ] ) "])
def test_a_parameter_has_the_unit_of_the_setting_that_takes_it_unchanged(text):
    assert parameter_units(chain(planet_radius=text)) == {"size": "Jupiter radii"}


@pytest.mark.parametrize("text", ["(metadata['size'] * 2)", "metadata", "(metadata['size'] + metadata['size'])"])
def test_a_parameter_that_is_changed_on_the_way_has_no_known_unit(text):
    assert parameter_units(chain(planet_radius=text)) == {}


def test_a_parameter_with_two_units_has_none():
    both = chain(planet_radius="(metadata['size'])", orbital_period="(metadata['size'])")
    assert parameter_units(both) == {}


def test_every_axis_has_a_unit():
    assert axis_label("orbital_period [days]", {}) == "orbital period [days]"
    assert axis_label("size", {"size": "Jupiter radii"}) == "size [Jupiter radii]"
    assert axis_label("parameter_state", {"state": "s"}) == "parameter state [s]"
    assert axis_label("growth_index", {}) == "growth index [number]"
    assert axis_label("tool", {}) == "tool [unit as in the chain]"
