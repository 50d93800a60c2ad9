"""What the user's side lets in: one key, two subsystems, nothing else; and it never listens."""

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.packet import String

from tests.share.conftest import NoControl
from tests.share.eager.pod import Pod
from womm.share.fence import Fence
from womm.share.lazy import ssh
from womm.share.lazy.exported_folder import ExportedFolder
from womm.share.lazy.ssh import TaskKeys


def listening():
    """Local addresses of the TCP sockets that listen, and paths of Unix sockets that do."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                found.add((fields[1], fields[9]))
    own = {os.readlink(path) for path in Path("/proc/self/fd").iterdir() if os.path.lexists(path)}
    return {address for address, inode in found if f"socket:[{inode}]" in own}


async def test_only_the_two_subsystems_are_served(serving):
    async with serving() as pod:
        assert pod.ssh.get_extra_info("recv_cipher") == "aes128-gcm@openssh.com"
        assert pod.ssh.get_extra_info("recv_compression") == "none"
        _, reader, _ = await pod.ssh.open_session(subsystem="womm-control", encoding=None)
        for refused in ("scp", "shell", "sftp2", ""):
            with pytest.raises(asyncssh.ChannelOpenError):
                await pod.ssh.open_session(subsystem=refused or "x", encoding=None)
        assert not reader.at_eof()


async def test_commands_shells_and_terminals_are_refused(serving, folder):
    async with serving() as pod:
        for command in ("touch ran", "scp -t .", None):
            with pytest.raises(asyncssh.ChannelOpenError):
                await pod.ssh.create_session(asyncssh.SSHClientSession, command)
        with pytest.raises(asyncssh.ChannelOpenError):
            await pod.ssh.create_session(asyncssh.SSHClientSession, None, term_type="xterm")
        with pytest.raises((asyncssh.Error, OSError)):
            await asyncssh.scp((pod.ssh, "x"), folder)
    assert list(folder.iterdir()) == []


async def test_forwardings_are_refused_and_nothing_listens(serving, place):
    before = listening()
    async with serving() as pod:
        here = pod.ssh
        for attempt in (
            here.create_connection(asyncssh.SSHTCPSession, "127.0.0.1", 22),
            here.create_unix_connection(asyncssh.SSHUNIXSession, "/run/docker.sock"),
            here.create_tun(asyncssh.SSHTunTapSession),
            here.create_tap(asyncssh.SSHTunTapSession),
        ):
            with pytest.raises(asyncssh.ChannelOpenError):
                await attempt
        for listener in (
            here.create_server(lambda *_: asyncssh.SSHTCPSession(), "", 0),
            here.create_unix_server(asyncssh.SSHUNIXSession, str(place / "forward")),
        ):
            with pytest.raises(asyncssh.ChannelListenError):
                await listener
        assert not (place / "forward").exists()
        assert listening() == before
    assert listening() == before


async def test_agent_and_x11_are_refused(serving):
    async with serving() as pod:
        with pytest.raises(asyncssh.ChannelOpenError):
            await pod.ssh.create_session(
                asyncssh.SSHClientSession,
                subsystem="sftp",
                encoding=None,
                x11_forwarding=True,
                x11_display="localhost:9",
            )
        writer, _, _ = await pod.ssh.open_session(subsystem="womm-control", encoding=None)
        assert not await writer.channel._make_request(b"auth-agent-req@openssh.com")
        assert not await writer.channel._make_request(b"exec", String("touch ran"))


async def test_a_wrong_client_key_user_or_no_key_is_refused(folder, place):
    export = ExportedFolder(Fence(folder))
    keys = TaskKeys.make()
    pod = Pod(place / "socket", keys)
    other = asyncssh.generate_private_key("ssh-ed25519")
    own = asyncssh.import_private_key(keys.client_private)
    for options in (
        {"client_keys": [other]},
        {"client_keys": [own], "username": "root"},
        {"client_keys": None},
        {"client_keys": None, "password": "womm"},
    ):
        accepted = asyncio.ensure_future(pod.accept(**options))
        with pytest.raises(OSError, match="SSH with the file server"):
            await ssh.connect(pod.dial, keys, export, NoControl)
        with pytest.raises((asyncssh.PermissionDenied, asyncssh.ConnectionLost)):
            await accepted
    await pod.close()
    export.close()


async def test_a_wrong_host_key_is_refused_by_the_pods_side(folder, place):
    export = ExportedFolder(Fence(folder))
    keys, others = TaskKeys.make(), TaskKeys.make()
    pod = Pod(place / "socket", keys)
    wrong: Any = ([asyncssh.import_public_key(others.host_public)], [], [])
    accepted = asyncio.ensure_future(pod.accept(known_hosts=wrong))
    with pytest.raises(OSError, match="SSH with the file server"):
        await ssh.connect(pod.dial, keys, export, NoControl)
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        await accepted
    await pod.close()
    export.close()


@pytest.mark.parametrize("greeting", [b"", b"womm bridge\n", b"motd SSH-2.0 no\r\n\nwomm bridge\n"])
async def test_what_a_bridge_says_first_is_left_out(folder, place, greeting):
    export = ExportedFolder(Fence(folder))
    keys = TaskKeys.make()
    pod = Pod(place / "socket", keys, greeting=greeting)
    accepted = asyncio.ensure_future(pod.accept())
    connection = await ssh.connect(pod.dial, keys, export, NoControl)
    await accepted
    await pod.close()
    await connection.lost.wait()
    await connection.wait_closed()
    export.close()


async def test_what_is_offered_is_safe_from_terrapin_and_has_nothing_old(folder, place):
    """Strict key exchange (CVE-2023-48795) is in the message of RFC 4253 section 7.1."""

    export = ExportedFolder(Fence(folder))
    offered = asyncio.get_running_loop().create_future()

    async def listen(reader, writer):
        writer.write(b"SSH-2.0-test\r\n")
        assert (await reader.readline()).startswith(b"SSH-2.0-")
        size = int.from_bytes(await reader.readexactly(4), "big")
        _, kind, *rest = await reader.readexactly(size)
        assert kind == asyncssh.constants.MSG_KEXINIT
        at, lists = 16, []
        for _ in range(10):
            end = at + 4 + int.from_bytes(bytes(rest[at : at + 4]), "big")
            lists.append(bytes(rest[at + 4 : end]).decode().split(","))
            at = end
        offered.set_result(lists)
        writer.close()

    server = await asyncio.start_unix_server(listen, str(place / "socket"))

    async def dial(factory):
        await asyncio.get_running_loop().create_unix_connection(factory, str(place / "socket"))

    with pytest.raises(OSError):
        await ssh.connect(dial, TaskKeys.make(), export, NoControl)
    server.close()
    await server.wait_closed()
    export.close()
    (exchanges, keys, *ciphers_and_more) = offered.result()
    assert exchanges == ["curve25519-sha256", "ext-info-s", "kex-strict-s-v00@openssh.com"]
    assert keys == ["ssh-ed25519"]
    for ciphers in ciphers_and_more[:2]:
        assert ciphers and all(re.fullmatch(r"aes\d+-gcm@openssh\.com", name) for name in ciphers)
    assert ciphers_and_more[4:6] == [["none"], ["none"]]


async def test_who_only_talks_is_hung_up_on(folder, place):
    export = ExportedFolder(Fence(folder))

    async def talk(reader, writer):
        writer.write(b"blah\n" * 2000)
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(talk, str(place / "socket"))

    async def dial(factory):
        await asyncio.get_running_loop().create_unix_connection(factory, str(place / "socket"))

    with pytest.raises(OSError):
        await ssh.connect(dial, TaskKeys.make(), export, NoControl)
    server.close()
    await server.wait_closed()
    export.close()


def test_keys_are_of_one_task_and_do_not_show():
    one, other = TaskKeys.make(), TaskKeys.make()
    export = one.nfs["export"].decode()
    assert one.nfs["export"] != other.nfs["export"] and len(export) == 32
    assert one.host_public != other.host_public
    assert one.host_public.startswith(b"ssh-ed25519 ")
    assert b"OPENSSH PRIVATE KEY" in one.client_private
    assert "PRIVATE" not in repr(one) and export not in repr(one)


async def test_too_many_channels_are_refused(serving):
    async with serving() as pod:
        for _ in range(15):
            await pod.ssh.open_session(subsystem="womm-control", encoding=None)
        with pytest.raises(asyncssh.ChannelOpenError):
            await pod.ssh.open_session(subsystem="womm-control", encoding=None)
