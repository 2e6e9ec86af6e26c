"""The organisers' protocol: their command, their folders, and what carries over in them."""

from collections.abc import Callable
from typing import Any

import pytest

from evaluation.running.outcomes import Status

pytestmark = pytest.mark.docker

COPY_MASK = "for f in inputs/*.npz; do cp mask.npz outputs/${f##*/}; done\n"

Factory = Callable[..., Any]


def test_folders_live_on_and_their_use_is_reported(
    make_image: Factory, make_case: Factory, run_team: Factory, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2, 3):
        make_case(f"2DBox_US_{number}")
    script = "ls inputs outputs; cat outputs/cache 2>/dev/null; echo blob > outputs/cache\n"
    image = make_image(script + COPY_MASK)
    result = run_team(image, "--protocol", "cvpr24-official")
    assert {record.status for record in result.history} == {Status.OK}
    found = [(record.carried_files, record.carried_used) for record in result.history]
    assert found == [(0, 0), (1, 1), (1, 1)]
    assert result.history[1].carried_names == ("outputs/cache",)
    assert (result.folder / "logs" / "2DBox_US_3.log").read_text() == (
        "inputs:\n2DBox_US_3.npz\n\noutputs:\ncache\nblob\n"
    )
    assert "2 cases found files of earlier ones, 2 used them" in caplog.text


def test_the_container_has_what_the_organisers_give_it(
    make_image: Factory, make_case: Factory, run_team: Factory
) -> None:
    make_case("2DBox_US_1")
    script = "id -u; ls /sys/class/net | head -n 1; echo x > /new; echo x > inputs/new\n"
    result = run_team(make_image(script + COPY_MASK), "--protocol", "cvpr24-official")
    assert result.only.status is Status.OK
    assert (result.folder / "logs" / "2DBox_US_1.log").read_text() == "0\neth0\n"


def test_isolated_cases_carry_nothing(
    make_image: Factory, make_case: Factory, run_team: Factory
) -> None:
    make_case()
    assert run_team(make_image()).only.carried_files is None
