# Sends messages with Net::SMTP over one connection: PORT MESSAGES RECIPIENTS
# OCTETS.

require "net/smtp"

port, messages, recipients, octets = ARGV.map(&:to_i)
content = "Subject: Hello\r\n\r\n" + ("x" * 70 + "\r\n") * ((octets - 18) / 72)
to = Array.new(recipients) { |number| "recipient#{number}@example.net" }
smtp = Net::SMTP.new("127.0.0.1", port)
smtp.disable_starttls
smtp.start(helo: "client.example.org") do |client|
  messages.times { client.send_message(content, "jane@example.org", to) }
end
