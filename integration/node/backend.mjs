// An Express app that gets pushcart's events with other people's libraries: cloudevents parses them, standardwebhooks
// verifies them. It prints its port, and tells what it got at /events.
import { createHmac, timingSafeEqual } from 'node:crypto'
import express from 'express'
import { HTTP } from 'cloudevents'
import { Webhook } from 'standardwebhooks'

const secret = process.env.SECRET
const verifier = new Webhook(secret)
const events = []
const app = express()

app.get('/', (req, res) => res.send('an app of its own'))
app.get('/events', (req, res) => res.json(events))

app.post('/hooks/push', express.raw({ type: () => true }), (req, res) => {
  const body = Buffer.isBuffer(req.body) ? req.body : Buffer.alloc(0)
  try {
    verify(body, req.headers)
  } catch (err) {
    return res.status(401).send(String(err))
  }
  const json = (req.headers['content-type'] ?? '').startsWith('application/json')
  const event = HTTP.toEvent({ headers: req.headers, body: json ? body.toString() : body })
  event.validate()
  const data = json ? event.data : Buffer.from(event.data ?? '').toString('base64')
  const state = event.state && JSON.parse(Buffer.from(event.state, 'base64'))
  const userid = event.userid && decodeURIComponent(event.userid) // the binding's encoding, which the library leaves in
  const { id, type, source, subject, specversion, datacontenttype, time, sequence, connectionid } = event
  events.push({ id, type, source, subject, specversion, datacontenttype, time, userid, sequence, connectionid, state, data })
  switch (type) {
    case 'pushcart.connect':
      return res.json({ user_id: event.data.query.user?.[0] ?? 'nobody', state: { messages: 0 } })
    case 'pushcart.message':
      res.set('ce-state', Buffer.from(JSON.stringify({ messages: state.messages + 1 })).toString('base64'))
      return res.type(event.datacontenttype).send(body)
  }
  res.sendStatus(204)
})

// The library reads every body as UTF-8, so a binary frame is verified by hand, as its standard says.
function verify(body, headers) {
  if (headers['content-type'] !== 'application/octet-stream') {
    return verifier.verify(body, headers, { jsonParse: false })
  }
  const mac = createHmac('sha256', Buffer.from(secret.slice('whsec_'.length), 'base64'))
  const want = mac.update(`${headers['webhook-id']}.${headers['webhook-timestamp']}.`).update(body).digest()
  const good = (headers['webhook-signature'] ?? '').split(' ').some(s => {
    const got = Buffer.from(s.replace(/^v1,/, ''), 'base64')
    return got.length === want.length && timingSafeEqual(got, want)
  })
  if (!good) throw new Error('bad signature')
}

const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port))
