"""What could go."""

import pytest

from womm.testbed import caches, changes
from womm.testbed.changes import Changes, File


def test_caches_are_found_the_largest_first():
    sizes = {
        "/var/cache/apt/archives/jq_1.6_amd64.deb": 300,
        "/var/cache/apt/pkgcache.bin": 100,
        "/var/lib/apt/lists/deb_Packages": 900,
        "/root/.cache/pip/http/a/b": 50,
        "/home/me/.npm/_cacache/x": 40,
        "/usr/bin/jq": 7000,
    }
    files = tuple(File(path, size, "A") for path, size in sizes.items())
    found = caches.find(Changes(files=files))
    assert [(cache.name, cache.size_bytes, cache.sure) for cache in found] == [
        ("apt's lists of packages", 900, True),
        ("packages that apt has downloaded", 400, True),
        ("packages that pip has downloaded", 50, True),
        ("packages that npm has downloaded", 40, True),
    ]
    assert str(found[1]) == "packages that apt has downloaded: 2 files, 400 B"


def test_cache_that_a_program_may_need_is_not_sure():
    files = (File("/root/.cache/huggingface/hub/model", 10, "A"),)
    assert [(cache.name, cache.sure) for cache in caches.find(Changes(files=files))] == [
        ("/root/.cache/huggingface", False)
    ]


def test_histories_are_among_them():
    leftovers = (File("/root/.bash_history", 10, "A"),)
    [cache] = caches.find(Changes(leftovers=leftovers))
    assert cache.name == "histories of shells and editors"
    assert cache.sure


def test_folders_alone_are_no_cache():
    assert caches.find(Changes(files=(File("/var/cache/apt/archives/partial", 0, "A", "d"),))) == []


@pytest.mark.slow
def test_caches_that_go_leave_nothing(beds):
    script = """
        mkdir -p /root/.cache/pip/http/a /root/.cache/models /var/lib/apt/lists/partial
        echo a > /root/.cache/pip/http/a/b; echo a > /root/.cache/models/m; echo a > /var/lib/apt/lists/x
        echo a > "/var/lib/apt/lists/odd
        name"
    """
    with beds.open(beds.bases.debian()) as testbed:
        testbed.run(["sh", "-c", script])
        found = changes.look(testbed)
        caches.clean(testbed, [cache for cache in caches.find(found) if cache.sure], found)
        assert [file.path for file in changes.look(testbed).files] == [
            "/root/.cache/models/m",
            "/var/lib/apt/lists/partial",
        ]
        left = testbed.run(["ls", "-A", "/root/.cache"])
        assert left.out == b"models\n"
