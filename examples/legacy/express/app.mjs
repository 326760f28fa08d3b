import express from 'express'
import session from 'express-session'

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
  res.redirect(303, '/')
})

app.listen(3000, '127.0.0.1', () => console.log('http://127.0.0.1:3000'))
