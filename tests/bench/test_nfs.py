"""What the benchmark of the NFS server says where it cannot run."""

from bench import nfs


def test_unable_names_the_packages_that_are_missing_and_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    said = nfs.unable()
    assert "apt-get install --no-install-recommends user-mode-linux" in said
    assert "nfs-ganesha" in said
