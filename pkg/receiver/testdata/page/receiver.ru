# A receiver for puma with Ruby's own library and nothing else.
require "openssl"

SECRET = ENV.fetch("WEBHOOK_SECRET").delete_prefix("whsec_").unpack1("m")
SEEN = {} # several processes need a shared store, with an expiry
LOCK = Mutex.new

# One whole name of the certificate. Never search in its subject.
def trusted?(env)
  leaf = OpenSSL::X509::Certificate.new(env["puma.peercert"])
  alternative = leaf.extensions.find { |e| e.oid == "subjectAltName" } or return false
  names = OpenSSL::ASN1.decode(alternative.value_der).value
  names.any? { |name| name.tag == 6 && name.value == ENV.fetch("CLIENT_SAN") } # 6 is a URI
end

# What StandardWebhooks::Webhook#verify of the gem standardwebhooks does: v1 over the bytes as they came.
def verified?(env, body)
  id, stamp, signatures = %w[ID TIMESTAMP SIGNATURE].map { |name| env["HTTP_WEBHOOK_#{name}"].to_s }
  return false if id.empty? || stamp !~ /\A\d{1,12}\z/ || (Time.now.to_i - stamp.to_i).abs > 300
  made = OpenSSL::HMAC.digest("SHA256", SECRET, "#{id}.#{stamp}.".b + body.b)
  want = "v1," + [made].pack("m0")
  signatures.split(" ").any? { |one| OpenSSL.secure_compare(want, one) }
end

run lambda { |env|
  next [495, {}, []] unless trusted?(env) # the certificate is the trouble, not the message
  next [204, {}, []] if env["REQUEST_METHOD"] == "OPTIONS"
  body = env["rack.input"].read((1 << 20) + 1).to_s # before any parser
  next [413, {}, []] if body.bytesize > 1 << 20
  next [401, {}, []] unless verified?(env, body)
  id, now = env["HTTP_WEBHOOK_ID"], Time.now
  first = LOCK.synchronize do
    SEEN.delete_if { |_, at| now - at > 345_600 } # four days, longer than Handfast retries
    !SEEN.key?(id).tap { SEEN[id] = now }
  end
  puts "#{id}: #{body}" if first # your work; when it fails, forget the id and answer 500
  $stdout.flush
  [204, {}, []]
}
