"""The values of settings as people write them, with their units."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from womm import values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1.5h", 5400),
        ("500ms", 0.5),
        ("30d", 30 * 86400),
        ("2", 2),
        ("0.5", 0.5),
        (7, 7),
        (1.5, 1.5),
    ],
)
def test_parse_duration_units(text, seconds):
    assert values.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "5x", "-1s", "1s1", "1e5", "9" * 20, "inf", True, []])
def test_parse_duration_refuses_the_rest(text):
    with pytest.raises(ValueError, match="a time such as"):
        values.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("512Mi", 512 << 20), ("1GiB", 1 << 30), ("1G", 10**9), ("1 KB", 1000), (5, 5), ("0", 0)],
)
def test_parse_size_units(text, size):
    assert values.parse_size(text) == size


@pytest.mark.parametrize(
    ("quantity", "millis"), [("1", 1000), ("500m", 500), ("0.5", 500), (".25", 250), ("1.5", 1500)]
)
def test_cpu_millis_of_quantities(quantity, millis):
    assert values.cpu_millis(quantity) == millis


def test_format_quantities_are_short():
    assert [values.format_cpu(millis) for millis in (1000, 4000, 1500, 250)] == [
        "1",
        "4",
        "1500m",
        "250m",
    ]
    sizes = (512 << 20, 2 << 30, 1536 << 20, 1000, 0)
    assert [values.format_mem(size) for size in sizes] == ["512Mi", "2Gi", "1536Mi", "1000", "0"]


@given(st.integers(1, 10**18 - 1))
def test_format_mem_round_trips(size):
    assert values.mem_bytes(values.format_mem(size)) == size


@pytest.mark.parametrize(
    ("text", "number"), [("1", 1), (" 7 ", 7), ("007", 7), (0, 0), (999_999_999, 999_999_999)]
)
def test_whole_reads_numbers_and_texts_of_them(text, number):
    assert values.whole(0)(text) == number


@pytest.mark.parametrize(
    "value", ["", "-1", "+1", "1_0", "1.0", "\u0663", "1" * 10, 10**9, -1, 1.0, True, None, [1]]
)
def test_whole_refuses_the_rest_and_says_the_least(value):
    with pytest.raises(ValueError, match=r"^a whole number, 0 or more$"):
        values.whole(0)(value)
    with pytest.raises(ValueError, match=r"^a whole number, 5 or more$"):
        values.whole(5)(4)


@pytest.mark.parametrize("longest", ["3650d", 3650 * 86400])
def test_parse_duration_to_ten_years_and_no_further(longest):
    assert values.parse_duration(longest) == 3650 * 86400
    for value in ("3650d1ms", "1" * 12 + "d", 3650 * 86400 + 1, 10**400, float("inf"), float("nan"), 0, "0s"):
        with pytest.raises(ValueError, match="a time such as"):
            values.parse_duration(value)


@pytest.mark.parametrize("value", ["", "-1", -1, "1m", "1 i", "Mi", "1e3", "0x1", "1KiBB", True, 1.0, None])
def test_parse_size_refuses_the_rest(value):
    with pytest.raises(ValueError, match="a size such as"):
        values.parse_size(value)


def test_sizes_are_exact_and_rounded_down_to_bytes():
    assert values.parse_size("0.1Ki") == 102
    assert values.parse_size("8191.999999999999999999Pi") == (8192 << 50) - 1
    assert values.parse_size("9" * 18 + "Ei") == (10**18 - 1) << 60


@pytest.mark.parametrize("quantity", ["", ".", "1.", "-1", "0", "0.0001", "0.5m", "1 ", "1k", "\u0661"])
def test_cpu_millis_refuses_what_the_api_server_refuses(quantity):
    with pytest.raises(ValueError, match="a number of CPUs"):
        values.cpu_millis(quantity)


@pytest.mark.parametrize(
    ("quantity", "meant"), [("512m", "512Mi"), ("1gb", "1Gi"), ("1GB", "1Gi"), ("3K", "3Ki"), ("2TiB", "2Ti")]
)
def test_mem_bytes_guesses_what_was_meant(quantity, meant):
    with pytest.raises(ValueError, match=rf"did you mean {meant}\?"):
        values.mem_bytes(quantity)


@pytest.mark.parametrize("quantity", ["0", "", "1 Mi", "-1", "1i", "1B", "Mi", "x" * 10_000])
def test_mem_bytes_refuses_the_rest(quantity):
    with pytest.raises(ValueError, match="an amount of memory"):
        values.mem_bytes(quantity)


def test_quantities_keep_the_text_that_the_user_wrote():
    assert (values.cpu(" 0.50 "), values.cpu(2), values.cpu(0.5)) == ("0.50", "2", "0.5")
    assert (values.mem(" 1024Mi "), values.mem(4096)) == ("1024Mi", "4096")
    for value in (True, None, [1], 1.5):
        with pytest.raises(ValueError, match="an amount of memory"):
            values.mem(value)


def test_program_is_any_name_that_a_kernel_takes():
    assert values.program("/opt/my shell/sh") == "/opt/my shell/sh"
    for value in ("", " \n", "sh\0", 3, None):
        with pytest.raises(ValueError, match="the name or path of a shell"):
            values.program(value)


def test_one_of_names_its_choices():
    read = values.one_of("a", "b")
    assert read("b") == "b"
    for value in ("", "A", "ab", None, ["a"]):
        with pytest.raises(ValueError, match=r"^a or b$"):
            read(value)


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        *((value, True) for value in (True, "true", "YES", "1", 1)),
        *((value, False) for value in (False, "False", "no", "0", 0)),
    ],
)
def test_yes_no_in_all_spellings(value, meaning):
    assert values.yes_no(value) is meaning


@pytest.mark.parametrize("value", ["", "on", "2", 2, None, [], " true"])
def test_yes_no_refuses_the_rest(value):
    with pytest.raises(ValueError, match=r"^true or false$"):
        values.yes_no(value)


@pytest.mark.parametrize(
    ("value", "prefix"),
    [
        ("registry.example.org/team", "registry.example.org/team/"),
        ("registry.example.org:5000/a/b__c-d/", "registry.example.org:5000/a/b__c-d/"),
        ("localhost", "localhost/"),
    ],
)
def test_prefix_ends_with_one_slash(value, prefix):
    assert values.prefix(value) == prefix
    assert values.prefix(prefix) == prefix


@pytest.mark.parametrize("value", ["", "/", "a b", "a/B", "a//b", "a:x/b", "a/-b", "a/b.", "\u00e9/a", 3])
def test_prefix_refuses_what_no_image_begins_with(value):
    with pytest.raises(ValueError, match="the beginning of an image's name"):
        values.prefix(value)


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ("out/,log.txt", ("out", "log.txt")),
        ("./a//b/.,a/b", ("a/b",)),
        (["a b,c", "..."], ("a b,c", "...")),
        (["."], (".",)),
    ],
)
def test_share_write_normalizes_paths_once_each(given, paths):
    assert values.share_write(given) == paths


@pytest.mark.parametrize(
    "given", ["", "/", "/etc", "a/../b", "..", "~", "~root/x", "a,", "a,,b", "a\0", [], ["a", 1], {"a": "b"}]
)
def test_share_write_never_leads_out_of_the_folder(given):
    with pytest.raises(ValueError, match="paths within the shared folder"):
        values.share_write(given)


@given(st.text(alphabet="./~a \0") | st.lists(st.text(alphabet="./~a \0")))
def test_share_write_of_anything_stays_within(value):
    try:
        paths = values.share_write(value)
    except ValueError:
        return
    for path in paths:
        assert path == "." or not {"", ".", ".."} & {*path.split("/")}
        assert "\0" not in path


def test_names_of_kubernetes_are_of_its_grammar():
    read = values.text("a name", values.NAME)
    assert read("a.b-c.0") == "a.b-c.0"
    assert read("a" * 63) == "a" * 63
    for value in ("", "A", "a..b", "-a", "a-", "a" * 64, "a\n", "\u00e9", 1):
        with pytest.raises(ValueError, match=r"^a name$"):
            read(value)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("disk=ssd,zone=a", {"disk": "ssd", "zone": "a"}),
        (" disk=ssd , example.org/zone= a ", {"disk": "ssd", "example.org/zone": "a"}),
        ("disk=", {"disk": ""}),
        ("", {}),
        ({"disk": "ssd"}, {"disk": "ssd"}),
        ({}, {}),
    ],
)
def test_selector_as_text_and_as_a_table(text, labels):
    assert values.selector(text) == labels


@pytest.mark.parametrize(
    "value", ["disk", "disk=a=b", "=ssd", "a=b,,c=d", "a=b,a=c", {"disk": 1}, {"": "ssd"}, ["disk=ssd"], 3]
)
def test_selector_refuses_the_rest(value):
    with pytest.raises(ValueError, match="labels such as disk=ssd,zone=a"):
        values.selector(value)


@pytest.mark.parametrize(
    ("text", "tolerations"),
    [
        ("gpu", [{"key": "gpu", "operator": "Exists"}]),
        ("gpu=yes", [{"key": "gpu", "operator": "Equal", "value": "yes"}]),
        ("gpu:NoExecute", [{"key": "gpu", "operator": "Exists", "effect": "NoExecute"}]),
        (
            "example.org/gpu=yes:NoSchedule, spot",
            [
                {"key": "example.org/gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"},
                {"key": "spot", "operator": "Exists"},
            ],
        ),
        ("", []),
        (
            [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}],
            [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}],
        ),
    ],
)
def test_tolerations_in_both_spellings(text, tolerations):
    assert list(values.tolerations(text)) == tolerations


@pytest.mark.parametrize(
    "value",
    [":NoSchedule", "gpu:Never", "a=b=c", "a:NoSchedule:b", "a,,b", "a b", [1], ["gpu"], {"key": "a"}],
)
def test_tolerations_refuse_the_rest(value):
    with pytest.raises(ValueError, match="tolerations such as gpu=yes:NoSchedule,spot"):
        values.tolerations(value)


def test_tolerations_unknown_key_of_a_table_is_refused():
    with pytest.raises(ValueError, match="no other keys than effect, key, operator"):
        values.tolerations([{"key": "a", "efect": "NoExecute"}])
