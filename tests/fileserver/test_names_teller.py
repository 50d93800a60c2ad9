"""The copy of the table of names on the user's side: each change is told until it is seen."""

import asyncio
from contextlib import contextmanager

from womm.fileserver.names_teller import ROWS, NamesTeller
from womm.fileserver.tree.table import Row, Table
from womm.wire.control import Names, decode_from_user


class Recorder:
    """Takes the lines that are sent."""

    def __init__(self):
        self.names = []

    def send(self, line):
        assert line.endswith(b"\n")
        message = decode_from_user(line[:-1]).what
        assert isinstance(message, Names)
        self.names.append(message)


@contextmanager
def telling(place):
    table = Table(place)
    teller = NamesTeller(table)
    try:
        yield table, teller
    finally:
        teller.stop()
        table.close()


def row(number):
    return Row(1, b"f%d" % number, (1 << 32) + number, 1, 5, 100 + number)


async def test_changes_wait_for_others_and_are_told_in_one_line(tmp_path):
    with telling(tmp_path) as (table, teller):
        lines = Recorder()
        teller.connected(lines)
        for number in range(3):
            table.put(row(number))
            table.sync()
        table.drop(1, b"f0")
        table.sync()
        assert lines.names == []
        async with asyncio.timeout(10):
            while not lines.names:
                await asyncio.sleep(0.01)
        (told,) = lines.names
        assert told == Names(1, (row(0), row(1), row(2), (1, b"f0")))


async def test_a_new_connection_hears_what_was_not_seen(tmp_path):
    with telling(tmp_path) as (table, teller):
        first = Recorder()
        teller.connected(first)
        for number in range(3):
            table.put(row(number))
            table.sync()
            teller.tell()
        assert [told.number for told in first.names] == [1, 2, 3]
        teller.seen(2)
        second = Recorder()
        teller.connected(second)
        assert [told.number for told in second.names] == [3]
        assert not second.names[0].reset


async def test_a_server_that_begins_again_tells_its_whole_table(tmp_path):
    with telling(tmp_path) as (table, _):
        table.complete(1, 1)
        for number in range(ROWS + 1):
            table.put(row(number))
        table.sync()
    with telling(tmp_path) as (table, teller):
        lines = Recorder()
        teller.connected(lines)
        assert lines.names[0].reset and not lines.names[0].rows
        assert sum(len(told.rows) for told in lines.names) == ROWS + 1
        assert max(len(told.rows) for told in lines.names) == ROWS


async def test_a_server_without_names_takes_back_what_was_told_and_a_whole_one_does_not(tmp_path):
    with telling(tmp_path) as (table, teller):
        teller.take([row(0), row(1), (1, b"f0")])
        assert table.of_directory(1) == [row(1)]
        table.complete(1, 1)
        teller.take([row(2)])
        assert table.of_directory(1) == [row(1)]
