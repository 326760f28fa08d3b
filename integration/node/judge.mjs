// Reads webhooks with npm's cloudevents and standardwebhooks. Requests come on stdin and what it makes of them goes to
// stdout, as JSON; see integration/judges_test.go.
import { createHmac, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { HTTP } from 'cloudevents'
import { Webhook } from 'standardwebhooks'

const secrets = process.argv.slice(2)
const requests = JSON.parse(readFileSync(0, 'utf8'))
process.stdout.write(JSON.stringify(requests.map(judge)))

function judge({ headers, body }) {
  try {
    body = Buffer.from(body, 'base64')
    for (const secret of secrets) verify(secret, body, headers)
    return { events: read(body, headers) }
  } catch (err) {
    return { error: String(err) }
  }
}

function read(body, headers) {
  const binary = 'ce-id' in headers
  const json = !binary || (headers['content-type'] ?? '').startsWith('application/json')
  const events = [HTTP.toEvent({ headers, body: json ? body.toString() : body })].flat()
  return events.map(e => {
    e.validate()
    const { data, data_base64, ...attributes } = e
    for (const [name, value] of Object.entries(attributes)) {
      // The binding's encoding, which the library leaves in.
      if (binary && value !== undefined) attributes[name] = decodeURIComponent(value)
    }
    return { ...attributes, data: payload(e) }
  })
}

function payload({ data, data_base64, datacontenttype }) {
  if (data_base64 !== undefined) return data_base64
  if (data === undefined) return ''
  if (Buffer.isBuffer(data)) return data.toString('base64')
  return Buffer.from(datacontenttype.startsWith('application/json') ? JSON.stringify(data) : data).toString('base64')
}

// The library reads every body as UTF-8, so what is not is verified by hand, as its standard says.
function verify(secret, body, headers) {
  if (body.equals(Buffer.from(body.toString()))) {
    return new Webhook(secret).verify(body.toString(), headers, { jsonParse: false })
  }
  const mac = createHmac('sha256', Buffer.from(secret.slice('whsec_'.length), 'base64'))
  const want = mac.update(`${headers['webhook-id']}.${headers['webhook-timestamp']}.`).update(body).digest()
  const good = headers['webhook-signature'].split(' ').some(s => {
    const got = Buffer.from(s.replace(/^v1,/, ''), 'base64')
    return got.length === want.length && timingSafeEqual(got, want)
  })
  if (!good) throw new Error('no signature fits')
}
