import base64, hmac, time

KEY = base64.b64decode("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")  # the secret without whsec_


def verify(headers, body):
    at = headers.get("webhook-timestamp", "0")
    if not at.isdigit() or abs(time.time() - int(at)) > 300:
        return False  # an old request, played again
    signed = f"{headers.get('webhook-id')}.{at}.".encode() + body
    want = "v1," + base64.b64encode(hmac.digest(KEY, signed, "sha256")).decode()
    return any(hmac.compare_digest(want, got) for got in headers.get("webhook-signature", "").split())
