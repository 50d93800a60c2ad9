"""The SFTP server of the user's side: it answers what the file server asks about the folder.

`channel` takes packets from an SSH channel and writes the answers, as fast as the link goes. `requests` is
the table of requests; their functions stand by topic in `files` (open files), `directories` and `paths`. They
run in a `context`: the export, the open handles of the channel, and threads. What is on the wire: womm.wire.
"""
