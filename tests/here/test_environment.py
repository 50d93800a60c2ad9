"""Which variables come along."""

import os

from womm.here.environment import environment


def everything(path):
    return True


def test_environment_takes_the_list_and_no_more():
    env = {
        "LANG": "C.UTF-8",
        "LC_TIME": "de_DE.UTF-8",
        "HOME": "/home/me",
        "EDITOR": "vi",
        "PYTHONPATH": "src",
        "TZ": "",
    }
    found = environment(env, ["/usr/bin", "/opt/x/bin"], {"RUSTUP_HOME": "/r"}, everything)
    assert found.kept == {
        "LANG": "C.UTF-8",
        "LC_TIME": "de_DE.UTF-8",
        "PATH": "/usr/bin:/opt/x/bin",
        "PYTHONPATH": "src",
        "RUSTUP_HOME": "/r",
    }
    assert found.left_out == {}


def test_environment_leaves_out_secrets_bytes_and_what_pods_do_not_see():
    env = {
        "GOFLAGS": "-ldflags=-X=main.token=ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
        "PYTHONPATH": os.fsdecode(b"/x\xff"),
        "VIRTUAL_ENV": "/home/me/venv",
        "SSL_CERT_FILE": "/home/me/ca.pem",
    }
    found = environment(env, ["/usr/bin"], {}, lambda path: path.startswith("/usr"))
    assert found.kept == {"PATH": "/usr/bin"}
    assert found.left_out["VIRTUAL_ENV"] == "pods do not see /home/me/venv"
    assert "looks like a secret" in found.left_out["GOFLAGS"]
    assert set(found.left_out) == set(env)
