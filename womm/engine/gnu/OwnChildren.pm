# Loaded into GNU parallel, before its own code: it kills no process of others, and waits for none of its jobs.
#
# Whenever the number of jobslots changes, GNU parallel counts anew how many processes it may have: it starts some
# that sleep, and kills and awaits them (SSHLogin::cleanup). 20221122 never empties the list of these, so every
# count kills again what earlier ones have started, by numbers that are long somebody else's: another program's of
# the user, or one of its threads', or a job's own, whose end is then taken by this waitpid and never noticed.
# What is still to be killed stands in %Global::unkilled_children as well, and that is kept.
package OwnChildren;

# For all of GNU parallel, too: PERL5LIB may name folders that count from the current one, and that may be anybody's.
BEGIN { @INC = grep { ref or m{^/} } @INC }
use strict;
use warnings;

BEGIN {
    *CORE::GLOBAL::kill = sub (@) {
        my ($signal, @pids) = @_;
        @pids = grep { !is_stale($_) } @pids;
        return @pids ? CORE::kill($signal, @pids) : 0;
    };
    *CORE::GLOBAL::waitpid = sub ($$) {
        my ($pid, $flags) = @_;
        return is_stale($pid) ? -1 : CORE::waitpid($pid, $flags);
    };
}

sub is_stale {
    my ($pid) = @_;
    return ((caller 2)[3] // '') eq 'SSHLogin::cleanup' && !$Global::unkilled_children{$pid};
}

1;
