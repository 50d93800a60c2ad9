# womm login shim: GNU parallel starts this once per job. It hands the command to the coordinator
# over a Unix socket and relays bytes and the exit status; the job itself runs in a worker.
#
#   sh -c COMMAND        as $PARALLEL_SHELL: a job if this process leads its process group (GNU
#                        parallel sees to that), else one of GNU parallel's own helpers
#                        (--compress, --limit), which runs here, in the real shell
#   ssh LOGIN COMMAND    as --ssh: a job for the worker LOGIN
#
# $WOMM_SHIM = "SOCKET\tREAL_SHELL\tSTDIN\tEXIT_GROUP": where the coordinator listens, which shell is
# the real one, 1 if jobs have a stdin (--pipe), the number of exit_group(2) (0: unknown).
#
# Strategy: this runs a thousand times, so it holds only what every job needs; no modules, not even
# strict (each costs 0.1 ms and more, compiling the rest 0.6). Whatever else happens is in SOCKET.pl
# (shim_rest.pl): a job with stdin, a long answer, a signal, trouble.

($path, $shell, $has_stdin, $exit_group) = split /\t/, $ENV{WOMM_SHIM};
($login, $command) = ('', $ARGV[1]);
if (getpgrp(0) != $$ or $ARGV[0] ne '-c') { rest(); other_call() }
delete $ENV{WOMM_SHIM};

socket(S, 1, 1, 0) && connect(S, $^O eq 'linux' ? pack('S a*', 1, "$path\0") : pack('C C a104', 106, 1, $path))
    or do { rest(); lost() };
# Only a regular file can take back what a lost worker's job wrote: tell where this job's part begins.
$out_start = -f STDOUT ? sysseek(STDOUT, 0, 1) + 0 : '';
$err_start = -f STDERR ? sysseek(STDERR, 0, 1) + 0 : '';
@SIG{qw(HUP INT QUIT USR1 USR2 ALRM TERM)} = (sub { rest(); forward(@_) }) x 7;
$request = join "\0", "c=$command", "l=$login", "o=$out_start", "r=$err_start", 'n=' . getpriority(0, 0),
    ($has_stdin ? 'i=1' : ()), map { "e=$_=$ENV{$_}" } $login eq '' ? keys %ENV : 'PARALLEL_SEQ';
$request = pack('N', length $request) . $request;
if ($has_stdin or syswrite(S, $request) != length $request) { rest(); start() }

# Most jobs: one answer with all of the output and the exit status.
$input = '';
while (sysread S, $input, 262144, length $input) {
    $at = 0;
    while (length($input) - $at >= 5) {
        ($type, $length) = unpack 'CN', substr $input, $at, 5;
        last if length($input) - $at - 5 < $length;
        if ($type == 4) {
            ($status, $signal) = unpack 'CC', substr $input, $at + 5, 2;
            if ($signal) { rest(); end_as($status, $signal) }
            syscall $exit_group + 0, $status if $exit_group;    # no clearing up of an empty house
            exit $status;
        }
        if ($type > 2) { $unusual = 1; last }
        $written = syswrite($type == 1 ? *STDOUT : *STDERR, $input, $length, $at + 5) // 0;
        if ($written != $length) {    # leave the remainder as a frame of its own
            substr($input, $at, 5 + $written) = pack 'CN', $type, $length - $written;
            $unusual = 1;
            last;
        }
        $at += 5 + $length;
    }
    substr($input, 0, $at) = '';
    last if $unusual;
}
rest();
go_on();

sub rest { defined &lost or do "$path.pl" or exit 255 }
