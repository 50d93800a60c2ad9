# The rest of the login shim, compiled only where a job needs it. See shim.pl.
# Frames to the coordinator: 1 stdin bytes, 2 end of stdin, 3 a signal; from it: 1 stdout bytes, 2 stderr
# bytes, 3 take a stream back to where it began, 4 exit status and signal (womm/engine/gnu/shims.py).

# PERL5LIB may name folders relative to the current one, which may belong to anybody.
BEGIN { @INC = grep { ref or m{^/} } @INC }
use strict;
our ($path, $shell, $has_stdin, $login, $command, $out_start, $err_start, $request, $input);

# Numbers, because %! would load Errno.
my ($EINTR, $EAGAIN) = (4, $^O eq 'linux' ? 11 : 35);
my %number = (HUP => 1, INT => 2, QUIT => 3, ALRM => 14, TERM => 15,
    $^O eq 'linux' ? (USR1 => 10, USR2 => 12) : (USR1 => 30, USR2 => 31));
my $stdin_open = $has_stdin;

# Not a job as $PARALLEL_SHELL: --ssh, or a helper of GNU parallel's own.
sub other_call {
    if ($0 =~ m{(^|/)ssh$}) {
        $login = shift @ARGV;
        shift @ARGV if @ARGV and $ARGV[0] eq '--';
        $command = join ' ', @ARGV;
        $stdin_open = $has_stdin = 1 unless -c STDIN;
        return;
    }
    $ENV{PATH} =~ s/^[^:]*://;    # the folder of this program
    exec { $shell } $shell, @ARGV;
    exit 127;
}

sub start {
    put(\*S, $request);    # a short write is rare: only a signal makes one
    $input = '';
    go_on();
}

sub go_on {
    while (1) {
        take_frames();
        next unless !$stdin_open or relay_stdin();
        my $n = sysread S, $input, 262144, length $input;
        next if !defined $n and $! == $EINTR;
        lost() unless $n;
    }
}

# Waits for the coordinator or for stdin, and passes stdin on. True: the coordinator has something.
sub relay_stdin {
    my $ready = '';
    vec($ready, 0, 1) = vec($ready, fileno S, 1) = 1;
    return 0 if select($ready, undef, undef, undef) < 0;
    if (vec($ready, 0, 1)) {
        my $n = sysread STDIN, my $bytes, 65536;
        if ($n) { to_coordinator(1, $bytes) }
        elsif (defined $n) { to_coordinator(2, ''); $stdin_open = 0 }
    }
    return vec($ready, fileno S, 1);
}

sub take_frames {
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

sub forward { to_coordinator(3, chr $number{ $_[0] }) }

sub to_coordinator {
    my ($type, $payload) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $frame = pack('CN', $type, length $payload) . $payload;
    my $at = 0;
    while ($at < length $frame) {
        my $n = syswrite S, $frame, length($frame) - $at, $at;
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
            lost() if $to == \*S;
            syswrite STDERR, "womm: cannot write the job's output: $!\n";
            exit 255;
        }
    }
}

sub take_back {
    my ($stream) = @_;
    my ($to, $start) = $stream == 1 ? (\*STDOUT, $out_start) : (\*STDERR, $err_start);
    truncate $to, $start;
    sysseek $to, $start, 0;
}

sub end_as {
    my ($status, $signal) = @_;
    exit $status unless $signal;
    # A signal that dumps core must not dump this process: PR_SET_DUMPABLE is 4 (prctl(2)).
    if ($^O eq 'linux') { eval { syscall((-e '/lib64/ld-linux-x86-64.so.2' ? 157 : 167), 4, 0) } }
    $SIG{$_} = 'DEFAULT' for keys %number, 'PIPE', 'FPE';    # perl ignores FPE
    kill $signal, $$;
    select undef, undef, undef, 0.1;
    exit 128 + $signal;
}

# The coordinator is gone and with it every result. GNU parallel must not log this as the job's own
# failure, or --resume would never run the job again. So this kills GNU parallel, too.
sub lost {
    kill 'KILL', $ENV{PARALLEL_PID} if ($ENV{PARALLEL_PID} // 0) == getppid;
    exit 255;
}

1;
