"""Whose folder a path is."""

from womm.here.homes import Homes, everybody_gets_to, everybody_reads, of_machine


def test_homes_hold_what_is_in_them():
    homes = Homes("/opt/me", ("/srv/you", "/nonexistent", "/"))
    for path in ("/opt/me/x", "/root/x", "/home/anybody/x", "/srv/you/a/b", "/Users/me/x"):
        assert homes.hold(path), path
    for path in ("/opt/x", "/opt/mean/x", "/opt/me", "/nonexistent/x"):
        assert not homes.hold(path), path


def test_homes_a_folder_that_is_or_holds_one_is_known():
    homes = Homes("/data/labs/me")
    for path in ("/data", "/data/labs", "/data/labs/me", "/home", "/home/you", "/root", "/"):
        assert homes.is_or_holds_one(path), path
    for path in ("/data/labs/me/bin", "/home/you/bin", "/opt", "/usr"):
        assert not homes.is_or_holds_one(path), path


def test_homes_beside_the_users_own_are_those_of_colleagues():
    homes = Homes("/tmp/ci/me", account="/nfs/home/me")
    assert homes.hold("/nfs/home/bob/bin")
    assert homes.is_or_holds_one("/nfs/home/bob")
    assert not homes.hold("/tmp/ci/tools/bin")  # a home in a temporary folder has none beside it
    assert Homes("/nfs/home/me").hold("/nfs/home/bob/bin")


def test_of_machine_knows_the_users_own(tmp_path):
    assert of_machine({"HOME": str(tmp_path)}).hold(f"{tmp_path}/x")


def test_everybody_asks_the_modes(tmp_path):
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    assert everybody_reads(str(folder))
    folder.chmod(0o751)
    assert not everybody_reads(str(folder))
    assert not everybody_reads(str(tmp_path / "gone"))
    (tmp_path / "a").chmod(0o700)
    assert not everybody_gets_to(str(folder))
    assert everybody_gets_to("/usr/bin")
