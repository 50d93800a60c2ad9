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
#
# Jobs are children of the agent, but a second process starts them, the starter (Linux). It splits off before
# this file is compiled: a fork copies the page tables of its process, and both sides then copy every page that
# they write. The agent's fork took 0.4 ms of CPU.

# PERL5LIB may name folders relative to the current one, which may belong to anybody.
BEGIN { @INC = grep { ref or m{^/} } @INC }
use strict;

# ---- the starter, and what a new process does until it is the job -----------------------------------

my ($machine, $nr);           # $nr: the numbers of system calls; undef where they are not known
my $job_mask;                 # the signals that are blocked in jobs: those that were when this program began
my @environment;              # of jobs, in its order
my %place;                    # variable => its index there
my ($starter, $near, $far);   # the pid of the starter, and the two ends of the socket to it
my $null;                     # /dev/null

BEGIN {
    # System call numbers differ between architectures: asm/unistd_64.h and asm-generic/unistd.h.
    my %SYSCALLS = (
        'x86_64' => { read => 0, write => 1, close => 3, rt_sigprocmask => 14, clone => 56, execve => 59,
            wait4 => 61, fcntl => 72, setsid => 112, prctl => 157, clock_gettime => 228, exit_group => 231,
            signalfd4 => 289, dup3 => 292, pipe2 => 293, prlimit64 => 302, statx => 332 },
        'aarch64' => { read => 63, write => 64, close => 57, rt_sigprocmask => 135, clone => 220, execve => 221,
            wait4 => 260, fcntl => 25, setsid => 157, prctl => 167, clock_gettime => 113, exit_group => 94,
            signalfd4 => 74, dup3 => 24, pipe2 => 59, prlimit64 => 261, statx => 291 },
    );
    # The machine that perl was built for, not the kernel's: a 32-bit perl makes 32-bit calls.
    my $elf = '';
    if ($^O eq 'linux' and open my $self, '<', '/proc/self/exe') { sysread $self, $elf, 20 }
    $machine = { 62 => 'x86_64', 183 => 'aarch64' }->{ unpack 'x18 S', $elf } // '' if length $elf == 20;
    $nr = $SYSCALLS{$machine};
    require POSIX unless $nr;    # elsewhere (macOS): no rusage, but the same behaviour
    $job_mask = "\0" x 8;

    # Variables of perl's that are the jobs', not this program's (womm/worker/__init__.py).
    for (keys %ENV) { $ENV{$1} = delete $ENV{$_} if /^WOMM_KEPT_(.+)/s }
    my $text = '';
    if ($nr and open my $file, '<', '/proc/self/environ') { local $/; $text = <$file> // '' }
    @environment = map { s/^WOMM_KEPT_//r } grep {/./s} split /\0/, $text;
    @environment = map {"$_=$ENV{$_}"} sort keys %ENV unless @environment;
    # Without a home that this user may write into, jobs get this one.
    if (defined(my $spare = delete $ENV{WOMM_SPARE_HOME})) {
        my $good = -d ($ENV{HOME} // '') && -w _;
        @environment = grep { !/^WOMM_SPARE_HOME=/ && ($good || !/^HOME=/) } @environment;
        push @environment, "HOME=$spare" unless $good;
    }
    @place{ map { (split /=/, $_, 2)[0] } @environment } = 0 .. $#environment;
    open $null, '<', '/dev/null' or die "womm agent: /dev/null: $!\n";
}

# Reads the fields of a RUN. All that can be done before there is a new process is done here: the starter does
# it once, and the new process would copy each page that it writes to.
sub plan_job {
    my ($payload, $shell) = @_;
    my (@argv, @set, %unset, $command);
    my %plan = (fresh => []);
    for (split /\0/, $payload) {
        my ($key, $value) = (substr($_, 0, 1), substr $_, 2);
        if ($key eq 'c') { $command = $value }
        elsif ($key eq 'e') { push @set, $value }
        elsif ($key eq 'u') { $unset{$value} = 1 }
        elsif ($key eq 'a') { push @argv, $value }
        elsif ($key eq 'd') { $plan{dir} = $value }
        elsif ($key eq 'n') { $plan{nice} = $value }
        elsif ($key eq 's') { push @{ $plan{fresh} }, $value }
        elsif ($key eq 'S') { $plan{tree} = $value }
        elsif ($key eq 'T') { $plan{terminal} = $value }
    }
    @argv = ($shell, defined $command ? ('-c', $command) : ()) unless @argv;
    my @env = @environment;
    for (keys %unset) { $env[ $place{$_} ] = undef if defined $place{$_} }
    for (@set) {
        my $name = substr $_, 0, index $_, '=';
        if (defined $place{$name}) { $env[ $place{$name} ] = $_ }
        else { push @env, $_ }
    }
    @env = grep {defined} @env if %unset;
    @plan{qw(argv env)} = (\@argv, \@env);
    return \%plan unless $nr;
    # execve(2) needs no more perl than one call. Pointers to the strings, which stay where they are.
    $plan{path} = $argv[0] . '' if $argv[0] =~ m{/};
    ($plan{argv_at}, $plan{env_at}) = (pack('p*', @argv) . "\0" x 8, pack('p*', @env) . "\0" x 8);
    return \%plan;
}

# Runs in the new process, with all signals blocked and at their default, and becomes the job.
sub become_job {
    my ($in, $out, $err, $plan) = @_;
    if ($nr) {
        syscall $nr->{setsid};
        syscall $nr->{prctl}, 1, 9;    # PR_SET_PDEATHSIG, SIGKILL: not a moment longer than the agent
        syscall $nr->{rt_sigprocmask}, 2, $job_mask, 0, 8;    # SIG_SETMASK
    }
    else { POSIX::setsid() }
    if (defined $plan->{terminal}) {
        open(my $tty, '+<', $plan->{terminal}) or child_fails("$plan->{terminal}: $!");
        ioctl($tty, 0x540E, 0);        # TIOCSCTTY
        open(STDIN, '<&', $tty); open(STDOUT, '>&', $tty); open(STDERR, '>&', $tty);
    }
    elsif ($nr) {
        syscall $nr->{dup3}, $in, 0, 0;
        syscall $nr->{dup3}, $out, 1, 0;
        syscall $nr->{dup3}, $err, 2, 0;
    }
    else { open(STDIN, "<&$in"); open(STDOUT, ">&$out"); open(STDERR, ">&$err") }
    look_again(@{ $plan->{fresh} }) if @{ $plan->{fresh} };
    look_below($plan->{tree}) if defined $plan->{tree};
    if (defined $plan->{dir}) { chdir $plan->{dir} or child_fails("$plan->{dir}: $!") }
    setpriority(0, 0, $plan->{nice}) if defined $plan->{nice};
    syscall $nr->{execve}, $plan->{path}, $plan->{argv_at}, $plan->{env_at} if defined $plan->{path};
    # A word that is looked up in PATH, a script without #!, or an error.
    %ENV = map { split /=/, $_, 2 } @{ $plan->{env} };
    my @argv = @{ $plan->{argv} };
    exec { $argv[0] } @argv or child_fails("$argv[0]: $!");
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

sub child_fails {
    my ($text) = @_;
    syswrite STDERR, "womm: $text\n";
    $nr ? syscall($nr->{exit_group}, 127) : POSIX::_exit(127);
}

# A job begins with these as GNU parallel's own jobs do, and with no handler or setting of perl's.
sub default_signals { $SIG{$_} = 'DEFAULT' for qw(HUP INT TERM USR1 USR2 PIPE CHLD FPE) }

# The starter: makes a process for each request, and answers with its pid, or with minus the error. The
# descriptors in a request are the agent's: both have one table of them (CLONE_FILES). The processes become
# the agent's children (CLONE_PARENT). So the table never shows that one of the two has gone: the kernel ends
# the starter with the agent, and the agent looks after the starter.
sub start_jobs {
    my ($agent) = @_;
    default_signals();
    # Its name, not $0: that would overwrite the environment by which womm finds what an agent leaves behind.
    my $name = 'womm starter';
    syscall $nr->{prctl}, 15, $name;    # PR_SET_NAME
    syscall $nr->{prctl}, 1, 9;         # PR_SET_PDEATHSIG, SIGKILL
    my ($input, $files) = ('', "\0" x 16);
    while (getppid == $agent) {
        sysread($far, $input, 65536, length $input) or last;
        next unless length $input >= 4 and length $input >= 4 + unpack 'N', $input;
        my ($in, $out, $err, $shell, $payload) = unpack 'x4 l>3 N/a* a*', $input;
        $input = '';
        my $plan = plan_job($payload, $shell);
        # Whoever started the agent may have changed its limit of open files since (womm/process.py). Once.
        if ($files and !syscall $nr->{prlimit64}, $agent, 7, 0, $files) {
            syscall $nr->{prlimit64}, 0, 7, $files, 0;
        }
        $files = '';
        my $pid = syscall $nr->{clone}, 0x8000, 0, 0, 0, 0;
        become_job($in, $out, $err, $plan) if !$pid;
        syswrite $far, pack 'l>', $pid < 0 ? -$! : $pid;
    }
    syscall $nr->{exit_group}, 0;
}

BEGIN {
    # AF_UNIX, SOCK_STREAM. Without a starter the agent forks.
    if ($nr and !$^C and socketpair $near, $far, 1, 1, 0) {
        my $agent = $$;
        my $all = "\xff" x 8;
        syscall $nr->{rt_sigprocmask}, 0, $all, $job_mask, 8;    # SIG_BLOCK: for ever in the starter
        $starter = syscall $nr->{clone}, 0x400 | 17, 0, 0, 0, 0; # CLONE_FILES, SIGCHLD
        start_jobs($agent) if !$starter;
        syscall $nr->{rt_sigprocmask}, 2, $job_mask, 0, 8;
    }
}

# ---- the agent ------------------------------------------------------------------------------------

use warnings;
use Errno qw(EAGAIN EINTR EIO);
use Fcntl qw(F_SETFL O_NONBLOCK O_RDWR O_NOCTTY O_WRONLY O_APPEND);
use Socket qw(PF_UNIX SOCK_STREAM SOMAXCONN SOL_SOCKET SO_RCVTIMEO SO_SNDTIMEO pack_sockaddr_un);

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

my %option = ('socket' => undef, 'shell' => '/bin/sh', 'orphan-timeout' => 1800, 'silence-timeout' => 60,
    'oom-counters' => '', 'heartbeat' => '', 'echo' => 0);
while (@ARGV) {
    my ($name, $value) = (shift @ARGV, shift @ARGV);
    $name =~ s/^--//;
    die "womm agent: unknown option $name\n" unless exists $option{$name} and defined $value;
    $option{$name} = $value;
}
defined $option{socket} or die "womm agent: --socket is missing\n";

my %jobs;             # job number => job, until its end record
my %job_of;           # pid => job
my %handles;          # descriptor => perl's handle of it, where it has one: of a terminal; not Linux: of all
my @young;            # jobs whose output is not watched yet, the oldest first
my $small = 1;        # the last job wrote little
my $buffer = "\0" x CHUNK;
my %readers;          # descriptor => [job, stream] of output being read; [undef] = discard
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
my ($oom_counter) = grep { defined oom_kills($_) } map { opened($_) } split /:/, $option{'oom-counters'};
my $beaten = 0;       # when the heartbeat was touched last

if ($starter) { setsockopt $near, SOL_SOCKET, $_, pack 'qq', 1, 0 for SO_RCVTIMEO, SO_SNDTIMEO }
# Handlers, not IGNORE: exec(2) puts them back to the default.
$SIG{PIPE} = $SIG{HUP} = sub { };
my ($wake_r, $wake_w);    # tells of SIGCHLD, SIGTERM and SIGINT
if ($nr) {
    my $set = pack 'Q', 1 << 16 | 1 << 14 | 1 << 1;    # their numbers less 1
    syscall $nr->{rt_sigprocmask}, 0, $set, 0, 8;
    my $fd = syscall $nr->{signalfd4}, -1, $set, 8, 02004000;    # SFD_CLOEXEC, SFD_NONBLOCK
    open $wake_r, '<&=', $fd or die "womm agent: signalfd: $!\n";
}
else {
    pipe($wake_r, $wake_w) or die "womm agent: pipe: $!\n";
    nonblocking($_) for $wake_r, $wake_w;
    for my $name (qw(CHLD TERM INT)) {
        my $number = POSIX->can("SIG$name")->();
        $SIG{$name} = sub { syswrite $wake_w, pack 'L x124', $number };    # as signalfd(2) does
    }
}
watch_read($wake_r);

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
        if (@young and $young[0]{watch_at} - $now < $timeout) { $timeout = $young[0]{watch_at} - $now }
        my $n = select($r, $w, undef, $timeout < 0 ? 0 : $timeout);
        $now = clock();
        if ($n > 0) {
            woken() if vec($r, fileno $wake_r, 1);
            accept_stranger() if vec($r, fileno $listener, 1);
            for my $fd (keys %strangers) { greet($fd) if vec($r, $fd, 1) }
            read_peer() if $peer and vec($r, fileno $peer, 1);
            for my $fd (keys %readers) { read_output($fd) if vec($r, $fd, 1) and $readers{$fd} }
            for my $fd (keys %writers) { write_stdin($writers{$fd}) if vec($w, $fd, 1) and $writers{$fd} }
        }
        wake_resting() if @resting and $now >= $rest_until;
        watch_output(shift @young) while @young and $young[0]{watch_at} <= $now;
        end_everything(2) if $ending;
        keep_alive();
        write_peer() if $peer and $now >= $write_at and $next < @sent;
    }
}

sub woken {
    my $n = sysread $wake_r, my $signals, 128 * 32;
    for my $number ($n ? unpack '(L x124)*', $signals : ()) {
        if ($number != 2 and $number != 15) { reap(); next }
        $ending = 1;
        $exit_status = 143 if $option{heartbeat};
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
        vec($read_set, $job->{fd}[$stream], 1) = 1 if defined $job->{fd}[$stream];
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
    my %job = (number => $number, credit => [0, WINDOW, WINDOW], bytes => [0, 0, 0], fd => [],
        stdin => '', stdin_ended => 0, stdin_total => 0);
    $job{ooms} = oom_kills($oom_counter) if $oom_counter;
    my ($terminal, $piped);
    while ($payload =~ /(?:\A|\0)([it12])=([^\0]*)/g) {
        if ($1 eq 'i') { $piped = 1 }
        elsif ($1 eq 't') { $terminal = $2 }
        else { open_file(\%job, $1, $2) }
    }
    my ($in_r, $in_w, $out_r, $err_r) = (fileno $null);
    my ($out_w, $err_w) = map { $job{file}[$_] && fileno $job{file}[$_] } 1, 2;
    if (defined $terminal) {
        my ($handle, $name) = open_terminal();
        if (!$handle) { not_started($number, "no terminal: $!"); return }
        $out_r = fileno $handle;
        $handles{$out_r} = $job{terminal} = $handle;
        $payload .= "\0T=$name";
        ($out_w, $err_w) = (0, 0);
        set_size(\%job, split /,/, $terminal);
    }
    else {
        my $failed;
        if (!defined $out_w) { ($out_r, $out_w) = make_pipe() or $failed = "$!" }
        if (!defined $err_w and !$failed) { ($err_r, $err_w) = make_pipe() or $failed = "$!" }
        if ($piped and !$failed) { ($in_r, $in_w) = make_pipe() or $failed = "$!" }
        if ($failed) {
            close_fd($_) for grep {defined} $out_r && ($out_r, $out_w), $err_r && ($err_r, $err_w);
            not_started($number, "pipe: $failed");
            return;
        }
    }
    my $pid = start_process($in_r, $out_w, $err_w, $payload);
    my $why = "$!";
    close_fd($in_r) if defined $in_w;
    close_fd($out_w) if defined $out_r and !defined $terminal;
    close_fd($err_w) if defined $err_r;
    if ($pid < 0) {
        close_fd($_) for grep {defined} $in_w, $out_r, $err_r;
        not_started($number, "fork: $why");
        return;
    }
    $job{pid} = $pid;
    $jobs{$number} = $job_of{$pid} = \%job;
    @{ $job{fd} }[0 .. 2] = (defined $terminal ? $out_r : $in_w, $out_r, $err_r);
    nonblocking_fd($_) for grep {defined} $in_w, $out_r, $err_r;
    $readers{$out_r} = [\%job, 1] if defined $out_r;
    $readers{$err_r} = [\%job, 2] if defined $err_r;
    $job{watch_at} = $now + SOON;
    if ($small and !defined $terminal) { push @young, \%job }
    else { watch_output(\%job) }
    send_frame(STARTED, $number, pack 'N', $pid);
}

# Most jobs end before anybody needs their first bytes, and those come with the end.
sub watch_output {
    my ($job) = @_;
    return if $job->{wait};
    for my $fd (grep {defined} @{ $job->{fd} }[1, 2]) { vec($read_set, $fd, 1) = 1 }
}

# Returns the pid, or a number below 0 with the reason in $!.
sub start_process {
    my ($in, $out, $err, $payload) = @_;
    if ($starter) {
        my $request = pack 'N/a*', pack 'l>3 N/a* a*', $in, $out, $err, $option{shell}, $payload;
        while (length $request) {
            my $n = syswrite $near, $request;
            if ($n) { substr($request, 0, $n) = '' }
            else { look_after_starter() }
        }
        my $answer;
        look_after_starter() until sysread $near, $answer, 4;
        my $pid = unpack 'l>', $answer;
        $! = -$pid if $pid < 0;
        return $pid;
    }
    my $plan = plan_job($payload, $option{shell});
    # Hold signals for the job back until it no longer has this program's handlers: see signal_job.
    my ($all, $before) = ("\xff" x 8, "\0" x 8);
    syscall $nr->{rt_sigprocmask}, 0, $all, $before, 8 if $nr;
    my $pid = fork;
    if (defined $pid and !$pid) {
        default_signals();
        become_job($in, $out, $err, $plan);
    }
    my $error = $!;
    syscall $nr->{rt_sigprocmask}, 2, $before, 0, 8 if $nr;
    $! = $error;
    return $pid // -1;
}

# Only somebody who kills it ends the starter. What it did last is not known, so this agent ends, too.
sub look_after_starter {
    my ($status, $usage) = (pack('i', 0), "\0" x 144);
    starter_gone() if syscall($nr->{wait4}, $starter, $status, WNOHANG, $usage) == $starter;
}

sub starter_gone {
    print STDERR "womm agent: the process that starts jobs is gone: ending\n";
    ($starter, $exit_status) = (undef, 1);
    end_everything(2);
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

sub read_output {
    my ($fd) = @_;
    my ($job, $stream) = @{ $readers{$fd} };
    if (!$job) {    # a job that has ended left a process behind that still writes
        my $n = read_fd($fd, CHUNK, my $junk);
        forget_output($fd) if defined $n ? !$n : $! != EAGAIN && $! != EINTR;
        return;
    }
    my $before = $job->{bytes}[$stream];
    1 while pump($job, $stream) and $job->{bytes}[$stream] >= BULK;
    return if $job->{bytes}[$stream] - $before >= PIPE_BYTES / 2;    # it writes as fast as this reads
    return unless $job->{bytes}[$stream] >= BULK and $job->{fd}[$stream] and $job->{credit}[$stream] > 0;
    syscall $nr->{fcntl}, $fd, 1031, PIPE_BYTES if $nr and !$job->{wide}[$stream]++;
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
        next if !$job->{fd}[$stream] or $job->{wait};
        vec($read_set, $job->{fd}[$stream], 1) = 1;
    }
}

# One read of a job's stdout or stderr. Returns 1 when there may be more at once.
sub pump {
    my ($job, $stream) = @_;
    my $fd = $job->{fd}[$stream] or return 0;
    my $want = $job->{credit}[$stream];
    if ($want <= 0) { vec($read_set, $fd, 1) = 0; return 0 }
    my $n = read_fd($fd, $want < CHUNK ? $want : CHUNK, my $bytes);
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
    my $fd = $job->{fd}[$stream] or return;
    $job->{fd}[$stream] = undef;
    forget_output($fd);
}

sub forget_output {
    my ($fd) = @_;
    vec($read_set, $fd, 1) = 0;
    delete $readers{$fd};
    close_fd($fd);
}

sub write_stdin {
    my ($job) = @_;
    my $fd = $job->{fd}[0];
    if (!defined $fd) {    # the job has closed its stdin: its input is taken and dropped
        return_credit($job, length $job->{stdin});
        $job->{stdin} = '';
        return;
    }
    if (length $job->{stdin}) {
        my $n = write_fd($fd, $job->{stdin});
        if ($n) { substr($job->{stdin}, 0, $n) = ''; return_credit($job, $n) }
        elsif ($! != EAGAIN and $! != EINTR) { close_stdin($job); write_stdin($job); return }
    }
    if (length $job->{stdin}) { $writers{$fd} = $job; vec($write_set, $fd, 1) = 1; return }
    vec($write_set, $fd, 1) = 0;
    delete $writers{$fd};
    return unless $job->{stdin_ended};
    if ($job->{terminal}) { write_fd($fd, my $end = "\4"); $job->{stdin_ended} = 0 }    # Ctrl-D
    else { close_stdin($job) }
}

sub close_stdin {
    my ($job) = @_;
    my $fd = $job->{fd}[0];
    return if !defined $fd;
    $job->{fd}[0] = undef;
    vec($write_set, $fd, 1) = 0;
    delete $writers{$fd};
    close_fd($fd) unless $job->{terminal};    # its stdout has it, too
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
        starter_gone() if $starter and $pid == $starter;
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
        return if $job->{fd}[$stream] and !$job->{drained}[$stream];    # waits for credit
    }
    my ($code, $user, $system, $rss) = @{ $job->{wait} };
    my $signal = $code & 127;
    close_stdin($job);
    for my $stream (1, 2) {
        if (my $file = $job->{file}[$stream]) {
            my $grown = $job->{bytes}[$stream] + (-s $file || 0);
            $job->{bytes}[$stream] = $grown < 0 ? 0 : $grown;    # it may have been cut short, too
        }
        my $fd = $job->{fd}[$stream] or next;
        if ($job->{terminal}) { close_stream($job, $stream) }
        else { $readers{$fd} = [undef]; vec($read_set, $fd, 1) = 1 }
    }
    $small = $job->{bytes}[1] < BULK && $job->{bytes}[2] < BULK;
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
    if ($starter) { kill 'KILL', $starter; waitpid $starter, 0 }
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

# Returns how often the kernel has killed for want of memory in this container, which the file tells anew each
# time; undef: it does not.
sub oom_kills {
    my ($file) = @_;
    sysseek $file, 0, 0;
    sysread $file, my $text, 4096 or return;
    return $text =~ /^oom_kill ([0-9]+)/m ? $1 : undef;
}

sub opened {
    my ($path) = @_;
    open my $file, '<', $path or return;
    return $file;
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

# Perl's pipe and its handles would take a dozen system calls more for each job.
sub make_pipe {
    my $pair = pack 'i2', 0, 0;
    if ($nr) { return syscall($nr->{pipe2}, $pair, 02000000) ? () : unpack 'i2', $pair }    # O_CLOEXEC
    pipe(my $r, my $w) or return;
    @handles{ fileno $r, fileno $w } = ($r, $w);
    return (fileno $r, fileno $w);
}

sub close_fd {
    my ($fd) = @_;
    if (my $handle = delete $handles{$fd}) { close $handle }
    else { syscall $nr->{close}, $fd }
}

# sysread and syswrite of a descriptor: undef with the reason in $!.
sub read_fd {
    my ($fd, $size) = @_;
    return sysread $handles{$fd}, $_[2], $size unless $nr;
    my $n = syscall $nr->{read}, $fd, $buffer, $size;
    return if $n < 0;
    $_[2] = substr $buffer, 0, $n;
    return $n;
}

sub write_fd {
    my ($fd) = @_;
    return syswrite $handles{$fd}, $_[1] unless $nr;
    my $n = syscall $nr->{write}, $fd, $_[1], length $_[1];
    return $n < 0 ? undef : $n;
}

sub nonblocking_fd { $nr ? syscall($nr->{fcntl}, $_[0], 4, 04000) : nonblocking($handles{ $_[0] }) }    # F_SETFL

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
