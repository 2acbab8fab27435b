"""Golden runs: their hashes are stable within a process, and differences are found."""

from tests.support.golden import MADELON, differences, digest_of

TINY = MADELON | {"training.epochs": 2, "network.hidden": (20, 10)}


def test_digest_of__is_the_same_for_the_same_run(tmp_path):
    first, again = (digest_of(TINY, tmp_path / name) for name in ("first", "again"))
    assert first == again
    assert digest_of(TINY | {"run.seed": 1}, tmp_path / "other seed") != first


def test_differences__are_listed_by_name():
    assert differences({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == ["b", "c"]
