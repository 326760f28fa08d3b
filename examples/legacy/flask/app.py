from pathlib import Path

from flask import Flask, jsonify, redirect, request, send_from_directory, session

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
    return redirect("/", 303)


if __name__ == "__main__":
    app.run(port=3000)
