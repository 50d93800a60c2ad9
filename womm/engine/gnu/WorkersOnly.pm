# Loaded into GNU parallel, before its own code: its jobs go to the login shim, or it ends.
#
#   -MWorkersOnly=SHIM,FILE
#
# GNU parallel knows the shim by the name of a shell alone, since some of its commands carry that name into a
# worker. So it finds it in PATH, and execvp(3) goes on to the real shell, further along, where it cannot run the
# first one: somebody has removed the runtime folder, say. Its jobs would then run here, and nobody would notice.
# A job is started by the path of the shim instead.
#
# FILE gets the number of jobs that ended by themselves when GNU parallel ends: the coordinator must have seen
# as many. With logins SHIM is empty: a job's command line then has the path of the shim already.
package WorkersOnly;

use strict;
use warnings;

our ($shim, $file);
my ($ended, $pid) = (0, $$);

BEGIN {
    *CORE::GLOBAL::exec = sub {
        # The two forms that GNU parallel and IPC::Open3 use: a list, and one line for sh.
        return CORE::exec(@_) unless $shim and @_ == 3 and $_[1] eq '-c' and $_[0] eq ($Global::shell // '');
        no warnings 'exec';
        CORE::exec { $shim } @_;
        # The failed job must not be logged as one that has run: --resume would pass it over.
        kill 'KILL', getppid;
        CORE::exit(255);
    };
}

sub import { (undef, $shim, $file) = @_ }

# Now its code is there, and has not begun.
INIT {
    my $before = \&Job::set_exitsignal;
    no warnings qw(redefine prototype);
    *Job::set_exitsignal = sub {
        my ($job, $signal) = @_;
        $ended++ unless $signal or $job->{'commandline'}{'skip'};
        goto &$before;
    };
}

END {
    if ($$ == $pid and $file) {
        local ($?, $!);
        if (open my $out, '>', $file) { print $out "$ended\n" }
    }
}

1;
