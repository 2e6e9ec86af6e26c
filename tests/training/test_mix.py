"""Mixing of two runs."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from training.checkpoint import load_state, save_state  # noqa: E402
from training.errors import CheckpointError  # noqa: E402
from training.mix import mix, mixed  # noqa: E402


def run(folder: Path, value: float, count: int) -> Path:
    folder.mkdir()
    weights = {"w": torch.full((2, 2), value), "seen": torch.tensor(count)}
    save_state({"model": weights, "average": weights, "optimiser": {}, "step": count},
               folder / "last.pt")  # fmt: skip
    (folder / "config.toml").write_text(f"steps = {count}\n")
    return folder


def test_a_mix_lies_between_its_ends_and_is_the_seconds_otherwise(tmp_path: Path) -> None:
    made = mix(run(tmp_path / "a", 1.0, 10), run(tmp_path / "b", 3.0, 20), tmp_path / "c", 0.75)
    state = load_state(made)
    assert torch.equal(state["average"]["w"], torch.full((2, 2), 2.5))
    assert int(state["average"]["seen"]) == 20
    assert state["step"] == 20
    assert (tmp_path / "c" / "config.toml").read_text() == "steps = 20\n"


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_ends_of_a_mix_are_the_runs_themselves(share: float) -> None:
    ends = ({"w": torch.tensor([1.5])}, {"w": torch.tensor([-4.0])})
    assert torch.equal(mixed(*ends, share)["w"], ends[int(share)]["w"])


def test_runs_of_two_networks_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"^b: expected the same shape .* found None and"):
        mixed({"a": torch.zeros(2)}, {"a": torch.zeros(2), "b": torch.zeros(3)}, 0.5)


def test_what_both_share_stays_to_the_bit():
    first, second = torch.tensor([-0.0, 0.1, 3.0]), torch.tensor([0.0, 0.1, 3.0])
    found = mixed({"w": first}, {"w": second}, 0.7)["w"]
    assert torch.equal(found.view(torch.int32), first.view(torch.int32))
