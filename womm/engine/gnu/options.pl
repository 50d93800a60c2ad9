# Reads GNU parallel's options as GNU parallel does: profiles, $PARALLEL, then the arguments.
#
#   perl options.pl ARGUMENT...
#
# Prints fields, each ended by a NUL: "o NAME=VALUE" for every option found, in the order in which
# later ones win; "a WORD" for every word that a profile or $PARALLEL puts before the command;
# "r N" for the number of arguments that are no options; "t 1" where a -- is what ends the options, and no
# option's value; "p PATH\nCONTENT" for a profile that is no regular file (a pipe of the shell's <(...)), since
# GNU parallel cannot read that again. No input file is opened. Exits 2 after an error on stderr.
# Names and rules: parallel(1), OPTIONS, PROFILE FILES and ENVIRONMENT VARIABLES (20221122).

# PERL5LIB may name folders that count from the current one, and that may be anybody's.
BEGIN { @INC = grep { ref or m{^/} } @INC }
use strict;
use Getopt::Long;
use Text::ParseWords;

my @options = qw(
    debug|D=s xargs m X v sql=s sql-master|sqlmaster=s sql-worker|sqlworker=s
    sql-and-worker|sqlandworker=s joblog|jl=s results|result|res=s resume
    resume-failed|resumefailed retry-failed|retryfailed silent keep-order|keeporder|k
    no-keep-order|nokeeporder|nok|no-k group g ungroup|u latest-line|latestline|ll
    line-buffer|line-buffered|linebuffer|linebuffered|lb tmux tmux-pane|tmuxpane null|0 quote|q
    parens=s rpl=s plus I=s extensionreplace|er=s U=s basenamereplace|bnr=s dirnamereplace|dnr=s
    basenameextensionreplace|bner=s seqreplace=s slotreplace=s jobs|j=s delay=s ssh-delay|sshdelay=f
    load=s noswap max-line-length-allowed|maxlinelengthallowed number-of-cpus|numberofcpus
    number-of-sockets|numberofsockets number-of-cores|numberofcores number-of-threads|numberofthreads
    use-sockets-instead-of-threads|usesocketsinsteadofthreads
    use-cores-instead-of-threads|usecoresinsteadofthreads
    use-cpus-instead-of-cores|usecpusinsteadofcores shell-quote|shellquote|shell_quote nice=i tag
    tag-string|tagstring=s ctag ctag-string|ctagstring=s color|colour
    color-failed|colour-failed|colorfailed|colourfailed|color-fail|colour-fail|colorfail|colourfail|cf
    onall nonall filter-hosts|filterhosts|filter-host sshlogin|S=s sshloginfile|slf=s
    controlmaster|M ssh=s transfer-file|transferfile|transfer-files|transferfiles|tf=s return=s trc=s
    transfer cleanup basefile|bf=s template|tmpl=s B=s ctrl-c|ctrlc no-ctrl-c|no-ctrlc|noctrlc
    work-dir|workdir|wd=s W=s rsync-opts|rsyncopts=s tmpdir|tempdir=s
    use-compress-program|compress-program|usecompressprogram|compressprogram=s
    use-decompress-program|decompress-program|usedecompressprogram|decompressprogram=s compress
    open-tty|o tty T H=i dry-run|dryrun|dr progress eta bar total-jobs|totaljobs|total=s shuf
    arg-sep|argsep=s arg-file-sep|argfilesep=s trim=s env=s recordenv|record-env session plain
    profile|J=s tollef gnu link|xapply linkinputsource|xapplyinputsource=i
    will-cite|willcite|nn|nonotice|no-notice bibtex|citation halt-on-error|haltonerror|halt=s limit=s
    memfree=s memsuspend=s retries=s timeout=s term-seq|termseq=s max-procs|maxprocs|P=s
    delimiter|d=s max-chars|maxchars|s=s arg-file|argfile|a=s no-run-if-empty|norunifempty|r
    replace|i:s E=s eof|e:s process-slot-var|processslotvar=s max-args|maxargs|n=s
    max-replace-args|maxreplaceargs|N=s col-sep|colsep|C=s csv help|h L=s max-lines|maxlines|l:f
    interactive|p verbose|t version|V min-version|minversion=i show-limits|showlimits exit|x
    semaphore semaphore-timeout|semaphoretimeout|st=s semaphore-name|semaphorename|id=s fg bg wait
    shebang|hashbang shebang-wrap|shebangwrap _pipe-means-argfiles Y skip-first-line|skipfirstline bug
    pipe|spreadstdin round-robin|roundrobin|round recstart=s recend=s regexp|regex
    remove-rec-sep|removerecsep|rrs output-as-files|outputasfiles|files block-size|blocksize|block=s
    block-timeout|blocktimeout|bt=s header=s cat fifo pipe-part|pipepart tee shard=s bin=s
    group-by|groupby=s hgrp|hostgrp|hostgroup|hostgroups embed filter=s _parset=s
    shell-completion|shellcompletion=s _test=s
);

my @found;
$ENV{HOME} ||= '/tmp';

sub parse {
    my ($words, $keep) = @_;
    local @ARGV = @$words;
    my %handlers;
    for my $option (@options) {
        my ($name) = $option =~ /^([^|=:]+)/;
        $handlers{$option} = sub { push @found, [$name, "$_[1]"] if $keep };
    }
    exit 2 unless GetOptions(%handlers);
    return @ARGV;
}

Getopt::Long::Configure('bundling', 'require_order');
$SIG{__WARN__} = sub { print STDERR $_[0] };

# First pass: which profiles, and whether any are read at all.
my @rest = parse(\@ARGV, 1);
my @profiles = map { $_->[1] } grep { $_->[0] eq 'profile' } @found;
my $plain = grep { $_->[0] eq 'plain' } @found;
my @of_arguments = splice @found;

my (@before, @once);
if (!$plain) {
    my @homes = grep { defined and -d } $ENV{PARALLEL_HOME},
        (map { "$_/parallel" } grep { defined } $ENV{XDG_CONFIG_HOME} // "$ENV{HOME}/.config", split /:/, $ENV{XDG_CONFIG_DIRS} // ''),
        "$ENV{HOME}/.parallel";
    my @files = @profiles
        ? map { my $p = $_; $p =~ m{^\.?/} ? $p : map { "$_/$p" } @homes } @profiles
        : ('/etc/parallel/config', (map { "$_/config" } @homes), "$ENV{HOME}/.parallelrc");
    my @words;
    for my $file (@files) {
        open my $in, '<', $file or next;
        my $content = '';
        while (<$in>) { $content .= $_; next if /^\s*#/; chomp; push @words, shellwords($_) }
        push @once, "p $file\n$content\0" unless -f $in;
    }
    push @before, parse(\@words, 1), parse([shellwords($ENV{PARALLEL} // '')], 1);
}

binmode STDOUT;
print "o $_->[0]=$_->[1]\0" for @found, @of_arguments;
print "a $_\0" for @before;
print for @once;
print 'r ', scalar @rest, "\0";
print "t 1\0" if ends_options(@ARGV[0 .. $#ARGV - @rest]);

# Whether the last of these words is a -- of its own: without it, no option lacks its value.
sub ends_options {
    local @ARGV = @_;
    return 0 unless @ARGV and pop(@ARGV) eq '--';
    local $SIG{__WARN__} = sub { };
    return GetOptions(map { $_ => sub { } } @options);
}
