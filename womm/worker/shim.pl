# womm login shim: GNU parallel starts this once per job. It hands the command to the coordinator
# over a Unix socket and relays bytes and the exit status; the job itself runs in a worker.
#
#   sh -c COMMAND        as $PARALLEL_SHELL: a job if this process leads its process group (GNU
#                        parallel sees to that), else one of GNU parallel's own helpers
#                        (--compress, --limit), which runs here, in the real shell
#   ssh LOGIN COMMAND    as --ssh: a job for the worker LOGIN
#
# $WOMM_SHIM = "SOCKET\tREAL_SHELL\tSTDIN\tEXIT_GROUP\tSENDMSG": where the coordinator listens, which
# shell is the real one, 1 if jobs have a stdin (--pipe), system call numbers (0: unknown).
#
# Strategy: this runs a thousand times, so it holds only the code that every job needs; no modules, not even
# strict (each costs 0.1 ms and more, compiling the rest 0.6). SOCKET.pl (shim_rest.pl) has the code for a job
# with stdin, output to relay, a signal, trouble. The shim does not relay output that goes to files, as GNU
# parallel's does by default: the coordinator gets the open files.

($path, $shell, $has_stdin, $exit_group, $sendmsg) = split /\t/, $ENV{WOMM_SHIM};
($login, $command) = ('', $ARGV[1]);
if (getpgrp(0) != $$ or $ARGV[0] ne '-c') { rest(); other_call() }
delete $ENV{WOMM_SHIM};

socket(S, 1, 1, 0) && connect(S, $^O eq 'linux' ? pack('S a*', 1, "$path\0") : pack('C C a104', 106, 1, $path))
    or do { rest(); lost() };
# Only a regular file can take back the output of a lost worker's job: send where this job's part begins.
$out_start = -f STDOUT ? sysseek(STDOUT, 0, 1) + 0 : '';
$err_start = -f STDERR ? sysseek(STDERR, 0, 1) + 0 : '';
@SIG{qw(HUP INT QUIT USR1 USR2 ALRM TERM)} = (sub { rest(); forward(@_) }) x 7;
$request = join "\0", "c=$command", "l=$login", "o=$out_start", "r=$err_start", 'n=' . getpriority(0, 0),
    ($has_stdin ? 'i=1' : ()), map { "e=$_=$ENV{$_}" } $login eq '' ? keys %ENV : 'PARALLEL_SEQ';
$request = pack('N', length $request) . $request;
if ($has_stdin or put_request() != length $request) { rest(); start() }

if (sysread(S, $input, 262144) == 7 and unpack('C', $input) == 4) {    # the exit status, nothing else
    ($status, $signal) = unpack 'x5 CC', $input;
    if ($signal) { rest(); end_as($status, $signal) }
    syscall $exit_group + 0, $status if $exit_group;    # skip perl's own clearing up
    exit $status;
}
rest();
go_on();

# Sends the request and, where sendmsg(2) can be called, stdout and stderr with it (unix(7),
# SCM_RIGHTS; the structures are those of 64-bit Linux). Returns the bytes sent.
sub put_request {
    return syswrite S, $request unless $sendmsg and $out_start ne '' and $err_start ne '';
    $control = pack 'Q l4', 24, 1, 1, 1, 2;    # cmsg_len, SOL_SOCKET, SCM_RIGHTS, descriptors 1 and 2
    $bytes = pack 'P Q', $request, length $request;
    $message = pack 'Q L x4 P Q P Q l x4', 0, 0, $bytes, 1, $control, length $control, 0;
    return syscall $sendmsg + 0, fileno S, $message, 0;
}

sub rest { defined &lost or do "$path.pl" or exit 255 }
