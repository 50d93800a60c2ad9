"""What GNU parallel's options mean for womm: pure."""

import pytest

from womm.engine.gnu.locate import GnuParallel, locate
from womm.engine.gnu.options import Options
from womm.engine.gnu.plan import check_order, plan_run, why_not_direct
from womm.errors import UsageError


def options(*found, command=(), ended=False):
    """Options as they are read: `jobs=3` has a value, `xargs` has none."""
    pairs = tuple((name, value) for name, _, value in (word.partition("=") for word in found))
    return Options(pairs, (), tuple(command), ended)


def planned(*found, slots=4, logins=False, elsewhere=False, command=()):
    return plan_run(options(*found, command=command), slots=slots, logins=logins, elsewhere=elsewhere)


@pytest.mark.parametrize(
    ("jobs", "cap"),
    [(None, None), ("0", None), ("00", None), ("3", 3), ("100%", 4), ("50%", 2), ("12.6%", 1), ("0.1%", 1)],
)
def test_cap_is_a_number_or_a_percentage_of_the_jobslots(jobs, cap):
    assert planned(*([f"jobs={jobs}"] if jobs is not None else [])).cap == cap


@pytest.mark.parametrize("jobs", ["+1", "-1", "/some/file", "1.5"])
def test_cap_that_cannot_be_a_limit_is_refused(jobs):
    with pytest.raises(UsageError, match=r"womm|workers") as raised:
        planned(f"jobs={jobs}")
    assert "--kube-pods" in (raised.value.hint or "")


def test_last_of_two_limits_wins():
    assert planned("jobs=3", "max-procs=2").cap == 2


def test_refused_option_says_why():
    with pytest.raises(UsageError, match="--semaphore does not work through workers: a semaphore counts"):
        planned("semaphore")


@pytest.mark.parametrize(("name", "here", "elsewhere"), [("cleanup", False, True), ("tee", True, False)])
def test_options_that_depend_on_where_the_workers_are(name, here, elsewhere):
    for place, works in ((False, here), (True, elsewhere)):
        if works:
            planned(name, elsewhere=place)
        else:
            with pytest.raises(UsageError, match=f"--{name} "):
                planned(name, elsewhere=place)


def test_options_of_files_in_the_worker_need_logins_and_bind_the_jobs():
    plan = planned("return=out")
    assert (plan.logins, plan.bound) == (True, True)
    assert (planned(logins=True).logins, planned(logins=True).bound) == (True, False)


@pytest.mark.parametrize(
    ("found", "command", "total"),
    [
        ((), ("echo", ":::", "a", "b"), 2),
        ((), ("echo", ":::", "a", "b", ":::", "1", "2", "3"), 6),
        ((), ("echo",), None),
        ((), ("echo", ":::", "a", ":::+", "b"), None),
        ((), ("echo", "::::", "file"), None),
        (("xargs",), ("echo", ":::", "a", "b"), None),
    ],
)
def test_total_is_known_only_where_the_command_line_has_all_arguments(found, command, total):
    assert planned(*found, command=command).total == total


@pytest.mark.parametrize(
    ("found", "command", "appends"),
    [
        ((), ("sleep", "1"), True),
        ((), ("sleep 1", ":::", "2"), True),
        ((), ("gzip",), False),
        ((), ("echo", "{}"), False),
        (("pipe",), ("wc", "-l"), False),
    ],
)
def test_command_without_a_place_for_the_argument_appends_it(found, command, appends):
    assert planned(*found, command=command).appends is appends


def test_joblog_that_is_appended_to_is_the_same_file():
    assert planned("joblog=+log").joblog == "log"
    assert planned().joblog is None


def test_order_of_an_earlier_run_needs_a_parallel_that_keeps_it(tmp_path):
    program = tmp_path / "parallel"
    program.write_text("sub print_earlier_jobs(\n")
    with pytest.raises(UsageError, match="may lose output when -k goes with --resume"):
        check_order(options("keep-order", "resume"), program)
    check_order(options("keep-order"), program)
    check_order(options("keep-order", "no-keep-order", "resume"), program)
    program.write_text("sub print_earlier_jobs(\nsub is_already_in_results(\n")
    check_order(options("keep-order", "resume"), program)


@pytest.mark.parametrize(
    ("found", "environ", "why"),
    [
        (["return"], {}, "its logins are programs"),
        ([], {"WOMM_HANDOVER": "shell"}, "WOMM_HANDOVER=shell"),
        ([], {"WOMM_HANDOVER": "direct"}, ""),
    ],
)
def test_jobs_are_handed_over_directly_unless_something_forbids_it(found, environ, why):
    refused = why_not_direct(planned(*found), locate({}), environ)
    assert refused.startswith(why)
    assert bool(refused) == bool(why)


def test_other_gnu_parallel_is_looked_at_for_what_is_replaced(tmp_path):
    program = locate({}).path.read_bytes()
    other = GnuParallel(tmp_path / "parallel", 20260422, False)
    other.path.write_bytes(program)
    assert why_not_direct(planned(), other, {}) == ""
    other.path.write_bytes(program.replace(b"waitpid(-1, &WNOHANG)", b"wait4()"))
    assert why_not_direct(planned(), other, {}) == "GNU parallel 20260422 has no reaper as Direct.pm knows it"
