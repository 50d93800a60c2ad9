"""Engines: where a task's jobs come from.

base   the Engine protocol, which `womm parallel` is written against
gnu    GNU parallel, unchanged, as a child process

A second engine is a second folder beside `gnu`; the command line chooses which one a task gets.

Rejected: a parser of GNU parallel's command line in Python. Its options are Getopt::Long's (bundling,
abbreviations, optional values), so `gnu/options.pl` lets that very library read them; GNU parallel then
reads them again itself.
"""
