# Starts GNU parallel once it is sure that its jobs will come to the login shim.
#
#   perl start.pl PRCTL SHELL LINE PROGRAM ARGUMENT...
#
# PRCTL is the number of prctl(2), 0 where it is unknown. A job is started as GNU parallel starts its own:
# SHELL, looked up in PATH as execvp(3) does, with -c LINE, in a process group of its own. If the shim is
# what was found, the coordinator answers it, and it ends with 0; the real shell ends with another status.
# Then PROGRAM takes the place of this process. Without that answer this ends with status 254 and has
# started nothing; the coordinator knows that it was not called.

my ($prctl, $shell, $line) = splice @ARGV, 0, 3;
# PR_SET_PDEATHSIG is 1: a GNU parallel without its coordinator could only log failures.
syscall $prctl + 0, 1, 9 if $prctl;
my $pid = fork;
die "womm: fork: $!\n" unless defined $pid;
if (!$pid) {
    setpgrp 0, 0;
    open STDIN, '<', '/dev/null';    # the input is for the jobs
    (my $own = $0) =~ s/start\.pl$/OwnPerl.pm/;
    require $own;    # GNU parallel's shims are without the user's settings for perl, too
    exec { $shell } $shell, '-c', $line or exit 127;
}
waitpid $pid, 0;
exit 254 if $?;
exec { $ARGV[0] } @ARGV or die "womm: $ARGV[0]: $!\n";
