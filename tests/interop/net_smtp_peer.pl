# Sends a file with Perl's Net::SMTP.
#
# Arguments: host, port, file, sender, recipients.
#
# PEER_OPTIONS holds a JSON object: "tls" is "starttls" or "implicit", "ca" the
# PEM file to verify the server with, "mechanism", "user" and "password" are to
# log in with.

use strict;
use warnings;

use Authen::SASL qw(Perl);
use IO::Socket::SSL;
use JSON::PP qw(decode_json);
use Net::SMTP;

my ($host, $port, $file, $sender, @recipients) = @ARGV;
my $options = decode_json($ENV{PEER_OPTIONS});
my %verified = (SSL_verify_mode => SSL_VERIFY_PEER, SSL_ca_file => $options->{ca});

open my $input, '<:raw', $file or die "$file: $!";
my $content = do { local $/; <$input> };

my $implicit = $options->{tls} eq 'implicit';
my $smtp = Net::SMTP->new(
    $host,
    Port    => $port,
    Hello   => 'perl.example',
    Timeout => 120,
    SSL     => $implicit ? 1 : 0,
    %verified,
) or die "connect: $@ $IO::Socket::SSL::SSL_ERROR";

sub must {
    my ($step, $done) = @_;
    die "$step: ", $smtp->code, ' ', $smtp->message unless $done;
}

must('STARTTLS', $smtp->starttls(%verified)) unless $implicit;
my $sasl = Authen::SASL->new(
    mechanism => $options->{mechanism},
    callback  => {
        user     => $options->{user},
        authname => '',
        pass     => $options->{password},
    },
);
must('AUTH', $smtp->auth($sasl));
must('MAIL', $smtp->mail($sender));
must('RCPT', $smtp->to(@recipients));
must('DATA', $smtp->data($content));
must('QUIT', $smtp->quit);
