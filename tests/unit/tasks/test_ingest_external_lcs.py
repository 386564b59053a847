"""Ingestion of light curves from elsewhere."""

import dataclasses

import pytest

from eas.errors import TaskFailure
from eas.lightcurves import files
from eas.model import InputProduct
from eas.tasks.ingest_external_lcs import IngestExternalLCs
from eas.tasks.lightcurves import read_input
from eas.tasks.trivial import Null

GOOD = "# #orbital_period=3\n0,1,0\n0.5,0.99,0\n1,1,0\n"


@pytest.fixture
def inputs(bench):
    folder = bench.path("input")
    folder.mkdir()

    def context(settings, **contents):
        for name, content in contents.items():
            path = folder / name.replace("__", "/").replace("_csv", ".csv")
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
        made = bench.context(settings)
        return dataclasses.replace(made, input_directory=folder, new_directory=bench.directory)

    return context


def judge(context):
    task = IngestExternalLCs()
    checks = list(task.check(context, {}))
    return [
        *checks,
        *(each for name, path in context.new_outputs.items() for each in task.check_new(context, name, path)),
    ]


def test_each_file_becomes_a_light_curve_with_its_metadata(inputs, bench):
    context = inputs({"input_path": "*.csv"}, a_csv=GOOD, b_csv=GOOD, c_txt=GOOD)
    assert IngestExternalLCs().run(context) == {}
    assert list(context.new_outputs) == ["a.csv", "b.csv"]
    assert all(each.passed for each in judge(context))
    lightcurve = files.read(context.new_outputs["a.csv"])
    assert lightcurve.fluxes.tolist() == [1, 0.99, 1] and lightcurve.metadata == {"orbital_period": 3}
    product = InputProduct("a.csv", context.new_outputs["a.csv"])
    assert read_input(bench.context(inputs={"lightcurve": product}), "lightcurve").metadata == {"orbital_period": 3}


def test_all_good_files_come_before_the_failure(inputs):
    context = inputs(
        {"lc_type": "lcsg", "input_path": "**/*.csv"}, a_csv="0,1\n", deep__b_csv=GOOD, c_csv="0,1,0\n0,x,0\n"
    )
    with pytest.raises(TaskFailure, match=r"2 of 3 files .* a.csv, line 1: .*; c.csv, line 2: ") as caught:
        IngestExternalLCs().run(context)
    assert caught.value.hint and list(context.new_outputs) == ["b.csv"]
    assert all(each.passed for each in judge(context))


def test_qc_looks_at_every_product(inputs):
    context = inputs({"input_path": "*.csv"}, a_csv=GOOD, b_csv="0,nan,0\n1,nan,0\n")
    IngestExternalLCs().run(context)
    assert [each.name for each in judge(context) if not each.passed] == ["b.csv has good samples"]
    assert not IngestExternalLCs().check(inputs({}), None)[0].passed


@pytest.mark.parametrize(
    "settings, message",
    [
        ({}, "input_path is None"),
        ({"input_path": "*.fits"}, "no file below"),
        ({"input_path": "../*.csv"}, "leaves the input directory"),
        ({"input_path": "/etc/*"}, "leaves the input directory"),
        ({"input_path": "*.csv", "lc_type": "tess"}, "lc_type is 'tess'"),
        ({"input_path": "**/*.csv"}, "two files have the name a.csv"),
    ],
)
def test_settings_that_cannot_be_used(inputs, settings, message):
    context = inputs(settings, a_csv=GOOD, deep__a_csv=GOOD)
    with pytest.raises(TaskFailure, match=message) as caught:
        IngestExternalLCs().run(context)
    assert caught.value.hint


def test_a_link_out_of_the_input_directory_is_no_input(inputs, bench):
    context = inputs({"input_path": "*.csv"}, a_csv=GOOD)
    bench.path("secret.csv").write_text(GOOD)
    (context.input_directory / "b.csv").symlink_to(bench.path("secret.csv"))
    IngestExternalLCs().run(context)
    assert list(context.new_outputs) == ["a.csv"]


def test_other_tasks_may_make_no_such_products(bench):
    with pytest.raises(TaskFailure, match="must not make 'x'"):
        bench.context().new_output("x")
    context = dataclasses.replace(bench.context(), new_directory=bench.directory)
    path = context.new_output("x")
    with pytest.raises(TaskFailure, match="twice"):
        context.new_output("x")
    assert not Null().check_new(context, "x", path)[0].passed


def test_what_the_reader_assumed_is_in_the_log(inputs, caplog):
    context = inputs({"input_path": "*.csv"}, a_csv=GOOD.replace("=3", "=3 d"), b_csv=GOOD.replace("=3", "=soon,,"))
    IngestExternalLCs().run(context)
    assert "a.csv: orbital_period is '3 d': read as 3 days" in caplog.messages
    assert any(each.startswith("b.csv: orbital_period is 'soon', not a number of days") for each in caplog.messages)
    assert files.read(context.new_outputs["a.csv"]).metadata == {"orbital_period": 3}


@pytest.mark.parametrize("kind, suffix, form", [("fits", "fits", "fits"), ("ecsv", "ecsv", "ascii.ecsv")])
def test_fits_and_ecsv_files_become_light_curves_with_their_headers(inputs, kind, suffix, form):
    table = pytest.importorskip("astropy.table").Table
    context = inputs({"lc_type": kind, "input_path": f"*.{suffix}"}, bad_csv=GOOD)
    columns = {"TIME": [0.0, 0.5, 1.0], "PDCSAP_FLUX": [100.0, 99.0, 100.0], "QUALITY": [0, 0, 4]}
    table(columns, meta={"TEFF": 5772}).write(context.input_directory / f"a.{suffix}", format=form)
    (context.input_directory / "a.csv").write_text(GOOD)
    IngestExternalLCs().run(context)
    assert list(context.new_outputs) == [f"a.{suffix}"] and all(each.passed for each in judge(context))
    lightcurve = files.read(context.new_outputs[f"a.{suffix}"])
    assert lightcurve.metadata["teff"] == 5772 and lightcurve.flags.tolist() == [0, 0, 1]
    again = dataclasses.replace(context, settings={"lc_type": kind, "input_path": "*.csv"}, new_outputs={})
    with pytest.raises(TaskFailure, match=f"cannot be read as {kind.upper()}"):
        IngestExternalLCs().run(again)
