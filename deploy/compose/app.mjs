// An app that knows nothing of WebSockets: it says who somebody is, hears what they
// say, and pushes it to everybody.
import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:http'

const key = Buffer.from(process.env.WEBHOOK_SECRET.replace(/^whsec_/, ''), 'base64')

const page = `<!doctype html><title>pushcart</title>
<form><input autofocus autocomplete=off placeholder="say something"></form><ol></ol>
<script>
const socket = new WebSocket(location.origin.replace('http', 'ws') + '/_push')
socket.onmessage = e => { document.querySelector('ol').appendChild(document.createElement('li')).textContent = e.data }
document.forms[0].onsubmit = e => { e.preventDefault(); const text = e.target[0]; socket.send(text.value); text.value = '' }
</script>`

createServer(async (req, res) => {
  const user = /(?:^|; )user=(\w+)/.exec(req.headers.cookie ?? '')?.[1]
  if (req.url === '/') { // a cookie for everybody, in place of a login
    const cookie = user ? {} : { 'Set-Cookie': `user=guest${Math.floor(Math.random() * 1e6)}; Path=/; HttpOnly; SameSite=Lax` }
    return res.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8', ...cookie }).end(page)
  }
  if (req.url === '/me') {
    return user ? res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ user: { id: user } })) : res.writeHead(401).end()
  }
  if (req.url !== '/hooks/push') return res.writeHead(404).end()
  const chunks = []
  for await (const chunk of req) chunks.push(chunk)
  const body = Buffer.concat(chunks)
  if (!signed(req.headers, body)) return res.writeHead(401).end()
  const pushed = await fetch(process.env.PUSHCART_URL + '/v1/push', {
    method: 'POST',
    headers: { Authorization: `Bearer ${process.env.PUSH_TOKEN}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ to: { all: true }, text: `${req.headers['ce-userid']}: ${body}` }),
  })
  res.writeHead(pushed.ok ? 204 : 502).end()
}).listen(3000)

function signed(headers, body) {
  if (!(Math.abs(Date.now() / 1000 - Number(headers['webhook-timestamp'])) <= 300)) return false // played again
  const text = `${headers['webhook-id']}.${headers['webhook-timestamp']}.`
  const want = createHmac('sha256', key).update(text).update(body).digest()
  return (headers['webhook-signature'] ?? '').split(' ').some(s => {
    const got = Buffer.from(s.replace(/^v1,/, ''), 'base64')
    return got.length === want.length && timingSafeEqual(got, want)
  })
}
