# Loaded into GNU parallel, before its own code: one hang-up is one, though it comes twice.
#
# When a terminal is closed the shell sends SIGHUP to all of the job, GNU parallel and womm, and so does the kernel.
# womm passes it on as well, since a SIGHUP may also come to womm alone, and nobody can tell which it was. GNU
# parallel would say twice what it does now.
package OneHangUp;

use strict;
use warnings;

# womm passes it on within moments; a person who sends another one means it.
my $SAME_S = 5;
my $last;

# After GNU parallel is compiled, and before it runs and makes the sub its signal handler.
INIT {
    if (defined &main::start_no_new_jobs) {
        my $start_no_new_jobs = \&main::start_no_new_jobs;
        no warnings qw(redefine prototype);
        *main::start_no_new_jobs = sub () {
            my $again = defined $last && time - $last <= $SAME_S;
            $last = time;
            return $again ? () : $start_no_new_jobs->(@_);
        };
    }
}

1;
