"""The values between a task and a cluster: what is secret in them is not shown."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.cluster_contract import SPEC
from womm.cluster.base import Place, Pod, ShareSpec

EXPORT = "0123456789abcdef" * 2
SHARE = ShareSpec("lazy", Path("/proj"), {"export": f"{EXPORT}\n".encode(), "key": b"\xffprivate"})


def test_path_of_a_share_is_its_secret_and_not_its_folder():
    assert SHARE.export == f"/womm-{EXPORT}"


def test_secrets_of_a_share_are_in_no_text_of_it():
    for value in (SHARE, replace(SPEC, share=SHARE), [replace(SHARE, claim="data")]):
        for text in (repr(value), str(value)):
            assert EXPORT not in text
            assert "private" not in text
    assert "/proj" in repr(SHARE)


def test_share_without_a_secret_has_no_path():
    with pytest.raises(KeyError):
        assert ShareSpec("lazy", Path("/proj"), {}).export


def test_life_of_a_pod_is_told_from_the_next_one_of_its_name():
    first, second = Pod("p", 1, 4, pid=7), Pod("p", 2, 4, pid=7)
    assert first != second
    assert len({first, second, Pod("p", 1, 4, pid=7)}) == 2
    assert (first.node, Place()) == ("", Place("", ""))
