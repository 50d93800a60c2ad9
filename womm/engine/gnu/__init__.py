"""GNU parallel as the engine: found, asked for its options, started, and fed with jobslots.

locate    where GNU parallel is
options   the options that the user gave it, and what each is to womm; plan: what womm makes of them
start     the words that start it, with the perl modules of this folder, which mend it
engine    GNU parallel as a child of the coordinator: the Engine protocol
direct    the socket on which it hands its jobs over (Direct.pm): no process a job
shims     the other way, for logins and for a GNU parallel that differs: one login shim a job; shim_folder:
          the shim's place
arrivals  what is done with each job that comes in; outputs: the files and pipes that take its output;
          file_room: jobs wait while too many files are open
width     the files that tell it the number of jobslots, or its logins
joblog    what womm reads of its joblog; citation: its notice
"""
