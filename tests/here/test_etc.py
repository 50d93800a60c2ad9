"""What of /etc pods see."""

import os

import pytest

from womm.here import etc


def test_shown_has_what_is_there_of_the_list_and_nothing_else(tmp_path):
    files = (
        "passwd shadow ssl/certs/ca.pem ssl/private/x.key ssl/openssl.cnf python3.12/site.py java-17/x.cfg"
        " hostname wgetrc profile environment ld.so.conf.d/a.conf ssh/ssh_config sudoers default/locale"
        " default/cron os-release"
    )
    for name in files.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "localtime").symlink_to("/usr/share/zoneinfo/gone")
    assert set(etc.shown(str(tmp_path))) == set(
        "passwd ssl/certs ssl/openssl.cnf python3.12 java-17 ld.so.conf.d default/locale os-release".split()
    )


def test_shown_of_this_machine_has_what_programs_need():
    found = etc.shown()
    assert {"passwd", "group", "nsswitch.conf", "ld.so.cache", "alternatives", "os-release"} <= set(found)
    assert not any(os.path.basename(path) in {"shadow", "hosts", "resolv.conf", "hostname"} for path in found)


@pytest.mark.parametrize(
    "path",
    "shadow shadow- gshadow passwd- ssh/ssh_host_rsa_key sudoers.d/x ssl/private/a.pem java-17/security/x.jks"
    " python3/server.KEY php/credentials.ini R/secret machine-id".split(),
)
def test_never_hides_what_is_private(path):
    assert etc.never(path)


@pytest.mark.parametrize("path", "passwd ssl/certs/ca.pem ssl/certs/java/cacerts perl/Net/libnet.cfg".split())
def test_never_leaves_what_programs_need(path):
    assert not etc.never(path)
