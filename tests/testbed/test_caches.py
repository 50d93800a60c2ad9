"""What could go."""

from womm.testbed import caches
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
