require 'openssl'

KEY = 'MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY='.unpack1('m') # the secret without whsec_

def verify(headers, body)
  at = headers['webhook-timestamp']
  return false if (Time.now.to_i - at.to_i).abs > 300 # an old request, played again

  signed = "#{headers['webhook-id']}.#{at}.".b + body.b
  want = "v1,#{[OpenSSL::HMAC.digest('SHA256', KEY, signed)].pack('m0')}"
  headers['webhook-signature'].to_s.split.any? { |got| OpenSSL.secure_compare(want, got) }
end
