# womm login shim: GNU parallel starts this once per job. It hands the command to the coordinator
# over a Unix socket and relays bytes and the exit status; the job itself runs in a worker.
#
#   sh -c COMMAND        as $PARALLEL_SHELL: a job if this process leads its process group (GNU
#                        parallel sees to that), else one of GNU parallel's own helpers
#                        (--compress, --limit), which runs here, in the real shell
#   ssh LOGIN COMMAND    as --ssh: a job for the worker LOGIN
#
# $WOMM_SHIM = "SOCKET\tREAL_SHELL\tSTDIN" says where the coordinator listens, which shell is the real
# one, and whether jobs have a stdin (1: --pipe). No modules: each costs milliseconds per job.

use strict;

# Numbers, because %! would load Errno: a third of this program's start-up.
my ($EINTR, $EAGAIN) = (4, $^O eq 'linux' ? 11 : 35);

my ($path, $shell, $has_stdin) = split /\t/, $ENV{WOMM_SHIM};
my ($login, $command) = ('', $ARGV[1]);
if ($0 =~ m{(^|/)ssh$}) {
    ($login, $command) = (shift @ARGV, join ' ', @ARGV);
    $has_stdin = 1 unless -c STDIN;
}
elsif (getpgrp(0) != $$ or $ARGV[0] ne '-c') {
    $ENV{PATH} =~ s/^[^:]*://;    # the folder of this program
    exec { $shell } $shell, @ARGV;
    exit 127;
}
delete $ENV{WOMM_SHIM};

socket(my $s, 1, 1, 0) or lost();
connect($s, $^O eq 'linux' ? pack('S a*', 1, "$path\0") : pack('C C a104', 106, 1, $path)) or lost();

# Only a regular file can take back what a lost worker's job wrote: tell where this job's part begins.
my @start = map { -f $_ ? sysseek($_, 0, 1) + 0 : '' } \*STDOUT, \*STDERR;
my $nice = getpriority(0, 0);
my $request = join "\0", "c=$command", "l=$login", "o=$start[0]", "r=$start[1]", "n=$nice",
    ($has_stdin ? 'i=1' : ()), map { "e=$_=$ENV{$_}" } $login eq '' ? keys %ENV : 'PARALLEL_SEQ';

my %number = (HUP => 1, INT => 2, QUIT => 3, USR1 => 10, USR2 => 12, ALRM => 14, TERM => 15);
if ($^O ne 'linux') { @number{'USR1', 'USR2'} = (30, 31) }
for my $name (keys %number) {
    $SIG{$name} = sub { to_coordinator(3, chr $number{$name}) };
}
put($s, pack('N', length $request) . $request);

my ($input, $stdin_open) = ('', $has_stdin);
while (1) {
    if ($stdin_open) {
        my $ready = '';
        vec($ready, 0, 1) = vec($ready, fileno $s, 1) = 1;
        next if select($ready, undef, undef, undef) < 0;
        if (vec($ready, 0, 1)) {
            my $n = sysread STDIN, my $bytes, 65536;
            next unless defined $n;
            if ($n) { to_coordinator(1, $bytes) }
            else { to_coordinator(2, ''); $stdin_open = 0 }
        }
        next unless vec($ready, fileno $s, 1);
    }
    my $n = sysread $s, $input, 262144, length $input;
    next if !defined $n and $! == $EINTR;
    lost() unless $n;
    my $at = 0;
    while (length($input) - $at >= 5) {
        my ($type, $length) = unpack 'CN', substr $input, $at, 5;
        last if length($input) - $at - 5 < $length;
        my $payload = substr $input, $at + 5, $length;
        $at += 5 + $length;
        if ($type == 1) { put(\*STDOUT, $payload) }
        elsif ($type == 2) { put(\*STDERR, $payload) }
        elsif ($type == 3) { take_back(unpack 'C', $payload) }
        elsif ($type == 4) { end_as(unpack 'CC', $payload) }
    }
    substr($input, 0, $at) = '';
}

sub to_coordinator {
    my ($type, $payload) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $frame = pack('CN', $type, length $payload) . $payload;
    my $at = 0;
    while ($at < length $frame) {
        my $n = syswrite $s, $frame, length($frame) - $at, $at;
        if (defined $n) { $at += $n }
        elsif ($! != $EINTR) { last }    # the coordinator is gone: reading says so, too
    }
}

sub put {
    my ($to) = @_;
    my $at = 0;
    while ($at < length $_[1]) {
        my $n = syswrite $to, $_[1], length($_[1]) - $at, $at;
        if (defined $n) { $at += $n }
        elsif ($! == $EAGAIN) { vec(my $w = '', fileno $to, 1) = 1; select undef, $w, undef, undef }
        elsif ($! != $EINTR) {
            lost() if $to eq $s;
            syswrite STDERR, "womm: cannot write the job's output: $!\n";
            exit 255;
        }
    }
}

sub take_back {
    my ($stream) = @_;
    my ($to, $start) = $stream == 1 ? (\*STDOUT, $start[0]) : (\*STDERR, $start[1]);
    truncate $to, $start;
    sysseek $to, $start, 0;
}

sub end_as {
    my ($status, $signal) = @_;
    exit $status unless $signal;
    # A signal that dumps core must not dump this process: PR_SET_DUMPABLE is 4 (prctl(2)).
    if ($^O eq 'linux') { eval { syscall((-e '/lib64/ld-linux-x86-64.so.2' ? 157 : 167), 4, 0) } }
    $SIG{$_} = 'DEFAULT' for keys %number, 'PIPE';
    kill $signal, $$;
    select undef, undef, undef, 0.1;
    exit 128 + $signal;
}

# The coordinator is gone and with it every result: GNU parallel must not log this as the job's own
# failure, or --resume would never run the job again. So GNU parallel goes, too.
sub lost {
    kill 'KILL', $ENV{PARALLEL_PID} if ($ENV{PARALLEL_PID} // 0) == getppid;
    exit 255;
}
