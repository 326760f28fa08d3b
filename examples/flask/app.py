import json
import urllib.request
from pathlib import Path

from flask import Flask, jsonify, redirect, request, send_from_directory, session
from verify import verify

PASSWORDS = {"ann": "apple", "ben": "banana"}
PAGE = Path(__file__).resolve().parent.parent / "page"
tickets = []

app = Flask(__name__)
app.secret_key = "signs the cookie"


@app.get("/")
def index():
    return send_from_directory(PAGE, "index.html" if "user" in session else "login.html")


@app.post("/login")
def login():
    name, password = request.form.get("name"), request.form.get("password")
    if password and PASSWORDS.get(name) == password:
        session["user"] = name
    return redirect("/", 303)


@app.get("/tickets")
def list_tickets():
    if "user" not in session:
        return "", 401
    return jsonify(tickets)


@app.post("/tickets")
def add_ticket():
    if "user" not in session:
        return "", 401
    ticket = {"id": len(tickets) + 1, "title": request.form["title"], "by": session["user"]}
    tickets.append(ticket)
    push(ticket)
    return redirect("/", 303)


# pushcart asks who connects: the one whose cookie came with the handshake.
@app.post("/hooks/push")
def who_connects():
    if not verify(request.headers, request.get_data()) or "user" not in session:
        return "", 401
    return {"user_id": session["user"]}


def push(data):
    body = json.dumps({"to": {"all": True}, "data": data}).encode()
    try:
        urllib.request.urlopen("http://127.0.0.1:8081/v1/push", body, timeout=2).close()
    except OSError as err:
        app.logger.error("push: %s", err)


if __name__ == "__main__":
    app.run(port=3000)
