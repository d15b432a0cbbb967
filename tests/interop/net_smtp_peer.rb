# Sends a file with Ruby's Net::SMTP.
#
# Arguments: host, port, file, sender, recipients.
#
# PEER_OPTIONS holds a JSON object: "tls" is "starttls" or "implicit", "ca" the
# PEM file to verify the server with, "mechanism", "user" and "password" are to
# log in with.

require "json"
require "net/smtp"
require "openssl"

host, port, file, sender, *recipients = ARGV
options = JSON.parse(ENV.fetch("PEER_OPTIONS"))

context = Net::SMTP.default_ssl_context
context.verify_mode = OpenSSL::SSL::VERIFY_PEER
context.ca_file = options["ca"]

smtp = Net::SMTP.new(host, Integer(port))
smtp.read_timeout = 120
if options["tls"] == "implicit"
  smtp.enable_tls(context)
else
  smtp.enable_starttls(context)
end

type = options["mechanism"].downcase.tr("-", "_").to_sym
smtp.start("ruby.example", options["user"], options["password"], type) do |session|
  session.send_message(File.binread(file), sender, *recipients)
end
