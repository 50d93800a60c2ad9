"""The engine: what turns input lines into jobs. GNU parallel, unchanged, as a child process.

Rejected: a parser of GNU parallel's command line in Python. Its options are Getopt::Long's (bundling,
abbreviations, optional values), so `options.pl` lets that very library read them; GNU parallel then
reads them again itself. A native engine may stand beside this one later: it would submit jobs to the
same dispatcher.
"""
