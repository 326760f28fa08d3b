import assert from "node:assert/strict"
import { test } from "node:test"
import type { Message } from "../src/index.js"
import { type Peer, type Scene, again, code, connected, pass, scene, settle } from "./harness.js"

const e = (offset: number, epoch = "e") => ({ offset, epoch })

/** A subscription whose messages are kept. */
function sub(s: Scene, channel = "news", options: object = {}) {
  const got: unknown[] = []
  return { got, sub: s.pc.subscribe(channel, options, m => got.push(m.data)) }
}

/** Pushes messages of a channel. */
const send = (peer: Peer, channel: string, ...offsets: number[]) => offsets.forEach(o => peer.message(o, { channel }))

test("a subscription is ready when the sidecar says so, and gets what comes then", async () => {
  const s = await connected()
  const { sub: news, got } = sub(s)
  assert.deepEqual(s.peer.last("subscribe"), { type: "subscribe", id: s.peer.last("subscribe").id, channel: "news" })
  send(s.peer, "news", 3) // of nobody: it is not subscribed yet
  s.peer.ok("subscribe", { position: e(4) })
  send(s.peer, "news", 5, 6)
  assert.deepEqual(await news.ready, e(4))
  assert.deepEqual(news.position, e(6))
  assert.deepEqual(got, [5, 6])
  assert.equal(news.channel, "news")
})

test("one made before the connection is subscribed with it", async () => {
  const s = await scene()
  const { sub: news, got } = sub(s)
  s.peer.welcome()
  s.peer.ok("subscribe")
  assert.equal(await news.ready, undefined)
  s.peer.message(undefined, { channel: "news", data: "x" })
  assert.deepEqual(got, ["x"])
  assert.equal(news.position, undefined)
})

test("the whole message is handed out", async () => {
  const s = await connected()
  const got: Message[] = []
  s.pc.subscribe("news", m => got.push(m))
  s.peer.ok("subscribe", { position: e(1) })
  s.peer.say({ type: "message", id: "a", channel: "news", event: "said", data: { x: 1 }, from: "7", offset: 2, time: "2026-01-01T00:00:00Z" })
  assert.deepEqual(got, [{ id: "a", channel: "news", event: "said", data: { x: 1 }, from: "7", offset: 2, epoch: "e", time: "2026-01-01T00:00:00Z" }])
})

test("it comes back by its position in the handshake, and what was missed comes once and in order", async () => {
  const s = await connected()
  const { sub: news, got } = sub(s)
  s.peer.ok("subscribe", { position: e(4) })
  send(s.peer, "news", 5, 6)
  await again(s)
  assert.deepEqual(s.peer.resume, { channels: { news: e(6) } })
  s.peer.welcome({ channels: { news: { ...e(9), recovered: true } } })
  assert.deepEqual(s.peer.got, [])
  send(s.peer, "news", 7, 8)
  await again(s) // in the middle of it
  assert.deepEqual(s.peer.resume, { channels: { news: e(8) } })
  s.peer.welcome({ channels: { news: { ...e(10), recovered: true } } })
  send(s.peer, "news", 9, 10, 11)
  assert.deepEqual(got, [5, 6, 7, 8, 9, 10, 11])
  assert.deepEqual(news.position, e(11))
  assert.deepEqual(s.gaps, [])
})

test("what came already is dropped", async () => {
  const s = await connected()
  const { got } = sub(s)
  s.peer.ok("subscribe", { position: e(4) })
  send(s.peer, "news", 4, 5, 5, 3, 6, 5, 7)
  assert.deepEqual(got, [5, 6, 7])
})

test("messages that are left out are no gap", async () => {
  const s = await connected()
  const { got } = sub(s)
  s.peer.ok("subscribe", { position: e(4) })
  send(s.peer, "news", 7, 9)
  assert.deepEqual(got, [7, 9])
  assert.deepEqual(s.gaps, [])
})

test("a new epoch begins anew", async () => {
  const s = await connected()
  const { sub: news, got } = sub(s)
  s.peer.ok("subscribe", { position: e(4) })
  s.peer.say({ type: "gap", channel: "news", position: e(0, "f") })
  s.peer.message(1, { channel: "news", epoch: "f" })
  send(s.peer, "news", 2)
  assert.deepEqual(got, [1, 2])
  assert.deepEqual(news.position, e(2, "f"))
  assert.deepEqual(s.gaps, [{ channel: "news", position: e(0, "f") }])
})

test("an epoch that followed without loss is taken over with the answer", async () => {
  const s = await connected()
  const { sub: news, got } = sub(s)
  s.peer.ok("subscribe", { position: e(4) })
  await again(s)
  s.peer.welcome({ channels: { news: { ...e(6, "f"), recovered: true } } })
  send(s.peer, "news", 6)
  assert.deepEqual(news.position, e(6, "f"))
  assert.deepEqual(got, [6])
})

test("what cannot be recovered is a gap, once, and it goes on behind it", async () => {
  const s = await connected()
  const { sub: news, got } = sub(s)
  s.peer.ok("subscribe", { position: e(4) })
  for (const frame of [{ ...e(2, "f"), recovered: false }, e(2, "f")]) {
    s.gaps.length = 0
    await again(s)
    s.peer.welcome({ channels: { news: frame } })
    assert.deepEqual(s.gaps, [{ channel: "news", position: e(2, "f") }])
    s.peer.say({ type: "gap", channel: "news", position: e(2, "f") })
    assert.equal(s.gaps.length, 1)
  }
  send(s.peer, "news", 2, 3)
  assert.deepEqual(got, [3])
  s.peer.say({ type: "gap", channel: "news", position: e(7, "f") })
  send(s.peer, "news", 7, 8)
  assert.deepEqual(got, [3, 8])
  assert.equal(s.gaps.length, 2)
  assert.deepEqual(news.position, e(8, "f"))
})

test("a gap that its frame never came for is known all the same", async () => {
  const s = await connected()
  sub(s)
  s.peer.ok("subscribe", { position: e(4) })
  await again(s)
  s.peer.welcome({ channels: { news: { ...e(2, "f"), recovered: false } } })
  await again(s)
  assert.deepEqual(s.peer.resume, { channels: { news: e(2, "f") } })
  assert.equal(s.gaps.length, 1)
  // Another one at the same place is told again.
  s.peer.welcome({ channels: { news: { ...e(2, "f"), recovered: true } } })
  s.peer.say({ type: "gap", channel: "news", position: e(2, "f") })
  assert.equal(s.gaps.length, 2)
})

test("recent messages come first, before the position in the answer", async () => {
  const s = await connected()
  const { sub: news, got } = sub(s, "news", { recent: 3 })
  assert.equal(s.peer.last("subscribe").recent, 3)
  s.peer.ok("subscribe", { position: e(9) })
  assert.deepEqual(await news.ready, e(9))
  send(s.peer, "news", 7, 8)
  assert.deepEqual(news.position, e(8))
  await again(s) // before the last of them
  assert.deepEqual(s.peer.resume, { channels: { news: e(8) } })
  s.peer.welcome({ channels: { news: { ...e(9), recovered: true } } })
  send(s.peer, "news", 9, 10)
  assert.deepEqual(got, [7, 8, 9, 10])
  assert.deepEqual(s.peer.got, [])
})

test("recent messages of an empty channel: it is recovered from the answer's position", async () => {
  const s = await connected()
  const { got } = sub(s, "news", { recent: 3 })
  s.peer.ok("subscribe", { position: e(9) })
  await again(s)
  assert.deepEqual(s.peer.resume, { channels: { news: e(9) } })
  s.peer.welcome({ channels: { news: { ...e(10), recovered: true } } })
  send(s.peer, "news", 10)
  assert.deepEqual(got, [10])
})

test("a subscribe without its answer is repeated as it was", async () => {
  const s = await connected()
  const { sub: news } = sub(s, "news", { recent: 3 })
  await again(s)
  assert.equal(s.peer.resume, undefined)
  s.peer.welcome()
  assert.equal(s.peer.last("subscribe").recent, 3)
  s.peer.ok("subscribe", { position: e(9) })
  await news.ready
  assert.deepEqual(s.errors, [])
})

test("a position from before goes into the first handshake", async () => {
  const s = await scene({ position: e(1, "u") })
  s.pc.close()
  const { sub: news, got } = sub(s, "news", { position: e(4), recent: 5 })
  s.pc.connect()
  await settle()
  assert.deepEqual(s.peer.resume, { user: e(1, "u"), channels: { news: e(4) } })
  s.peer.welcome({ position: { ...e(1, "u"), recovered: true }, channels: { news: { ...e(5), recovered: true } } })
  send(s.peer, "news", 5)
  assert.deepEqual(await news.ready, e(4))
  assert.deepEqual(got, [5])
})

test("on an open connection a position goes with subscribe", async () => {
  const s = await connected()
  const { sub: news, got } = sub(s, "news", { position: e(4) })
  assert.deepEqual(s.peer.last("subscribe").position, e(4))
  s.peer.ok("subscribe", { position: e(6), recovered: true })
  send(s.peer, "news", 5, 6, 7)
  assert.deepEqual(got, [5, 6, 7])
  assert.deepEqual(await news.ready, e(4))
})

test("at most 64 streams are resumed, the user's among them; the others subscribe", async () => {
  const s = await connected({}, { position: e(1, "u") })
  for (let i = 0; i < 100; i++) {
    sub(s, `c${i}`)
    s.peer.ok("subscribe", { position: e(i) })
  }
  await again(s)
  const { user, channels } = s.peer.resume!
  assert.deepEqual(user, e(1, "u"))
  assert.equal(Object.keys(channels).length, 63)
  s.peer.welcome({ position: { ...e(1, "u"), recovered: true }, channels: Object.fromEntries(Object.entries(channels).map(([n, p]) => [n, { ...p, recovered: true }])) })
  const rest = s.peer.all("subscribe")
  assert.equal(rest.length, 37)
  for (const f of rest) {
    assert.ok(!(f.channel! in channels))
    assert.deepEqual(f.position, e(Number(f.channel!.slice(1))))
  }
})

test("what is resumed fits into 8 KiB", async () => {
  const s = await connected()
  for (let i = 0; i < 60; i++) {
    sub(s, `${i}`.padStart(250, "é"))
    s.peer.ok("subscribe", { position: e(i, "0123456789") })
  }
  await again(s)
  const text = s.peer.url.searchParams.get("resume")!
  assert.ok(text.length <= 8192 && text.length > 7000, `${text.length}`)
  const resumed = Object.entries(s.peer.resume!.channels)
  s.peer.welcome({ channels: Object.fromEntries(resumed.map(([n, p]) => [n, { ...p, recovered: true }])) })
  assert.equal(s.peer.all("subscribe").length + resumed.length, 60)
})

test("any name and epoch survives the handshake", async () => {
  const s = await connected()
  const names = ["κόσμε", "a b&c=d+e/f?#", "__proto__", "constructor", "😀\u200d", "\"\\"]
  for (const name of names) {
    sub(s, name)
    s.peer.ok("subscribe", { position: e(1, name) })
  }
  await again(s)
  assert.match(s.peer.url.searchParams.get("resume")!, /^[A-Za-z0-9_-]+$/)
  for (const name of names) assert.deepEqual(Object.getOwnPropertyDescriptor(s.peer.resume!.channels, name)?.value, e(1, name))
})

test("channels without history are subscribed again, without a gap", async () => {
  const s = await connected()
  const { got } = sub(s, "chat")
  s.peer.ok("subscribe")
  await again(s)
  assert.equal(s.peer.resume, undefined)
  s.peer.welcome()
  const { position } = s.peer.last("subscribe")
  assert.equal(position, undefined)
  s.peer.ok("subscribe")
  s.peer.message(undefined, { channel: "chat", data: 1 })
  assert.deepEqual(got, [1])
  assert.deepEqual(s.gaps, [])
})

test("a history that is kept no more is a gap", async () => {
  const s = await connected()
  const { sub: news, got } = sub(s)
  s.peer.ok("subscribe", { position: e(4) })
  await again(s)
  s.peer.welcome({ channels: { news: {} } })
  assert.deepEqual(s.gaps, [{ channel: "news", position: undefined }])
  s.peer.message(undefined, { channel: "news", data: "x" })
  assert.deepEqual(got, ["x"])
  assert.equal(news.position, undefined)
})

test("what has to be asked for is subscribed with its position, and asked for next time", async () => {
  const s = await connected()
  const { got } = sub(s)
  s.peer.ok("subscribe", { position: e(4) })
  await again(s)
  s.peer.welcome({ refused: { news: "ask" } })
  assert.deepEqual(s.peer.last("subscribe").position, e(4))
  s.peer.ok("subscribe", { position: e(5), recovered: true })
  send(s.peer, "news", 5)
  await again(s)
  assert.equal(s.peer.resume, undefined)
  s.peer.welcome()
  assert.deepEqual(s.peer.last("subscribe").position, e(5))
  assert.deepEqual(got, [5])
})

test("what welcome leaves out is subscribed with its position until Redis can be read", async () => {
  const s = await connected()
  const { got } = sub(s)
  s.peer.ok("subscribe", { position: e(4) })
  await again(s)
  s.peer.welcome()
  for (let i = 1; i < 8; i++) {
    assert.equal(s.peer.all("subscribe").length, i)
    assert.deepEqual(s.peer.last("subscribe").position, e(4))
    s.peer.refuse("subscribe", "unavailable")
    await pass(30_000)
    s.peer.say({ type: "pong" })
  }
  s.peer.ok("subscribe", { position: e(6), recovered: true })
  send(s.peer, "news", 5, 6)
  assert.deepEqual(got, [5, 6])
  assert.deepEqual(s.gaps, [])
  assert.deepEqual(s.errors, [])
  await pass(60_000)
  assert.equal(s.peer.all("subscribe").length, 8)
})

test("who may not subscribe is told, and not asked again", async () => {
  for (const why of ["forbidden", "not_found", "invalid_argument", "rate_limited", "unauthenticated"]) {
    const s = await connected()
    const { sub: news } = sub(s)
    s.peer.refuse("subscribe", why)
    await assert.rejects(news.ready, { code: why, channel: "news" })
    await again(s)
    s.peer.welcome()
    assert.deepEqual(s.peer.got, [])
    assert.deepEqual(s.errors, [])
    sub(s) // may be tried by the app
    assert.equal(s.peer.all("subscribe").length, 1)
  }
})

test("who may no longer is told by an error", async () => {
  const s = await connected()
  sub(s, "a"), s.peer.ok("subscribe", { position: e(4) })
  sub(s, "b"), s.peer.ok("subscribe")
  await again(s)
  s.peer.welcome({ refused: { a: "forbidden" } })
  s.peer.refuse("subscribe", "forbidden")
  assert.deepEqual(s.errors.map(err => [err.code, err.channel]), [["forbidden", "a"], ["forbidden", "b"]])
  await again(s)
  assert.equal(s.peer.resume, undefined)
})

test("unsubscribe: no message is handed out after it, and the channel may be subscribed anew", async () => {
  const s = await connected()
  const { sub: news, got } = sub(s)
  s.peer.ok("subscribe", { position: e(4) })
  send(s.peer, "news", 5)
  news.unsubscribe()
  news.unsubscribe()
  assert.equal(s.peer.all("unsubscribe").length, 1)
  send(s.peer, "news", 6)
  const next = sub(s)
  send(s.peer, "news", 7)
  s.peer.ok("unsubscribe")
  s.peer.ok("subscribe", { position: e(8) })
  send(s.peer, "news", 9)
  news.unsubscribe() // the old one: of no effect
  send(s.peer, "news", 10)
  assert.deepEqual([got, next.got], [[5], [9, 10]])
  assert.deepEqual(await next.sub.ready, e(8))
})

test("unsubscribe while the subscribe is under way", async () => {
  const s = await connected()
  const stray: unknown[] = []
  s.pc.on("message", m => stray.push(m.data))
  const { sub: news, got } = sub(s)
  news.unsubscribe()
  assert.equal(await code(news.ready), "closed")
  s.peer.ok("subscribe", { position: e(4) })
  send(s.peer, "news", 5)
  s.peer.ok("unsubscribe")
  await again(s)
  s.peer.welcome()
  assert.deepEqual([got, stray, s.peer.got, s.peer.resume], [[], [], [], undefined])
})

test("unsubscribe without a connection is forgotten by the next", async () => {
  const s = await connected()
  const { sub: news } = sub(s)
  s.peer.ok("subscribe", { position: e(4) })
  s.peer.end(1006)
  news.unsubscribe()
  await pass(1000)
  assert.equal(s.peer.resume, undefined)
  s.peer.welcome()
  assert.deepEqual(s.peer.got, [])
})

test("a handler may unsubscribe", async () => {
  const s = await connected()
  const got: unknown[] = []
  const news = s.pc.subscribe("news", m => { got.push(m.data); news.unsubscribe() })
  s.peer.ok("subscribe", { position: e(4) })
  send(s.peer, "news", 5, 6)
  assert.deepEqual(got, [5])
})

test("a channel has one subscription", async () => {
  const s = await connected()
  sub(s)
  assert.throws(() => sub(s), { code: "conflict", channel: "news" })
})

test("closed, a subscription that was not ready rejects; connected again it works", async () => {
  const s = await connected()
  const { sub: news, got } = sub(s)
  s.pc.close()
  assert.equal(await code(news.ready), "closed")
  s.pc.connect()
  await settle()
  s.peer.welcome()
  s.peer.ok("subscribe", { position: e(4) })
  send(s.peer, "news", 5)
  assert.deepEqual(got, [5])
})
