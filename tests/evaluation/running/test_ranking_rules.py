"""The [ranking] table of a protocol."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from evaluation.errors import UsageError
from evaluation.running.protocol import Protocol
from evaluation.running.protocol_options import read_protocol, shipped_protocols
from evaluation.running.ranking_rules import RankingRules, parse_rules


def test_a_table_and_its_stored_form_give_the_same_rules():
    table = {"scheme": "test-then-rank", "weights": {"seconds": 0.5}, "seconds-tolerance": 10}
    rules = parse_rules(table | {"balance-modalities": False, "seed": 7, "bootstraps": 10})
    assert rules.weights == {"dsc": 1.0, "nsd": 1.0, "seconds": 0.5}
    assert (rules.seconds_tolerance_s, rules.balance_modalities, rules.seed) == (10.0, False, 7)
    assert parse_rules(asdict(rules)) == rules
    assert parse_rules({}) == RankingRules()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"scheme": "best"}, "scheme: expected rank-then-average"),
        ({"scheme": 3}, "scheme: expected str"),
        ({"wheights": {}}, "expected keys out of scheme, weights"),
        ({"weights": {"dice": 1}}, "weights: expected dsc, nsd and seconds"),
        ({"weights": {"dsc": -1}}, "dsc: expected 0 or more"),
        ({"weights": {"dsc": "1"}}, "dsc: expected a number"),
        ({"weights": {"dsc": 0, "nsd": 0, "seconds": 0}}, "at least one above 0"),
        ({"weights": 1}, "weights: expected dict"),
        ({"balance-modalities": 1}, "balance-modalities: expected bool"),
        ({"alpha": 0}, "alpha: expected between 0 and 1"),
        ({"alpha": float("nan")}, "alpha: expected a number"),
        ({"bootstraps": 0}, "bootstraps: expected 1 or more"),
        ({"bootstraps": 1.5}, "expected a whole number"),
        ({"seed": -1}, "seed: expected 0 or more"),
        ({"seconds-tolerance": -1}, "seconds-tolerance: expected 0 or more"),
        ([], "expected a table"),
    ],
)
def test_a_table_that_means_nothing_is_refused_by_name(table, message):
    with pytest.raises(UsageError, match=rf"here: .*{message}"):
        parse_rules(table, "here")


def test_protocols_carry_their_rules_and_containers_do_not_notice(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('memory = "1g"\n[ranking]\nscheme = "aggregate-then-rank"\n')
    protocol = Protocol(**read_protocol(str(path)))
    assert protocol.ranking.scheme == "aggregate-then-rank"
    assert protocol.digest == Protocol(memory_bytes=1 << 30).digest
    path.write_text("[ranking]\nalpha = 2\n")
    with pytest.raises(UsageError, match=r"own\.toml: \[ranking\]: alpha"):
        read_protocol(str(path))


def test_shipped_protocols_rank_as_the_labs_challenges_do():
    schemes = {name: Protocol(**read_protocol(name)).ranking for name in shipped_protocols()}
    assert {rules.scheme for rules in schemes.values()} == {"rank-then-average"}
    assert not schemes["flare22-like"].balance_modalities
