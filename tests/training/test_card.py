"""The card says what the records say."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from training.card_tables import bars, interval, markdown_table
from training.errors import RecordError
from training.recipe import CardConfig
from training.validate import CaseAccuracy, write_accuracy

ROOT = Path(__file__).resolve().parents[2]
CONFIG = CardConfig(resamples=500)


def row(dsc, group="a", modality="CT", dims="2D", ellipse=0.5, source="s", file="f"):
    return CaseAccuracy(file, dims, modality, source, group, 2, dsc, 0.4, ellipse, 0.3)


def text_of(bundle, folder):
    from training.card import card_text, read_records

    return card_text(read_records(bundle, folder), CONFIG)


def test_whole_groups_are_drawn_so_that_like_cases_do_not_narrow_an_interval():
    apart = [row(d, group=str(i)) for i, d in enumerate([0.2, 0.4, 0.6, 0.8] * 5)]
    alike = [row(d, group=str(i % 4)) for i, d in enumerate([0.2, 0.4, 0.6, 0.8] * 5)]
    narrow, wide = (interval([rows], CONFIG) for rows in (apart, alike))
    assert narrow[0] < 0.5 < narrow[1] and wide[0] < 0.5 < wide[1]
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])
    # 20 independent values of deviation 0.2236: 2 * 1.96 * 0.2236 / sqrt(20)
    assert narrow[1] - narrow[0] == pytest.approx(0.196, rel=0.12)


def test_an_interval_is_that_of_the_mean_over_modalities():
    steady = [row(0.9, "x", "MR")]
    varied = [row(0.0, "a"), row(1.0, "b")]
    assert interval([steady, varied], CONFIG) == pytest.approx((0.45, 0.95))
    assert interval([steady], CONFIG) is None


def test_bars_are_met_or_not():
    tight = [row(0.93, modality="CT"), row(0.92, modality="MR", ellipse=0.91),
             row(0.7, dims="3D")]  # fmt: skip
    loose = [replace(r, dsc=r.dsc - 0.02) for r in tight]
    costs = {"f32": {}, "bf16": {"2D": {"dsc": 0.9, "loss": 0.004}}, "bf16_native": True}
    costs["int8"] = {"2D": {"dsc": 0.8, "loss": 0.1}}  # nothing chooses it
    cost = {"encoder_ms": {"median": 100.0}, "decoder_ms": {"median": 49.0}}
    rows = bars(tight, loose, {"precision_costs": costs, "cost": cost})
    met = {words.split(":")[0] + words[-12:]: yes for words, _, yes in rows}
    assert [yes for *_, yes in rows] == ["yes", "**no**", "yes", "yes", "yes", "**no**", "yes"], met
    near = bars([row(0.52)], [], {})[1]
    assert near[1:] == ["CT +0.020", "**no**"]


def test_a_table_survives_a_bar_in_its_words():
    assert markdown_table(["a", "b"], "-r", [["x|y", "1"]]).splitlines()[-1] == "| x/y | 1 |"


@pytest.fixture
def records(tmp_path):
    """Records of the version that ships, and of an earlier one made up."""
    folder = tmp_path / "records" / "0.1.0"
    shutil.copytree(ROOT / "training" / "records" / "0.1.0", folder)
    earlier = tmp_path / "records" / "0.0.9"
    earlier.mkdir()
    write_accuracy([row(0.5), row(0.25, dims="3D")], earlier / "test_tight.csv")
    (tmp_path / "records" / "0.10.0").mkdir()
    return folder


@pytest.fixture
def bundle(tmp_path):
    """A bundle that measured everything."""
    verdict = {"group": "volumes", "modality": "CT", "cases": 9, "groups": 9, "kept": False,
               "general_dsc": 0.7, "expert_dsc": 0.71, "reason": "gain +0.0050"}  # fmt: skip
    source = {"dims": "2D", "modality": "CT", "source": "toy", "cases": 1,
              "licence": ["CC0"], "redistributable": ["yes"]}  # fmt: skip
    content = {
        "name": "toy", "version": "0.1.0", "experts": [verdict],
        "training": {"sources": [source], "warm_start": "nothing"},
        "precision_costs": {"cases": 4, "bf16_native": False,
                            "f32": {"2D": {"dsc": 0.9, "loss": 0.0}},
                            "int8": {"2D": {"dsc": 0.898, "loss": 0.002}}},
        "cost": {"engine": "openvino", "precision": "f32", "threads": 2, "processor": "P",
                 "encoder_ms": {"median": 30.0, "best": 29.0}, "joules_per_case": None,
                 "decoder_ms": {"median": 20.0, "best": 19.0},
                 "energy_by": "not measured: RAPL is absent"},
    }  # fmt: skip
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "bundle.json").write_text(json.dumps(content))
    return tmp_path / "bundle"


def test_the_card_repeats_every_record(bundle, records):
    text = text_of(bundle, records)
    for words in (
        "| 2D | Fundus | 20 | 20 | 0.903 |",  # accuracy, as version 0.1.0 measured it
        "| 3D | **mean over modalities** | 27 | 23 | **0.745** |",
        "| 2D | **mean over modalities** | 262 | 238 | **0.728** |",  # loosened
        "| 2D | PET | 8 | 1 | 0.881 | one group |",
        "| threshold, 2D | 0: 0.892, -0.4: 0.900, -0.6: 0.901 | -0.6 |",
        "| masks averaged over mirrored regions | 0.890 to 0.879 (2 views) and 0.874 (4)",
        "with an exact prior, 0.64 with its own",
        "4,000 steps in 1.6 h by the run's log",
        "- A ring, such as myocardium, is often filled.",
        "| volumes | CT | 9 | 0.700 | 0.710 | no: gain +0.0050 |",
        "| int8 | 0.8980 (-0.0020) |",
        "has no bf16",
        "Energy: not measured: RAPL is absent.",
        "| 2D | CT | toy | 1 | yes | CC0 |",
        "| 0.0.9 | 0.500 | 0.250 |  |  |",
    ):
        assert words in text
    assert "0.10.0" not in text  # later versions are none of its business


def test_the_worst_cases_come_first_at_most_two_of_a_source():
    from training.failures import worst

    rows = [row(d, source=s) for d, s in ((0.3, "a"), (0.1, "a"), (0.2, "a"), (0.4, "b"))]
    assert [r.dsc for r in worst(rows, 3)] == [0.1, 0.2, 0.4]


def test_what_was_not_measured_is_said(bundle, records):
    content = json.loads((bundle / "bundle.json").read_text())
    for key in ("experts", "precision_costs", "cost"):
        del content[key]
    (bundle / "bundle.json").write_text(json.dumps(content))
    (records / "test_loose.csv").unlink()
    text = text_of(bundle, records)
    assert "has not been measured" in text and "Not recorded: `python -m training cost" in text
    assert "loosened by up to 5 %" not in text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("record.toml", None, r"record\.toml: expected a record, found: No such file"),
        ("test_tight.csv", None, r"test_tight\.csv: expected a record"),
        ("record.toml", "parts = 3", r"record\.toml: parts: expected list, found int"),
        (
            "test_tight.csv",
            "file,dsc\na,0.5\n",
            r"test_tight\.csv: expected the columns file, dims",
        ),
        ("record.toml", "parts = ", r"expected JSON and TOML"),
    ],
)
def test_a_missing_record_is_named_and_no_card_is_written(bundle, records, name, content, message):
    from training.card import write_card

    (records / name).unlink() if content is None else (records / name).write_text(content)
    with pytest.raises(RecordError, match=message):
        write_card(bundle, records, records / "card.md", CONFIG)
    assert not (records / "card.md").exists()


def test_the_card_in_the_repository_is_the_one_of_its_records(tmp_path):
    from training.card import write_card

    bundle = ROOT / "inference" / "bundle"
    version = json.loads((bundle / "bundle.json").read_text())["version"]
    write_card(bundle, ROOT / "training" / "records" / version, tmp_path / "c.md", CardConfig())
    assert (tmp_path / "c.md").read_text() == (ROOT / "docs" / "model_card.md").read_text(), (
        "python -m training card --bundle inference/bundle "
        f"--records training/records/{version} --out docs/model_card.md"
    )
