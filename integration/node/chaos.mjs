// Many clients of client/js in one process, for integration/chaos_json_test.go. Each
// follows its user's stream and some channels; what they get goes to stdout, a line each:
//
//   ready                              all are subscribed
//   m CLIENT STREAM OFFSET NUMBER      a message
//   g CLIENT STREAM                    a gap
//   e CLIENT TEXT                      something went wrong
//   connections N                      how often connections were opened
import { createHmac } from "node:crypto"
import { Pushcart } from "../../client/js/dist/pushcart.js"

const [url, secret, count, channels, each] = process.argv.slice(2)

const base64 = text => Buffer.from(text).toString("base64url")
function token(user) {
  const exp = Math.floor(Date.now() / 1000) + 3600
  const text = base64(`{"alg":"HS256"}`) + "." + base64(JSON.stringify({ sub: user, aud: "app", exp }))
  return text + "." + createHmac("sha256", secret).update(text).digest("base64url")
}

const say = (...words) => process.stdout.write(words.join(" ") + "\n")
let opened = 0
const ready = []
const clients = Array.from({ length: Number(count) }, (_, i) => {
  const user = "u" + i
  const pc = new Pushcart(url, { token: () => token(user), backoff: { base: 100, cap: 1000 } })
  pc.on("open", () => opened++)
  pc.on("error", err => say("e", i, err.code, err.message))
  pc.on("gap", gap => say("g", i, gap.channel ?? "user:" + user))
  pc.on("message", m => say("m", i, "user:" + user, m.offset, m.data))
  for (let k = 0; k < Number(each); k++) {
    const channel = "s." + ((i * 7 + k * 11) % Number(channels))
    const sub = pc.subscribe(channel, m => say("m", i, channel, m.offset, m.data))
    ready.push(sub.ready)
  }
  return pc
})
await Promise.all(ready)
say("ready")
process.stdin.on("data", () => say("connections", opened)).on("end", () => {
  for (const pc of clients) pc.close()
  process.exitCode = 0
})
