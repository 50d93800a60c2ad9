# womm bridge: joins its stdin and stdout to an agent's socket. A Kubernetes exec runs it. Exec streams are cut
# and their processes outlive them, so the agent listens on a socket of its own, and bridges come and go.
#
#   perl bridge.pl SOCKET
#
# Needs perl with nothing beyond Debian's perl-base. Each way has one buffer of at most LIMIT bytes; the bridge
# reads no more while the other side takes nothing. It ends when either side does. It waits for an agent that
# does not listen yet. When it finds the agent it first prints GREETING, which is noise before a session's
# hello: it shows that the worker runs, before the cluster reports so.

use strict;
use warnings;
use Errno qw(EAGAIN EINTR);
use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK);
use Socket qw(PF_UNIX SOCK_STREAM pack_sockaddr_un);
use constant { CHUNK => 65536, LIMIT => 262144, PATIENCE => 5, PAUSE => 0.02, GREETING => "womm bridge\n" };

my ($path) = @ARGV;
socket(my $agent, PF_UNIX, SOCK_STREAM, 0) or die "womm bridge: socket: $!\n";
my $waits = PATIENCE / PAUSE;
until (connect($agent, pack_sockaddr_un($path))) {
    $waits-- > 0 or die "womm bridge: no agent at $path: $!\n";
    select undef, undef, undef, PAUSE;
}
$SIG{PIPE} = 'IGNORE';
syswrite STDOUT, GREETING;

# From, to, the bytes on their way.
my @ways = ([\*STDIN, $agent, ''], [$agent, \*STDOUT, '']);
fcntl($_, F_SETFL, fcntl($_, F_GETFL, 0) | O_NONBLOCK) for \*STDIN, \*STDOUT, $agent;

while (1) {
    my ($r, $w) = ('', '');
    for (@ways) {
        vec($r, fileno $_->[0], 1) = 1 if length $_->[2] < LIMIT;
        vec($w, fileno $_->[1], 1) = 1 if length $_->[2];
    }
    next if select($r, $w, undef, undef) < 0;
    for (@ways) {
        my ($from, $to) = @$_;
        if (vec($r, fileno $from, 1)) {
            my $n = sysread($from, $_->[2], CHUNK, length $_->[2]);
            finish() if defined $n ? !$n : $! != EAGAIN && $! != EINTR;
        }
        # Write at once, without another select: as a rule the other side takes it.
        next unless length $_->[2];
        my $n = syswrite($to, $_->[2]);
        if ($n) { substr($_->[2], 0, $n) = '' }
        elsif ($! != EAGAIN and $! != EINTR) { finish() }
    }
}

# One side has ended. The bytes that the other has not got come again over the next connection.
sub finish {
    my $last = $ways[1];
    fcntl(STDOUT, F_SETFL, 0);
    syswrite(STDOUT, $last->[2]) if length $last->[2];
    exit 0;
}
