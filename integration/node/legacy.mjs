// A web app as people have them: pages, a session in a cookie, forms, uploads, downloads, gzip, events, a WebSocket of its
// own. It knows nothing of pushcart. Nothing in its answers depends on time or chance, so that they can be compared byte for
// byte. It prints its port; KEEP_ALIVE is how many ms it keeps an idle connection.
import { createHash, createHmac } from 'node:crypto'
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import compression from 'compression'
import express from 'express'
import multer from 'multer'

const sha = data => createHash('sha256').update(data).digest('hex')
const sign = user => `${user}.${createHmac('sha256', 'secret').update(user).digest('hex')}`
const page = body => `<!doctype html>\n<meta charset="utf-8">\n<title>Legacy</title>\n${body}\n`

const folder = mkdtempSync(join(tmpdir(), 'legacy-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
process.on('SIGTERM', () => process.exit(0))
const blob = Buffer.alloc(3 << 20)
for (let i = 0, x = 1; i < blob.length; i++) blob[i] = (x = (x * 1103515245 + 12345) & 0x7fffffff) >> 16
writeFileSync(join(folder, 'blob.bin'), blob)
utimesSync(join(folder, 'blob.bin'), 1.6e9, 1.6e9)

const app = express()
app.set('trust proxy', 'loopback')
app.use(compression())
const form = express.urlencoded({ extended: true })
const user = req => {
  const value = /(?:^|; )session=([^;]*)/.exec(req.headers.cookie ?? '')?.[1]
  const name = decodeURIComponent(value ?? '').split('.')[0]
  return name && value === encodeURIComponent(sign(name)) ? name : ''
}

app.get('/', (req, res) => res.send(page('<h1>Grüße</h1>')))
app.get('/login', (req, res) => res.send(page('<form method="post"><input name="user"><input name="password"></form>')))
app.post('/login', form, (req, res) => {
  if (req.body.password !== 'hunter2 & más') return res.status(401).send(page('wrong'))
  res.cookie('session', sign(req.body.user), { httpOnly: true, sameSite: 'lax' })
  res.cookie('theme', 'dark', { path: '/account' })
  res.append('Set-Cookie', 'old=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/')
  res.redirect(req.query.next ?? '/account')
})
app.get('/account', (req, res) => {
  if (!user(req)) return res.redirect(303, '/login?next=%2Faccount')
  res.set('Cache-Control', 'private').send(page(`hello ${user(req)}`))
})
app.post('/logout', (req, res) => {
  res.clearCookie('session')
  res.redirect(301, `${req.protocol}://${req.get('host')}/bye?from=${encodeURIComponent(req.originalUrl)}`)
})

const upload = multer({ storage: multer.memoryStorage(), limits: { fileSize: 4 << 20 } })
app.post('/upload', upload.any(), (req, res) => {
  const files = req.files.map(f => ({ field: f.fieldname, name: f.originalname, type: f.mimetype, size: f.size, sha: sha(f.buffer) }))
  res.status(201).location(`/files/${files.length}`).json({ fields: req.body, files })
})
app.get('/files/:name', (req, res) => res.download(join(folder, 'blob.bin'), `${req.params.name}.bin`))
app.get('/report', (req, res) => res.type('text').send('a line of a long report\n'.repeat(10_000)))
app.get('/json', (req, res) => res.json(Array.from({ length: 40_000 }, (_, i) => ({ id: i, name: `item ${i} – ✓`, odd: i % 2 === 1 }))))
app.post('/json', express.json({ limit: '8mb' }), (req, res) => res.json({ sha: sha(JSON.stringify(req.body)), length: req.body.length }))
app.get('/nothing', (req, res) => res.sendStatus(204))
app.get('/reset', (req, res) => res.status(205).end())
app.get('/odd', (req, res) => {
  res.setHeader('X-Empty', '')
  res.setHeader('x-lower', ['one', 'two'])
  res.writeHead(299, 'Quite odd', { 'X-UPPER': 'ü', Link: '</a>; rel=preload' })
  res.end('odd')
})
app.get('/hints', (req, res) => res.writeEarlyHints({ link: '</style.css>; rel=preload' }, () => res.send('hinted')))

app.get('/events', async (req, res) => {
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
  for (const id of [1, 2, 3]) {
    res.write(`id: ${id}\ndata: {"n":${id}}\n\n`)
    res.flush()
    await pause(30)
  }
  res.end()
})
app.get('/stream', async (req, res) => {
  res.writeHead(200, { 'Content-Type': 'application/octet-stream', Trailer: 'X-Sum, X-Lines' })
  const hash = createHash('sha256')
  for (let i = 0; i < 5; i++) {
    const part = `part ${i} `.repeat(i * 1000 + 1)
    hash.update(part)
    res.write(part)
    await pause(5)
  }
  res.addTrailers({ 'X-Sum': hash.digest('hex'), 'X-Lines': '5' })
  res.end()
})

const waiting = []
app.get('/poll', (req, res) => waiting.push(text => res.send(text)))
app.post('/poll', express.text({ type: '*/*' }), (req, res) => {
  const n = waiting.length
  for (const tell of waiting.splice(0)) tell(req.body)
  res.json({ n })
})

const orders = new Map()
app.post('/orders/:id', (req, res) => {
  const n = (orders.get(req.params.id) ?? 0) + 1
  orders.set(req.params.id, n)
  res.send(String(n))
})
app.get('/orders', (req, res) => res.json(Object.fromEntries(orders)))

app.get('/whoami', (req, res) => res.json([req.ip, req.protocol, req.hostname, req.secure]))
// What the app sees of a request, one thing a line.
app.all('/echo{/*rest}', async (req, res) => {
  const parts = []
  for await (const part of req) parts.push(part)
  const body = Buffer.concat(parts)
  const lines = [`${req.method} ${Buffer.from(req.url, 'latin1').toString('hex')} ${req.httpVersion}`, `body ${body.length} ${sha(body)}`]
  for (const list of [req.rawHeaders, req.rawTrailers]) {
    for (let i = 0; i < list.length; i += 2) lines.push(`${list[i]}: ${list[i + 1]}`)
  }
  res.type('text').send(lines.join('\n'))
})
app.get('/boom', () => { throw new Error('boom') })
app.use((err, req, res, next) => res.status(err.status ?? 500).send(page(`went wrong: ${err.code ?? err.message}`)))

const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port))
server.keepAliveTimeout = Number(process.env.KEEP_ALIVE ?? 5000)
server.on('checkContinue', (req, res) => {
  if (req.headers['x-refuse']) return res.writeHead(413, { Connection: 'close' }).end('too large')
  res.writeContinue()
  app(req, res)
})

// The app's own WebSocket at /socket: it says everything back, frame by frame.
server.on('upgrade', (req, socket, head) => {
  if (req.url !== '/socket?room=1') return socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno')
  const accept = createHash('sha1').update(req.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64')
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Room: 1\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`)
  let unread = head
  const take = data => {
    unread = Buffer.concat([unread, data])
    for (let f; (f = frame(unread)); unread = unread.subarray(f.size)) {
      const n = f.data.length
      socket.write(Buffer.concat([Buffer.from([f.first, ...(n < 126 ? [n] : [126, n >> 8, n & 255])]), f.data]))
      if ((f.first & 15) === 8) socket.end()
    }
  }
  take(Buffer.alloc(0))
  socket.on('data', take).on('error', () => {})
})

function frame(b) {
  if (b.length < 2) return
  let length = b[1] & 127, at = 2
  if (length === 126) {
    if (b.length < 4) return
    length = b.readUInt16BE(2)
    at = 4
  }
  if (b.length < at + 4 + length) return
  const data = b.subarray(at + 4, at + 4 + length).map((c, i) => c ^ b[at + (i & 3)])
  return { first: b[0], data, size: at + 4 + length }
}
