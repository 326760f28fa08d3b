import express from 'express'
import session from 'express-session'
import { verify } from './verify.mjs'

const passwords = new Map([['ann', 'apple'], ['ben', 'banana']])
const tickets = []
const page = import.meta.dirname + '/../page'

const app = express()
app.use(express.urlencoded())
app.use(session({ secret: 'signs the cookie', resave: false, saveUninitialized: false }))

app.get('/', (req, res) => res.sendFile(req.session.user ? 'index.html' : 'login.html', { root: page }))

app.post('/login', (req, res) => {
  const { name, password } = req.body
  if (password && passwords.get(name) === password) req.session.user = name
  res.redirect(303, '/')
})

app.get('/tickets', (req, res) => {
  if (!req.session.user) return res.sendStatus(401)
  res.json(tickets)
})

app.post('/tickets', (req, res) => {
  if (!req.session.user) return res.sendStatus(401)
  const ticket = { id: tickets.length + 1, title: req.body.title, by: req.session.user }
  tickets.push(ticket)
  push(ticket)
  res.redirect(303, '/')
})

// pushcart asks who connects: the one whose cookie came with the handshake.
app.post('/hooks/push', express.raw({ type: () => true }), (req, res) => {
  if (!verify(req.headers, req.body) || !req.session.user) return res.sendStatus(401)
  res.json({ user_id: req.session.user })
})

function push(data) {
  const body = JSON.stringify({ to: { all: true }, data })
  fetch('http://127.0.0.1:8081/v1/push', { method: 'POST', body }).catch(err => console.error('push:', err.cause?.message ?? err.message))
}

app.listen(3000, '127.0.0.1', () => console.log('http://127.0.0.1:3000'))
