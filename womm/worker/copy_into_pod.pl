# womm copy into pod: receives a copy of the user's folder in a worker that has a folder of its own (an
# emptyDir). A Kubernetes exec runs it before the worker gets jobs; the user's side talks to it as to
# womm.store.server.
#
#   perl copy_into_pod.pl FOLDER
#
# Needs perl with nothing beyond Debian's perl-base. Records are those of womm/store/pack.py and
# womm/store/server.py: "KIND NUMBER,NUMBER PATH\0" and a body. It reports an empty folder: first it removes the
# rest of a copy that was cut. It writes a file under its final name at once, since no job runs yet.

use strict;
use warnings;
use Fcntl qw(O_RDONLY O_WRONLY O_CREAT O_EXCL SEEK_SET LOCK_EX LOCK_NB);
use constant { VERSION => 2, CHUNK => 262144, LOCK_S => 30, AT_FDCWD => -100, NO_FOLLOW => 0x100 };

my %UTIMENSAT = ('x86_64' => 280, 'aarch64' => 88);
my $utimensat = $^O eq 'linux' ? $UTIMENSAT{(split ' ', `uname -m`)[0] // ''} : undef;
my ($folder) = @ARGV;
my ($buffer, $files, @folders) = ('', 0);

umask 0;
binmode $_ for \*STDIN, \*STDOUT;
$| = 1;
eval { main(); 1 } or do {
    my $why = $@;
    $why =~ s/\s+\z//;
    tell_('!', $why);
    exit 1;
};
exit 0;

sub main {
    more();    # wait for its first bytes: a side that still writes may not hear an error
    chdir $folder or die "$folder: $!\n";
    # The program of a copy that was cut ends as soon as it notices.
    sysopen my $lock, '.', O_RDONLY or die "$folder: $!\n";
    my $waits = LOCK_S * 10;
    until (flock $lock, LOCK_EX | LOCK_NB) {
        $waits-- > 0 or die "another copy to this worker is running\n";
        select undef, undef, undef, 0.1;
    }
    while (1) {
        my ($kind, $numbers, $path) = split / /, line(), 3;
        defined $path or die "not a record\n";
        my @n = split /,/, $numbers;
        if ($kind eq 'q') { tell_('w', '', VERSION, time . '0' x 9) }
        elsif ($kind eq 'L') { clear('.'); tell_('.', '') }
        elsif ($kind eq 'e') { finish(); return }
        else {
            my $out = grep { $_ eq '' or $_ eq '.' or $_ eq '..' } split m{/}, $path, -1;
            $path ne '' and !$out or die "not a path: $path\n";
            if ($kind eq 'd') {
                mkdir $path, $n[0] | 0700 or die "$path: $!\n";
                push @folders, [$path, @n];
            }
            elsif ($kind eq 'f') {
                my $to = create($path, $n[0]);
                put($to, $path, $n[2]);
                done($to, $path, $n[1]);
            }
            elsif ($kind eq 'F') { pieces($path, @n) }
            elsif ($kind eq 'l') {
                symlink(exactly($n[1]), $path) or die "$path: $!\n";
                set_time($path, $n[0], NO_FOLLOW);
                $files++;
            }
            elsif ($kind eq 'h') {
                link(exactly($n[0]), $path) or die "$path: $!\n";
                $files++;
            }
            else { die "unknown record $kind\n" }
        }
    }
}

sub tell_ {
    my ($kind, $path, @numbers) = @_;
    print "$kind ", join(',', @numbers), " $path\0";
}

sub more { sysread(STDIN, $buffer, CHUNK, length $buffer) or exit 1 }    # the other side is gone

sub line {
    my $end;
    more() while ($end = index $buffer, "\0") < 0;
    my $line = substr $buffer, 0, $end;
    substr($buffer, 0, $end + 1) = '';
    return $line;
}

sub exactly {
    my ($size) = @_;
    more() while length $buffer < $size;
    my $data = substr $buffer, 0, $size;
    substr($buffer, 0, $size) = '';
    return $data;
}

sub create {
    my ($path, $mode) = @_;
    sysopen my $to, $path, O_WRONLY | O_CREAT | O_EXCL, $mode & 07777 or die "$path: $!\n";
    return $to;
}

sub put {
    my ($to, $path, $size) = @_;
    while ($size > 0) {
        more() unless length $buffer;
        my $count = $size < length $buffer ? $size : length $buffer;
        my $written = syswrite $to, $buffer, $count;
        defined $written or die "$path: $!\n";
        substr($buffer, 0, $written) = '';
        $size -= $written;
    }
}

sub done {
    my ($to, $path, $mtime_ns) = @_;
    close $to or die "$path: $!\n";
    set_time($path, $mtime_ns, 0);
    $files++;
}

# A large file: its pieces, and at the end a word whether the file stayed the same meanwhile.
sub pieces {
    my ($path, $mode, $mtime_ns, $size) = @_;
    my $to = create($path, $mode);
    truncate $to, $size or die "$path: $!\n";
    while (1) {
        my ($offset, $length) = unpack 'Q>Q>', exactly(16);
        last unless $length;
        sysseek $to, $offset, SEEK_SET or die "$path: $!\n";
        put($to, $path, $length);
    }
    if (exactly(1) eq 'c') { done($to, $path, $mtime_ns) }
    else { unlink $path }
}

sub set_time {
    my ($path, $ns, $flags) = @_;
    my ($s, $rest);
    { use integer; $s = $ns / 1_000_000_000; $rest = $ns % 1_000_000_000 }
    if ($rest < 0) { $s--; $rest += 1_000_000_000 }
    if ($utimensat) { syscall $utimensat, AT_FDCWD, $path, pack('q4', $s, $rest, $s, $rest), $flags }
    elsif (!$flags) { utime $s, $s, $path }
}

# Directories get modes and times last, the deepest first: each new file in them changes their times.
sub finish {
    for (reverse @folders) {
        my ($path, $mode, $mtime_ns) = @$_;
        chmod $mode & 07777, $path or die "$path: $!\n";
        set_time($path, $mtime_ns, 0);
    }
    tell_('e', '', $files, time . '0' x 9);
}

# Removes the contents of a directory. It follows no link.
sub clear {
    my ($where) = @_;
    opendir my $all, $where or die "$where: $!\n";
    for (readdir $all) {
        next if $_ eq '.' or $_ eq '..';
        my $path = "$where/$_";
        if (-d $path && !-l $path) {
            chmod 0700, $path;
            clear($path);
            rmdir $path or die "$path: $!\n";
        }
        else { unlink $path or die "$path: $!\n" }
    }
}
