# Loaded into GNU parallel, before its own code: what the user has set for perl is GNU parallel's, not the shims'.
#
# perl has read these variables when this runs, so GNU parallel is as it would be without womm. What it starts
# are shims, which must not load the user's modules. The agents give the jobs these variables. start.pl loads it
# before it tries the shim.
# The names are those of PERL_VARIABLES in womm/worker/__init__.py.
package OwnPerl;

BEGIN { delete @ENV{qw(PERL5OPT PERL5LIB PERLLIB PERL_UNICODE PERLIO PERL5DB PERL_SIGNALS)} }

1;
