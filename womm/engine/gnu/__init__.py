"""GNU parallel as the engine: found, asked for its options, started, and fed with jobslots.

locate    where GNU parallel is
options   the options that the user gave it, and what each is to womm; plan: what womm makes of them
start     the words that start it, with the perl modules of this folder, which mend it
engine    GNU parallel as a child of the coordinator: the Engine protocol
shims     the socket on which its jobs come in, one login shim a job; shim_folder: the shim's place
width     the files that tell it the number of jobslots, or its logins
joblog    what womm reads of its joblog; citation: its notice
"""
