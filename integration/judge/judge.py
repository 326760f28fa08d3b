"""Reads webhooks with nothing but Python's standard library, by the words of the CloudEvents HTTP binding and of Standard
Webhooks. Requests come on stdin and what it makes of them goes to stdout, as JSON; see integration/judges_test.go."""

import base64
import hashlib
import hmac
import json
import sys
import time
from datetime import datetime, timezone
from urllib.parse import unquote


def verify(secret, headers, body):
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    if abs(time.time() - int(headers["webhook-timestamp"])) > 300:
        raise ValueError("too old or too new")
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    want = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    if not any(hmac.compare_digest(want, got) for got in headers["webhook-signature"].split(" ")):
        raise ValueError("no signature fits")


def read(headers, body):
    content_type = headers.get("content-type", "")
    if content_type.startswith("application/cloudevents-batch+json"):
        return [structured(e) for e in json.loads(body.decode())]
    if content_type.startswith("application/cloudevents+json"):
        return [structured(json.loads(body.decode()))]
    event = {name[3:]: unquote(value, errors="strict") for name, value in headers.items() if name.startswith("ce-")}
    if content_type:
        event["datacontenttype"] = content_type
    return [checked(event, body)]


def structured(event):
    data = b""
    if "data_base64" in event:
        data = base64.b64decode(event.pop("data_base64"), validate=True)
    elif "data" in event:
        data = event.pop("data")
        is_json = event["datacontenttype"].startswith("application/json")
        data = json.dumps(data).encode() if is_json else data.encode()
    return checked(event, data)


def checked(event, data):
    for name in ("id", "source", "specversion", "type"):
        if not event[name]:
            raise ValueError(f"{name} is missing")
    for name, value in event.items():
        if not (name.isascii() and name.isalnum() and name == name.lower() and isinstance(value, str) and value):
            raise ValueError(f"{name}: {value!r}")
    at = datetime.fromisoformat(event["time"].replace("Z", "+00:00")).astimezone(timezone.utc)
    if at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z" != event["time"]:
        raise ValueError(f"time: {event['time']}")
    return event | {"data": base64.b64encode(data).decode()}


def judge(request):
    headers, body = request["headers"], base64.b64decode(request["body"])
    try:
        for secret in sys.argv[1:]:
            verify(secret, headers, body)
        return {"events": read(headers, body)}
    except (ValueError, KeyError, TypeError) as err:
        return {"error": repr(err)}


json.dump([judge(r) for r in json.load(sys.stdin)], sys.stdout)
