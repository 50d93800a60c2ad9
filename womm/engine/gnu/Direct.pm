# SPDX-License-Identifier: GPL-3.0-or-later
# This module changes GNU parallel while it runs, so it is under GNU parallel's licence and not under womm's. See
# THIRD_PARTY.md.
#
# Loaded into GNU parallel, before its own code: it hands each job to womm's coordinator instead of starting it.
#
#   -MDirect=FD,SENDMSG,PRCTL,FILES
#
# FD is a connected Unix socket, the next two are numbers of system calls, FILES is how many files may be open. The
# other end, and the frames on the socket: womm/engine/gnu/direct.py.
#
# Strategy: GNU parallel is not changed on disk. One function starts its jobs (Job::open3_setpgrp): here it sends
# the command over the socket, with the open files that the job is to have, and returns a number that no process
# can have. waitpid(-1) gives back these numbers when the coordinator says that a job has ended, kill sends
# signals to them, and usleep wakes up when something has ended. GNU parallel need not count how many processes
# it may start, since it starts none; and that there is room for a job's files it sees by opening one, not eleven.
# If a GNU parallel lacks one of these functions, this says so and ends before the first job: womm then uses the
# shim.
package Direct;

# PERL5LIB may name folders that count from the current one, and that may be anybody's: for all of GNU parallel.
BEGIN { @INC = grep { ref or m{^/} } @INC }
use strict;
use warnings;

use constant {
    HELLO => 0, JOB => 1, SIGNAL => 2,
    ENDED => 24,           # bytes
    FIRST => 5_000_000,    # above every number of a process: Linux has 4,194,304 at most
    WHOLE => 16384,        # the kernel takes a frame of this size as a whole or not at all
    DONTWAIT => 0x40,      # MSG_DONTWAIT
    EINTR => 4, EAGAIN => 11, ESRCH => 3, ETOOMANYREFS => 109,
};
my @CHANGED = qw(Job::open3_setpgrp Job::start Job::set_exitsignal Job::set_starttime Job::set_endtime main::reaper main::usleep main::wait_and_exit
    main::enough_file_handles SSHLogin::reserve_process);
my ($fd, $sendmsg, $prctl, $files);
my $owner = $$;    # forked children of GNU parallel do not use the socket
my $socket;
my $input = '';
my $next = FIRST;
my @ended;         # [number, status, start, end], not yet given to waitpid
my ($given, $end) = (0, 0);    # the number that waitpid gave last, and when that job ended
my %alive;
my %before;        # the environment without what belongs to one job
my $held;          # the signals that were held back before

sub import { (undef, $fd, $sendmsg, $prctl, $files) = @_ }

BEGIN {
    *CORE::GLOBAL::waitpid = sub ($$) {
        my ($pid, $flags) = @_;
        if ($pid == -1 and $$ == $owner) {
            take_ended(0) unless @ended;
            if (my $one = shift @ended) {
                ($given, my $status, my $start, $end) = @$one;
                # As it was in its worker: without the hand-over, and the wait until GNU parallel looks.
                if ($start and my $job = $Global::running{$given}) { $job->set_starttime($start) }
                $? = $status;
                return $given;
            }
        }
        return CORE::waitpid($pid, $flags);    # GNU parallel's helpers are processes of its own
    };
    *CORE::GLOBAL::kill = sub (@) {
        my ($signal, @pids) = @_;
        my @jobs = grep { abs $_ >= FIRST } @pids;
        return CORE::kill($signal, @pids) unless @jobs;
        my @real = grep { abs $_ < FIRST } @pids;
        my $done = @real ? CORE::kill($signal, @real) : 0;
        return $done + @jobs unless $$ == $owner;
        my @there = grep { $alive{$_} } map {abs} @jobs;
        my $number = signal_number($signal);
        send_frame(pack 'CCN*', SIGNAL, $number, @there) if @there and $number;
        $! = ESRCH unless @there;
        return $done + @there;
    };
    # A writer of --pipe that waits for its job must not hide that GNU parallel has ended.
    *CORE::GLOBAL::fork = sub () {
        my $pid = CORE::fork();
        if (defined $pid and !$pid and $socket) { close $socket; undef $socket }
        return $pid;
    };
}

sub signal_number {
    my ($name) = @_;
    return $name if $name =~ /^\d+$/;
    require Config;
    $name =~ s/^SIG//;
    my @names = split ' ', $Config::Config{sig_name};
    for my $number (0 .. $#names) { return $number if $names[$number] eq $name }
    die "Unrecognized signal name \"$name\"\n";
}

# In the place of Job::open3_setpgrp. Returns the number that stands for the job's process.
sub hand_over {
    my ($stdin, $stdout, $stderr, $command) = @_;
    die "parallel: a job of a forked child\n" unless $$ == $owner;
    # fork(2) would do this: -v and --dry-run have printed to the job's stdout, and others to GNU parallel's own.
    flush_handle($_) for $stdout, $stderr, grep {defined} @Global::fh{1, 2}, \*STDOUT, \*STDERR;
    my @files = (fileno $stdout, fileno $stderr);
    my $reader;
    if ($opt::pipe) {
        pipe($reader, $stdin) or return;
        push @files, fileno $reader;
    }
    my $number = $next++;
    my @fields = ($number, scalar @files, $opt::nice // 0, $ENV{PARALLEL_SEQ} // '', $command);
    $ENV{SSHPASS} //= '';    # given as undefined, it is an empty variable; any other such was only looked at
    for (keys %ENV) {
        my $value = $ENV{$_} // next;
        push @fields, "+$_=$value" unless defined $before{$_} and $before{$_} eq $value;
    }
    exists $ENV{$_} or push @fields, "-$_" for keys %before;
    for (@fields) {
        utf8::encode($_) if utf8::is_utf8($_);    # the bytes that execve(2) would get
        s/\0.*//s if tr/\0//;
    }
    $alive{$number} = 1;
    send_frame(pack('C', JOB) . join("\0", @fields), @files);
    if ($reader) {
        close $reader;
        select((select($stdin), $| = 1)[0]);
    }
    return $number;
}

sub flush_handle {
    my ($handle) = @_;
    my $selected = select $handle;
    $| or ($| = 1, $| = 0);
    select $selected;
}

# Sends a frame, and open files with its first bytes (unix(7), SCM_RIGHTS; the structures are those of 64-bit
# Linux). A signal's handler may send a frame of its own, so a frame that the kernel may cut is sent with all
# signals held back.
sub send_frame {
    my ($body, @files) = @_;
    return unless $socket;
    my $frame = pack('N', length $body) . $body;
    my $long = length $frame > WHOLE;
    hold_signals() if $long;
    my $control = @files ? pack('QllL*', 16 + 4 * @files, 1, 1, @files) : '';
    my $size = length $control;
    $control .= "\0" x (-$size % 8);
    while (length $frame) {
        my $bytes = pack 'PQ', $frame, length $frame;
        my $message = $size ? pack('QQPQPQQ', 0, 0, $bytes, 1, $control, $size, 0) : pack('QQPQQQQ', 0, 0, $bytes, 1, 0, 0, 0);
        my $sent = syscall $sendmsg, fileno $socket, $message, 0x4000;    # MSG_NOSIGNAL
        if ($sent > 0) {
            substr($frame, 0, $sent) = '';
            $size = 0;
        }
        elsif ($! == ETOOMANYREFS) { select undef, undef, undef, 0.01 }    # the files that are on their way count
        elsif ($! != EINTR) { last }
    }
    release_signals() if $long;
    gone() if length $frame;
}

sub hold_signals {
    require POSIX;
    $held = POSIX::SigSet->new;
    POSIX::sigprocmask(POSIX::SIG_BLOCK(), POSIX::SigSet->new(1 .. 31), $held);
}

sub release_signals { POSIX::sigprocmask(POSIX::SIG_SETMASK(), $held) }

# Takes what the coordinator has sent of jobs that have ended; waits for it for so many seconds.
sub take_ended {
    my ($wait_s) = @_;
    return unless $socket;
    if ($wait_s) {
        my $ready = '';
        vec($ready, fileno $socket, 1) = 1;
        return unless select($ready, undef, undef, $wait_s) > 0;
    }
    if (defined recv $socket, my $bytes, 65536, DONTWAIT) {
        length $bytes or gone();
        $input .= $bytes;
    }
    elsif ($! == EAGAIN or $! == EINTR) { return }
    else { gone() }
    my $whole = int(length($input) / ENDED);
    for my $at (0 .. $whole - 1) {
        my @one = unpack 'NNd>d>', substr $input, $at * ENDED, ENDED;
        delete $alive{$one[0]};
        push @ended, \@one;
    }
    substr($input, 0, ENDED * $whole) = '';
}

# The coordinator is gone, and nothing is known of the jobs: none may be logged, or --resume would pass it over.
sub gone {
    undef $socket;
    %alive = %Global::running = ();
    syswrite STDERR, "parallel: womm's coordinator is gone\n";
    main::wait_and_exit(255);
}

# GNU parallel is compiled, and has not begun.
INIT {
    no strict 'refs';
    no warnings qw(redefine prototype once);
    open $socket, '+<&=', $fd or die "womm: descriptor $fd: $!\n";
    fcntl $socket, 2, 1;              # F_SETFD, FD_CLOEXEC
    syscall $prctl + 0, 1, 9;         # PR_SET_PDEATHSIG: without its coordinator it could only log failures
    my ($missing) = grep { !defined &$_ } @CHANGED;
    $missing = 'pointers of 64 bits' if length pack('P', '') != 8;
    send_frame(pack('C', HELLO) . ($missing // ''));
    if (defined $missing) { require POSIX; POSIX::_exit(254) }
    my $usleep = \&main::usleep;
    *main::usleep = sub ($) {
        goto &$usleep unless $$ == $owner and $socket;
        take_ended($_[0] / 1000) unless @ended;
    };
    *Job::open3_setpgrp = \&hand_over;
    *main::enough_file_handles = sub () { 
        open my $null, '<', '/dev/null' or return 0;
        return fileno $null < $files - 16;
    };
    my $set_endtime = \&Job::set_endtime;
    *Job::set_endtime = sub ($$) {
        my ($job, $time) = @_;
        $time = $end if $time and $end and $job->pid == $given;
        $set_endtime->($job, $time);
    };
    *SSHLogin::reserve_process = sub () { };
    %before = %ENV;
}

1;
