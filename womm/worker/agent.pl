# womm agent: the first process of a worker. It starts jobs, streams their output, reports how they
# ended, delivers signals to a job's whole process group, reaps zombies, and outlives its connection.
#
#   perl agent.pl --socket PATH [--shell /bin/sh] [--orphan-timeout SECONDS] [--silence-timeout SECONDS]
#       [--oom-counters FILE:FILE] [--heartbeat FILE] [--echo BYTES]
#
# --oom-counters: one of these files has a line "oom_kill N" (memory.events of cgroup v2, memory.oom_control
# of v1). It distinguishes a job that the kernel killed for want of memory from one that somebody killed.
# --heartbeat makes the agent the keeper of a task: it touches FILE while it hears of the coordinator. Its exit
# status is 0 only after an orphan timeout without the coordinator; a keeper that a signal ends is replaced.
# --echo prints the first BYTES of each job's output on stdout, too, for people who read the pod's log.
#
# Needs perl with nothing beyond Debian's perl-base, and sh. womm/link/frames.py and womm/link/session.py
# describe the wire format; the names here are the same.
#
# Strategy: one loop around select(2). Bytes that the coordinator has not acknowledged stay in @sent,
# so a new connection goes on at the byte where the old one was cut. Credits bound @sent: a job's
# stream may be at most its window ahead of the bytes that the coordinator has passed on. Exit statuses come
# from wait4(2) through syscall(), because perl's own waitpid reports no rusage.

# PERL5LIB may name folders relative to the current one, which may belong to anybody.
BEGIN { @INC = grep { ref or m{^/} } @INC }
use strict;
use warnings;
use Config;
use Errno qw(EAGAIN EINTR EIO);
use Fcntl qw(F_SETFL O_NONBLOCK O_RDWR O_NOCTTY O_WRONLY O_APPEND);
use Socket qw(PF_UNIX SOCK_STREAM SOMAXCONN pack_sockaddr_un);

use constant {
    MAGIC => "\0WOMM\xf1\r\n", VERSION => 1, HELLO_SIZE => 34, NOISE_LIMIT => 65536,
    RUN => 1, STDIN_DATA => 2, STDIN_END => 3, SIGNAL => 4, CREDIT => 5, RESIZE => 6, BYE => 7,
    READY => 16, STARTED => 17, OUT => 18, ERR => 19, ENDED => 20,
    ACK => 32, PING => 33, PONG => 34,
    EXITED => 0, SIGNALED => 1, NOT_STARTED => 2, OOM_KILLED => 3,
    WINDOW => 524288,        # bytes a stream may be ahead of its consumer (frames.py: WINDOW)
    CHUNK => 65536,          # one read of a pipe: the default capacity of a pipe on Linux
    ACK_EVERY => 262144,
    BULK => 32768,           # a stream that has carried this much is read in larger pieces:
    REST => 0.001,           # seconds between its reads, during which its pipe fills
    PIPE_BYTES => 262144,    # capacity of such a pipe; F_SETPIPE_SZ is 1031 (fcntl(2))
    LAZY => 0.05,            # seconds that a STARTED may wait for company: most jobs end before anyone needs it
    SOON => 0.003,           # the same for a little output: most such jobs end at once, and a packet costs more
    NEVER => 9e99,
    BEAT => 5,               # seconds between two touches of the heartbeat
    WNOHANG => 1,
};

# System call numbers differ between architectures: asm/unistd_64.h and asm-generic/unistd.h.
my %SYSCALLS = (
    'x86_64'  => { wait4 => 61,  setsid => 112, clock_gettime => 228, exit_group => 231, rt_sigprocmask => 14,
        prctl => 157, statx => 332 },
    'aarch64' => { wait4 => 260, setsid => 157, clock_gettime => 113, exit_group => 94, rt_sigprocmask => 135,
        prctl => 167, statx => 291 },
);
# The machine that perl was built for, not the kernel's: a 32-bit perl makes 32-bit calls.
my $machine = $^O eq 'linux' ? (split /-/, $Config{archname})[0] : '';
my $nr = $SYSCALLS{$machine};
require POSIX unless $nr;    # elsewhere (macOS): no rusage, but the same behaviour

my %option = ('socket' => undef, 'shell' => '/bin/sh', 'orphan-timeout' => 1800, 'silence-timeout' => 60,
    'oom-counters' => '', 'heartbeat' => '', 'echo' => 0);
while (@ARGV) {
    my ($name, $value) = (shift @ARGV, shift @ARGV);
    $name =~ s/^--//;
    die "womm agent: unknown option $name\n" unless exists $option{$name} and defined $value;
    $option{$name} = $value;
}
defined $option{socket} or die "womm agent: --socket is missing\n";

# Variables of perl's that are the jobs', not this program's (womm/worker/__init__.py).
for (keys %ENV) { $ENV{$1} = delete $ENV{$_} if /^WOMM_KEPT_(.+)/s }

my %jobs;             # job number => job, until its end record
my %job_of;           # pid => job
my %readers;          # descriptor => [job, stream] of output being read; [undef, handle] = discard
my %writers;          # descriptor => job whose stdin is being written
my %leftovers;        # process groups of jobs that have ended while members live on
my $groups_seen = 0;  # when they were checked last
my ($read_set, $write_set) = ('', '');

my ($session, $peer, $peer_input) = (undef, undef, '');
my %strangers;        # descriptor => [handle, bytes so far]: connections without a hello yet
my @sent;             # unacknowledged bytes, in pieces: one long string would be moved for each frame
my ($sent_base, $sent_end) = (0, 0);         # their offsets in the stream
my ($next, $next_at) = (0, 0);               # the piece to be written next, and from where
my $write_at = NEVER; # when these are to be on their way
my @resting;          # [job, stream] of bulk output, to be read again at $rest_until
my $rest_until = 0;
my ($received, $acked_to_peer, $owe_ack) = (0, 0, 0);
my $now = clock();
my ($last_heard, $lost_since) = ($now, $now);
my $ending = 0;       # 1: jobs are being ended, no end record leaves any more
my $exit_status = 0;
my ($oom_counter) = grep { defined oom_kills($_) } split /:/, $option{'oom-counters'};
my $beaten = 0;       # when the heartbeat was touched last

pipe(my $wake_r, my $wake_w) or die "womm agent: pipe: $!\n";
nonblocking($_) for $wake_r, $wake_w;
watch_read($wake_r);
# Handlers, not IGNORE: exec(2) puts them back to the default.
$SIG{PIPE} = $SIG{HUP} = sub { };
$SIG{CHLD} = sub { syswrite $wake_w, 'c' };
$SIG{TERM} = $SIG{INT} = sub {
    $ending = 1;
    $exit_status = 143 if $option{heartbeat};
    syswrite $wake_w, 't';
};

socket(my $listener, PF_UNIX, SOCK_STREAM, 0) or die "womm agent: socket: $!\n";
unlink $option{socket};
{
    my $old = umask 077;
    bind($listener, pack_sockaddr_un($option{socket})) or die "womm agent: bind $option{socket}: $!\n";
    umask $old;
}
listen($listener, SOMAXCONN) or die "womm agent: listen: $!\n";
nonblocking($listener);
watch_read($listener);
$| = 1;
print "womm agent: listening\n";
nonblocking(\*STDOUT) if $option{echo};

main_loop();

sub main_loop {
    while (1) {
        my ($r, $w) = ($read_set, $write_set);
        my ($timeout, $wait) = (@resting ? REST : 1, $write_at - $now);
        if ($peer and $next < @sent) {
            if ($wait <= 0) { vec($w, fileno $peer, 1) = 1 }
            elsif ($wait < $timeout) { $timeout = $wait }
        }
        my $n = select($r, $w, undef, $timeout);
        $now = clock();
        if ($n > 0) {
            if (vec($r, fileno $wake_r, 1)) { sysread($wake_r, my $junk, 4096); reap() }
            accept_stranger() if vec($r, fileno $listener, 1);
            for my $fd (keys %strangers) { greet($fd) if vec($r, $fd, 1) }
            read_peer() if $peer and vec($r, fileno $peer, 1);
            for my $fd (keys %readers) { read_output($fd) if vec($r, $fd, 1) and $readers{$fd} }
            for my $fd (keys %writers) { write_stdin($writers{$fd}) if vec($w, $fd, 1) and $writers{$fd} }
        }
        wake_resting() if @resting and $now >= $rest_until;
        end_everything(2) if $ending;
        keep_alive();
        write_peer() if $peer and $now >= $write_at and $next < @sent;
    }
}

# ---- the connection -------------------------------------------------------------------------------

sub accept_stranger {
    while (accept(my $handle, $listener)) {
        nonblocking($handle);
        $strangers{fileno $handle} = [$handle, ''];
        watch_read($handle);
    }
}

# Reads up to a hello. The bytes before the magic number are noise (shells print into streams).
sub greet {
    my ($fd) = @_;
    my ($handle) = @{ $strangers{$fd} };
    my $n = sysread($handle, $strangers{$fd}[1], 4096, length $strangers{$fd}[1]);
    return if !defined $n and ($! == EAGAIN or $! == EINTR);
    my $input = $strangers{$fd}[1];
    my $at = index $input, MAGIC;
    if (!$n or ($at < 0 and length $input > NOISE_LIMIT)) { forget_stranger($fd); return }
    return if $at < 0 or length($input) < $at + HELLO_SIZE;
    my ($version, $id, $peer_received) = unpack 'n a16 Q>', substr $input, $at + 8, HELLO_SIZE - 8;
    my $fits = $version == VERSION && (!defined $session || $session eq $id)
        && $peer_received >= $sent_base && $peer_received <= $sent_end;
    my $answer = $fits ? $id : "\0" x 16;
    syswrite $handle, MAGIC . pack 'n a16 Q>', VERSION, $answer, $received;
    if (!$fits) { forget_stranger($fd); return }
    delete $strangers{$fd};
    drop_peer() if $peer;
    if (!defined $session) {
        $session = $id;
        my ($gid) = split ' ', $);
        send_frame(READY, 0, "pid=$$\0perl=$]\0os=$^O\0machine=$machine\0uid=$>\0gid=$gid");
    }
    ($peer, $peer_input, $last_heard) = ($handle, $peer_input, $now);
    forget_sent($peer_received);
    ($next, $next_at, $write_at) = (0, $peer_received - $sent_base, 0);
    take(substr $input, $at + HELLO_SIZE);
}

sub forget_stranger {
    my ($fd) = @_;
    vec($read_set, $fd, 1) = 0;
    delete $strangers{$fd};
}

sub drop_peer {
    vec($read_set, fileno $peer, 1) = 0;
    close $peer;
    ($peer, $lost_since) = (undef, $now);
}

sub read_peer {
    my $n = sysread($peer, my $bytes, CHUNK);
    if ($n) { take($bytes) }
    elsif (defined $n or ($! != EAGAIN and $! != EINTR)) { drop_peer() }
}

sub write_peer {
    while ($next < @sent) {
        my $left = length($sent[$next]) - $next_at;
        my $n = syswrite($peer, $sent[$next], $left, $next_at);
        if (!defined $n) { drop_peer() if $! != EAGAIN and $! != EINTR; return }
        if ($n < $left) { $next_at += $n; return }
        ($next, $next_at) = ($next + 1, 0);
    }
    $write_at = NEVER;
}

sub send_frame {
    my ($type, $number, $payload) = @_;
    my $frame = pack('CNN', $type, $number, length $payload) . $payload;
    $sent_end += length $frame;
    if ($next < @sent and length($sent[-1]) + length $frame < CHUNK) { $sent[-1] .= $frame }
    else { push @sent, $frame }
    my $may_wait = $type == STARTED ? LAZY : ($type == OUT || $type == ERR) && length $payload < BULK
        && !$jobs{$number}{terminal} ? SOON : 0;
    $write_at = $now + $may_wait if $now + $may_wait < $write_at;
}

# The peer has everything before $offset: drop the pieces that lie there.
sub forget_sent {
    my ($offset) = @_;
    while (@sent and $sent_base + length $sent[0] <= $offset) {
        $sent_base += length shift @sent;
        $next--;
    }
}

sub take {
    my ($bytes) = @_;
    $last_heard = $now;
    beat() if $option{heartbeat} and $now - $beaten >= BEAT;
    $received += length $bytes;
    $peer_input .= $bytes;
    my $at = 0;
    while (length($peer_input) - $at >= 9) {
        my ($type, $number, $length) = unpack 'CNN', substr $peer_input, $at, 9;
        last if length($peer_input) - $at - 9 < $length;
        handle($type, $number, substr $peer_input, $at + 9, $length);
        $at += 9 + $length;
    }
    substr($peer_input, 0, $at) = '' if $at;
    acknowledge() if $received - $acked_to_peer >= ACK_EVERY;
}

sub acknowledge {
    send_frame(ACK, 0, pack 'Q>', $received);
    ($acked_to_peer, $owe_ack) = ($received, 0);
}

sub handle {
    my ($type, $number, $payload) = @_;
    if ($type == ACK) {
        forget_sent(unpack 'Q>', $payload);
        return;
    }
    $owe_ack ||= $now;
    if ($type == RUN) { run_job($number, $payload); return }
    if ($type == PING) { send_frame(PONG, 0, ''); return }
    if ($type == BYE) { end_everything(unpack 'N', $payload); return }
    my $job = $jobs{$number} or return;    # it has ended: the end record is on its way
    if ($type == STDIN_DATA) { $job->{stdin} .= $payload; write_stdin($job) }
    elsif ($type == STDIN_END) { $job->{stdin_ended} = 1; write_stdin($job) }
    elsif ($type == SIGNAL) { signal_job($job, unpack 'C', $payload) }
    elsif ($type == CREDIT) {
        my ($stream, $bytes) = unpack 'CN', $payload;
        $job->{credit}[$stream] += $bytes;
        vec($read_set, fileno $job->{handle}[$stream], 1) = 1 if $job->{handle}[$stream];
        drain($job) if $job->{wait};
    }
    elsif ($type == RESIZE) { set_size($job, unpack 'nn', $payload) }
}

# The coordinator is away for longer than the orphan timeout: no result can reach it, so the jobs end.
sub keep_alive {
    acknowledge() if $owe_ack and $now - $owe_ack >= 1;
    forget_groups() if %leftovers and $now - $groups_seen >= 1;
    drop_peer() if $peer and $now - $last_heard > $option{'silence-timeout'};
    if (!$peer and $now - $lost_since > $option{'orphan-timeout'}) {
        print STDERR "womm agent: no coordinator for $option{'orphan-timeout'} s: ending\n";
        end_everything(2);
    }
}

# ---- jobs -----------------------------------------------------------------------------------------

sub run_job {
    my ($number, $payload) = @_;
    my %job = (number => $number, credit => [0, WINDOW, WINDOW], bytes => [0, 0, 0], handle => [],
        stdin => '', stdin_ended => 0, stdin_total => 0);
    $job{ooms} = oom_kills($oom_counter) if $oom_counter;
    my (@argv, @set, @unset, @fresh, $command, $dir, $terminal, $piped, $nice, $tree);
    for (split /\0/, $payload) {
        my ($key, $value) = (substr($_, 0, 1), substr $_, 2);
        if ($key eq 'c') { $command = $value }
        elsif ($key eq 'e') { push @set, $value }
        elsif ($key eq 'u') { push @unset, $value }
        elsif ($key eq 'a') { push @argv, $value }
        elsif ($key eq 'd') { $dir = $value }
        elsif ($key eq 'i') { $piped = 1 }
        elsif ($key eq 't') { $terminal = $value }
        elsif ($key eq 'n') { $nice = $value }
        elsif ($key eq 's') { push @fresh, $value }
        elsif ($key eq 'S') { $tree = $value }
        elsif ($key eq '1' or $key eq '2') { open_file(\%job, $key, $value) }
    }
    my ($in_r, $in_w, $out_r, $err_r, $tty_name);
    my ($out_w, $err_w) = ($job{file}[1], $job{file}[2]);
    if (defined $terminal) {
        ($out_r, $tty_name) = open_terminal();
        if (!$out_r) { not_started($number, "no terminal: $!"); return }
        $job{terminal} = $out_r;
        set_size(\%job, split /,/, $terminal);
    }
    elsif (!$out_w && !pipe($out_r, $out_w) or !$err_w && !pipe($err_r, $err_w)
        or $piped && !pipe($in_r, $in_w)) {
        not_started($number, "pipe: $!");
        return;
    }
    # Hold signals for the job back until it no longer has this program's handlers: see signal_job.
    my ($all, $before) = ("\xff" x 8, "\0" x 8);
    syscall($nr->{rt_sigprocmask}, 0, $all, $before, 8) if $nr;    # SIG_BLOCK
    my $pid = fork;
    syscall($nr->{rt_sigprocmask}, 2, $before, 0, 8) if $nr and $pid || !defined $pid;    # SIG_SETMASK
    if (!defined $pid) { not_started($number, "fork: $!"); return }
    if (!$pid) {
        $nr ? syscall($nr->{setsid}) : POSIX::setsid();
        syscall($nr->{prctl}, 1, 9) if $nr;    # PR_SET_PDEATHSIG, SIGKILL: not a moment longer than the agent
        $SIG{$_} = 'DEFAULT' for qw(HUP INT TERM USR1 USR2);    # GNU parallel's own jobs begin so, too
        syscall($nr->{rt_sigprocmask}, 2, $before, 0, 8) if $nr;
        if (defined $terminal) {
            open(my $tty, '+<', $tty_name) or child_fails("$tty_name: $!");
            ioctl($tty, 0x540E, 0);    # TIOCSCTTY
            open(STDIN, '<&', $tty); open(STDOUT, '>&', $tty); open(STDERR, '>&', $tty);
        }
        else {
            $piped ? open(STDIN, '<&', $in_r) : open(STDIN, '<', '/dev/null');
            open(STDOUT, '>&', $out_w);
            open(STDERR, '>&', $err_w);
        }
        look_again(@fresh) if @fresh;
        look_below($tree) if defined $tree;
        if (defined $dir) { chdir $dir or child_fails("$dir: $!") }
        setpriority(0, 0, $nice) if defined $nice;
        delete @ENV{@unset};
        for (@set) { my ($k, $v) = split /=/, $_, 2; $ENV{$k} = $v }
        @argv = ($option{shell}, defined $command ? ('-c', $command) : ()) unless @argv;
        no warnings 'exec';
        exec { $argv[0] } @argv or child_fails("$argv[0]: $!");
    }
    $job{pid} = $pid;
    $jobs{$number} = $job_of{$pid} = \%job;
    add_reader(\%job, 1, $out_r) if $out_r;
    add_reader(\%job, 2, $err_r) if $err_r;
    if (defined $terminal) { open($job{handle}[0], '+<&', $out_r) }
    else { $job{handle}[0] = $in_w }
    nonblocking($job{handle}[0]) if $job{handle}[0];
    send_frame(STARTED, $number, pack 'N', $pid);
}

# Makes this machine's kernel ask the file server about a share again: statx(2) with AT_STATX_FORCE_SYNC.
# The directory comes first: it decides whether the kernel looks up the names in it again.
sub look_again {
    my %asked;
    for my $path (@_) {
        my ($above) = $path =~ m{^(.+)/}s;
        for ($above, $path) { force_stat($_) if defined $_ and !$asked{$_}++ }
    }
}

# Anything may have changed: ask about every file.
sub look_below {
    my @left = @_;
    while (defined(my $path = shift @left)) {
        force_stat($path);
        next if -l $path or !-d _ or !opendir(my $directory, $path);
        push @left, map {"$path/$_"} grep { $_ ne '.' and $_ ne '..' } readdir $directory;
    }
}

sub force_stat {
    my ($path) = @_;
    my $result = "\0" x 256;
    $nr ? syscall($nr->{statx}, -100, "$path", 0x2100, 0x7ff, $result) : lstat $path;    # NOFOLLOW, FORCE_SYNC
}

# Signals the whole process group; until the job has made one (setsid), the job alone.
sub signal_job {
    my ($job, $number) = @_;
    my $pid = $job->{pid};
    return if $job->{wait} and !$leftovers{$pid};
    kill($number, -$pid) or $job->{wait} or kill $number, $pid;
}

# The job writes its output to a file of this machine itself, or else to a pipe.
sub open_file {
    my ($job, $stream, $path) = @_;
    sysopen(my $handle, $path, O_WRONLY | O_APPEND) or return;
    $job->{file}[$stream] = $handle;
    $job->{bytes}[$stream] = 0 - (-s $handle || 0);
}

sub child_fails {
    my ($text) = @_;
    syswrite STDERR, "womm: $text\n";
    $nr ? syscall($nr->{exit_group}, 127) : POSIX::_exit(127);
}

sub add_reader {
    my ($job, $stream, $handle) = @_;
    nonblocking($handle);
    $job->{handle}[$stream] = $handle;
    $readers{fileno $handle} = [$job, $stream];
    watch_read($handle);
}

sub read_output {
    my ($fd) = @_;
    my ($job, $stream) = @{ $readers{$fd} };
    if (!$job) {    # a job that has ended left a process behind that still writes
        my $n = sysread($stream, my $junk, CHUNK);
        if (defined $n ? !$n : $! != EAGAIN && $! != EINTR) { vec($read_set, $fd, 1) = 0; delete $readers{$fd} }
        return;
    }
    my $before = $job->{bytes}[$stream];
    1 while pump($job, $stream) and $job->{bytes}[$stream] >= BULK;
    return if $job->{bytes}[$stream] - $before >= PIPE_BYTES / 2;    # it writes as fast as this reads
    return unless $job->{bytes}[$stream] >= BULK and $job->{handle}[$stream] and $job->{credit}[$stream] > 0;
    fcntl($job->{handle}[$stream], 1031, PIPE_BYTES) if $^O eq 'linux' and !$job->{wide}[$stream]++;
    vec($read_set, $fd, 1) = 0;
    push @resting, [$job, $stream];
    $rest_until ||= $now + REST;
}

# A writer of small pieces would wake this program, the coordinator and GNU parallel for each of them.
sub wake_resting {
    my @rested = splice @resting;
    $rest_until = 0;
    for (@rested) {
        my ($job, $stream) = @$_;
        next if !$job->{handle}[$stream] or $job->{wait};
        vec($read_set, fileno $job->{handle}[$stream], 1) = 1;
    }
}

# One read of a job's stdout or stderr. Returns 1 when there may be more at once.
sub pump {
    my ($job, $stream) = @_;
    my $handle = $job->{handle}[$stream] or return 0;
    my $want = $job->{credit}[$stream];
    if ($want <= 0) { vec($read_set, fileno $handle, 1) = 0; return 0 }
    my $n = sysread($handle, my $bytes, $want < CHUNK ? $want : CHUNK);
    if ($n) {
        $job->{credit}[$stream] -= $n;
        $job->{bytes}[$stream] += $n;
        send_frame($stream == 1 ? OUT : ERR, $job->{number}, $bytes);
        echo_output($job, $bytes) if $option{echo};
        return 1;
    }
    if (!defined $n and $! == EAGAIN || $! == EINTR) { $job->{drained}[$stream] = 1 if $job->{wait}; return 0 }
    close_stream($job, $stream);    # end of file; a terminal whose last user has gone says EIO
    return 0;
}

sub close_stream {
    my ($job, $stream) = @_;
    my $handle = $job->{handle}[$stream] or return;
    vec($read_set, fileno $handle, 1) = 0;
    delete $readers{fileno $handle};
    $job->{handle}[$stream] = undef;
}

sub write_stdin {
    my ($job) = @_;
    my $handle = $job->{handle}[0];
    if (!$handle) {    # the job has closed its stdin: its input is taken and dropped
        return_credit($job, length $job->{stdin});
        $job->{stdin} = '';
        return;
    }
    if (length $job->{stdin}) {
        my $n = syswrite $handle, $job->{stdin};
        if ($n) { substr($job->{stdin}, 0, $n) = ''; return_credit($job, $n) }
        elsif ($! != EAGAIN and $! != EINTR) { close_stdin($job); write_stdin($job); return }
    }
    if (length $job->{stdin}) { $writers{fileno $handle} = $job; vec($write_set, fileno $handle, 1) = 1; return }
    vec($write_set, fileno $handle, 1) = 0;
    delete $writers{fileno $handle};
    return unless $job->{stdin_ended};
    if ($job->{terminal}) { syswrite $handle, "\4"; $job->{stdin_ended} = 0 }    # Ctrl-D
    else { close_stdin($job) }
}

sub close_stdin {
    my ($job) = @_;
    my $handle = $job->{handle}[0] or return;
    vec($write_set, fileno $handle, 1) = 0;
    delete $writers{fileno $handle};
    $job->{handle}[0] = undef;
}

sub return_credit {
    my ($job, $n) = @_;
    $job->{stdin_total} += $n;
    return if $job->{stdin_total} < WINDOW / 4;
    send_frame(CREDIT, $job->{number}, pack 'CN', 0, $job->{stdin_total});
    $job->{stdin_total} = 0;
}

sub reap {
    my ($status, $usage) = (pack('i', 0), "\0" x 144);
    while (1) {
        my $pid = $nr ? syscall($nr->{wait4}, -1, $status, WNOHANG, $usage) : waitpid(-1, WNOHANG);
        last if $pid <= 0;
        my $code = $nr ? unpack 'i', $status : $?;
        my $job = delete $job_of{$pid} or next;    # as pid 1: a zombie of somebody's grandchild
        $leftovers{$pid} = 1 if kill 0, -$pid;
        my @u = $nr ? unpack 'q5', $usage : (0) x 5;
        $job->{wait} = [$code, $u[0] * 1000000 + $u[1], $u[2] * 1000000 + $u[3], $u[4]];
        drain($job);
    }
}

# After the exit all that the job wrote is in the pipes, and only that counts. A process that the job has left
# behind may hold the pipes open; GNU parallel does not wait for it either.
sub drain {
    my ($job) = @_;
    $job->{drained} = [];
    for my $stream (1, 2) {
        1 while pump($job, $stream);
        return if $job->{handle}[$stream] and !$job->{drained}[$stream];    # waits for credit
    }
    my ($code, $user, $system, $rss) = @{ $job->{wait} };
    my $signal = $code & 127;
    close_stdin($job);
    for my $stream (1, 2) {
        if (my $file = $job->{file}[$stream]) {
            my $grown = $job->{bytes}[$stream] + (-s $file || 0);
            $job->{bytes}[$stream] = $grown < 0 ? 0 : $grown;    # it may have been cut short, too
        }
        my $handle = $job->{handle}[$stream] or next;
        if ($job->{terminal}) { close_stream($job, $stream) }
        else { $readers{fileno $handle} = [undef, $handle]; watch_read($handle) }
    }
    delete $jobs{ $job->{number} };
    return if $ending;
    # The shell of a job lives on when the kernel kills what it ran, and says 128 + SIGKILL.
    my $killed = $signal == 9 || $code >> 8 == 137;
    my $oom = $killed && $oom_counter && oom_kills($oom_counter) > $job->{ooms};
    send_frame(ENDED, $job->{number}, pack 'C l> Q>5', $oom ? OOM_KILLED : $signal ? SIGNALED : EXITED,
        $signal || $code >> 8, $job->{bytes}[1], $job->{bytes}[2], $user, $system, $rss);
}

# A number belongs to the group as long as the group has members. Then another process may get it.
sub forget_groups {
    $groups_seen = $now;
    delete @leftovers{ grep { !kill 0, -$_ } keys %leftovers };
}

sub not_started {
    my ($number, $text) = @_;
    send_frame(ENDED, $number, pack('C l> Q>5', NOT_STARTED, 0, 0, 0, 0, 0, 0) . $text);
}

# Ends every job: TERM, then KILL after the grace, then the agent itself. The connection goes first, so that
# the coordinator does not take a job that dies of this for one that ended by itself.
sub end_everything {
    my ($grace) = @_;
    $ending = 1;
    drop_peer() if $peer;
    close $listener;
    unlink $option{socket};
    forget_groups();
    my @groups = (keys %job_of, keys %leftovers);
    for my $name ('TERM', 'CONT') { kill($name, -$_) or $job_of{$_} && kill $name, $_ for @groups }
    my $until = clock() + $grace;
    while (@groups and clock() < $until) {
        select undef, undef, undef, 0.02;
        reap();
        @groups = grep { kill(0, -$_) or $job_of{$_} && kill 0, $_ } @groups;
    }
    for (@groups) { kill('KILL', -$_) or $job_of{$_} && kill 'KILL', $_ }
    exit $exit_status;
}

# ---- small things ---------------------------------------------------------------------------------

# pty(7), ioctl_tty(2): the ioctl numbers are the same on amd64 and arm64.
sub open_terminal {
    sysopen(my $master, '/dev/ptmx', O_RDWR | O_NOCTTY) or return;
    my $number = pack 'i', 0;
    ioctl($master, 0x40045431, $number) or return;    # TIOCSPTLCK: unlock
    ioctl($master, 0x80045430, $number) or return;    # TIOCGPTN
    return ($master, '/dev/pts/' . unpack 'i', $number);
}

sub set_size {
    my ($job, $rows, $columns) = @_;
    ioctl($job->{terminal}, 0x5414, pack 'S4', $rows, $columns, 0, 0) if $job->{terminal};    # TIOCSWINSZ
}

# Returns how often the kernel has killed for want of memory in this container; undef: the file does not say.
sub oom_kills {
    my ($path) = @_;
    open(my $file, '<', $path) or return;
    while (my $line = <$file>) { return $1 if $line =~ /^oom_kill ([0-9]+)/ }    # not $_: it is a caller's
    return;
}

# Leaves output out when the log is full or slow: jobs do not wait for a log.
sub echo_output {
    my ($job, $bytes) = @_;
    my $room = $option{echo} - ($job->{echoed} //= 0);
    return if $room <= 0;
    $job->{echoed} += length $bytes;
    syswrite STDOUT, $room < length $bytes ? substr($bytes, 0, $room) . "\n[...]\n" : $bytes;
}

sub beat {
    $beaten = $now;
    if (open my $file, '>>', $option{heartbeat}) { utime undef, undef, $option{heartbeat} }
}

sub watch_read { vec($read_set, fileno $_[0], 1) = 1 }

# F_SETFL leaves the access mode alone, and files that are opened here have no other flags.
sub nonblocking { fcntl($_[0], F_SETFL, O_NONBLOCK) }

# Seconds that only go forward, where the system has them; they stop while a laptop sleeps.
sub clock {
    return time unless $nr;
    my $spec = "\0" x 16;
    syscall($nr->{clock_gettime}, 1, $spec);
    my ($s, $ns) = unpack 'qq', $spec;
    return $s + $ns / 1e9;
}
