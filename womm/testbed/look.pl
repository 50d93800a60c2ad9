# Tell the sizes of files in the testbed, and send the texts that may hold a secret. See changes.py.
#
#     perl -e '...' WORDS MARKS LARGEST < PATHS
#
# PATHS: absolute, each with a NUL at its end; one with a `!` before it is sent whatever its text is. Links are
# never followed. WORDS: words in small letters, with blanks between; MARKS: a pattern. A text with one of the words,
# or with the pattern, is sent if it has at most LARGEST bytes and no NUL.
#
# The answer: the container's start, in seconds since 1970, as a line. Then for each path, in the same order, a line
# `TYPE MODE UID SIZE MTIME LENGTH`, and LENGTH bytes of text after it. TYPE: f file, d directory, l link,
# o other, - gone. With a text the line goes on with the places of the words in it, from 0, each after a blank.
# If one word begins another, the longer one stands first in WORDS, and is told for both.
use strict;
use warnings;
use Fcntl qw(O_RDONLY O_NOFOLLOW O_NONBLOCK S_ISREG S_ISDIR S_ISLNK);

my ( $words, $marks, $largest ) = @ARGV;
my @words = split ' ', $words;
my %place = map { $words[$_] => $_ } 0 .. $#words;
my $wanted = join '|', map { quotemeta } @words;
my $any = qr/$wanted/;      # perl makes one automaton of it
my $mark = qr/$marks/;

sub slurp {
    my ($path) = @_;
    sysopen( my $file, $path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK ) or return '';
    my $data = '';
    while ( length $data <= $largest ) {
        my $count = sysread $file, $data, $largest + 1 - length $data, length $data;
        last unless $count;
    }
    return length $data > $largest ? '' : $data;
}

# The places of the words in a text.
sub present {
    my ($text) = @_;
    my %seen;
    while ( $text =~ /$any/g ) {
        $seen{ substr $text, $-[0], $+[0] - $-[0] } = 1;
        pos($text) = $-[0] + 1;
    }
    return map { $place{$_} } keys %seen;
}

# The start of process 1, which is the container's: field 22 counts hundredths of seconds since the machine's start.
sub start {
    open( my $process, '<', '/proc/1/stat' ) or return 0;
    my ($ticks) = <$process> =~ /\) (?:\S+ ){19}(\d+)/ or return 0;
    open( my $system, '<', '/proc/stat' ) or return 0;
    while (<$system>) { return $1 + int( $ticks / 100 ) if /^btime (\d+)/ }
    return 0;
}

binmode STDIN;
binmode STDOUT;
my @paths = split /\0/, do { local $/; <STDIN> // '' };
print start(), "\n";
for my $path (@paths) {
    my $always = $path =~ s/^!//;
    my ( $mode, $uid, $size, $mtime ) = ( lstat $path )[ 2, 4, 7, 9 ];
    if ( !defined $mode ) {
        print "- 0 0 0 0 0\n";
        next;
    }
    my $type = S_ISREG($mode) ? 'f' : S_ISDIR($mode) ? 'd' : S_ISLNK($mode) ? 'l' : 'o';
    my $data = $type eq 'f' && $size && $size <= $largest ? slurp($path) : '';
    $data = '' if index( $data, "\0" ) >= 0;
    my @present = $data eq '' ? () : present( lc $data );
    $data = '' if $data ne '' && !$always && !@present && $data !~ $mark;
    print join( ' ', $type, $mode & 07777, $uid, $size, $mtime, length $data, @present ), "\n", $data;
}
