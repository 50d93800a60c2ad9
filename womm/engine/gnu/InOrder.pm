# Loaded into GNU parallel, before its own code: with --keep-order it prints every job, whatever ran earlier.
#
# With --keep-order (-k) a job's output, and its line in the joblog, wait until all jobs with lower numbers are
# printed. A number that an earlier run has done (--resume, --resume-failed, --retry-failed) never comes. GNU
# parallel 20221122 passes over such numbers only before it begins to print: when it meets one while it prints,
# it stops there until one more job ends. After the last job nothing more ends, so the output is lost, and the
# exit status is still 0. Numbers that it skips since --results has their files it does not pass over at all.
#
# Strategy: Job::print_earlier_jobs is replaced as a whole, after GNU parallel is compiled (INIT) and before it
# runs. Whatever is still not printed at the end is an error, never silence. womm refuses -k with --resume for a
# GNU parallel that lacks a function named here (gnu_parallel.py).
package InOrder;

# The first module where Direct.pm is one: PERL5LIB may name folders that count from the current one, and that may
# be anybody's.
BEGIN { @INC = grep { ref or m{^/} } @INC }

use strict;
use warnings;

my %waiting;    # number: job whose turn to print has not come
my $next = 1;
my $process = $$;

sub print_job($) {
    my ($job) = @_;
    my $printed = 0;
    $waiting{$job->seq()} = $job;
    while (1) {
        my $first = $waiting{$next};
        if ($first) {
            $printed += $first->print() // 0;    # nothing with --ungroup
            last unless $first->endtime();    # --line-buffer: more may come
            delete $waiting{$next};
        }
        elsif (!vec $Global::job_already_run // '', $next, 1) { last }
        $next++;
    }
    return $printed;
}

INIT {
    if (defined &Job::print_earlier_jobs && defined &Job::is_already_in_results) {
        no warnings 'redefine';
        my $is_there = \&Job::is_already_in_results;
        *Job::print_earlier_jobs = \&print_job;
        *Job::is_already_in_results = sub ($) {
            my ($job) = @_;
            my $found = $is_there->(@_);
            vec($Global::job_already_run, $job->seq(), 1) = 1 if $found;
            return $found;
        };
    }
}

END {
    my @lost = sort { $a <=> $b } grep { $waiting{$_}->endtime() } keys %waiting;
    if (@lost && !$? && $$ == $process) {    # not a child that it has forked
        print STDERR "parallel: Error: jobs that have ended were not printed: @lost\n";
        $? = 255;
    }
}

1;
