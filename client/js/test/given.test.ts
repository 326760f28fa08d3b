// Streams that the sidecar subscribes by itself: the user's own, and channels.
import assert from "node:assert/strict"
import { test } from "node:test"
import type { Message } from "../src/index.js"
import { type Scene, again, connected, pass, scene, settle } from "./harness.js"

const e = (offset: number, epoch = "e") => ({ offset, epoch })

/** What comes to no subscription, kept. */
function strays(s: Scene): unknown[] {
  const got: unknown[] = []
  s.pc.on("message", m => got.push(m.channel === undefined ? m.data : `${m.channel} ${m.data}`))
  return got
}

test("pushes to the user come as messages, and are recovered", async () => {
  const s = await connected({}, { position: e(3) })
  const got = strays(s)
  s.peer.message(4)
  s.peer.message(undefined, { data: "to all" })
  assert.deepEqual(s.pc.position, e(4))
  await again(s)
  assert.deepEqual(s.peer.resume, { user: e(4), channels: {} })
  s.peer.welcome({ position: { ...e(6), recovered: true } })
  for (const n of [5, 6, 7]) s.peer.message(n)
  assert.deepEqual(got, [4, "to all", 5, 6, 7])
  await again(s)
  s.peer.welcome({ position: e(1, "f") })
  assert.deepEqual(s.gaps, [{ channel: undefined, position: e(1, "f") }])
  s.peer.say({ type: "gap", position: e(1, "f") })
  assert.equal(s.gaps.length, 1)
})

test("every listener gets each message", async () => {
  const s = await connected()
  const a = strays(s), b = strays(s), other: Message[] = []
  const off = s.pc.on("message", m => other.push(m))
  s.peer.message(undefined, { data: 1 })
  off()
  s.peer.message(undefined, { data: 2 })
  assert.deepEqual([a, b, other.map(m => m.data)], [[1, 2], [1, 2], [1]])
})

test("the user's stream that could not be read is asked for until it can", async () => {
  const s = await connected({}, { position: e(3) })
  const got = strays(s)
  await again(s)
  s.peer.welcome()
  for (let i = 0; i < 5; i++) {
    assert.deepEqual(s.peer.last("recover").position, e(3))
    s.peer.refuse("recover", "unavailable")
    await pass(30_000)
    s.peer.say({ type: "pong" })
  }
  s.peer.ok("recover", { position: e(5), recovered: true })
  for (const n of [4, 5, 6]) s.peer.message(n)
  assert.deepEqual(got, [4, 5, 6])
  assert.equal(s.pc.state, "open")
  assert.deepEqual([s.gaps, s.errors], [[], []])
})

test("messages that would overtake what is to be recovered make a new connection, where they do not", async () => {
  for (const when of ["before the answer", "in the middle"]) {
    const s = await connected({}, { position: e(3) })
    const got = strays(s)
    await again(s)
    s.peer.welcome()
    if (when === "in the middle") {
      s.peer.ok("recover", { position: e(6), recovered: true })
      s.peer.message(4)
    }
    s.peer.message(7)
    assert.equal(s.pc.state, "waiting", when)
    await pass(1000)
    const next = when === "in the middle" ? 4 : 3
    assert.deepEqual(s.peer.resume, { user: e(next), channels: {} })
    s.peer.welcome({ position: { ...e(7), recovered: true } })
    for (let n = next + 1; n < 9; n++) s.peer.message(n)
    assert.deepEqual(got, [4, 5, 6, 7, 8], when)
    assert.deepEqual(s.gaps, [])
  }
})

test("messages that follow the position directly overtake nothing", async () => {
  const s = await connected({}, { position: e(3) })
  const got = strays(s)
  await again(s)
  s.peer.welcome()
  s.peer.message(4)
  s.peer.message(5)
  s.peer.ok("recover", { position: e(5), recovered: true })
  s.peer.message(7) // what was wanted is here: a hole is a hole
  assert.deepEqual(got, [4, 5, 7])
  assert.equal(s.pc.state, "open")
})

test("a user's stream that is kept no more is a gap", async () => {
  const s = await connected({}, { position: e(3) })
  const got = strays(s)
  await again(s)
  s.peer.welcome()
  s.peer.refuse("recover", "not_found")
  assert.equal(s.gaps.length, 1)
  s.peer.message(9)
  assert.deepEqual(got, [9])
  assert.equal(s.pc.state, "open")
})

test("channels of the sidecar come as messages, are known by position and recovered", async () => {
  const s = await connected({}, { channels: { news: e(3), chat: {} } })
  const got = strays(s)
  s.peer.message(4, { channel: "news" })
  s.peer.message(undefined, { channel: "chat", data: "hi" })
  await again(s)
  assert.deepEqual(s.peer.resume, { channels: { news: e(4) } })
  s.peer.welcome({ channels: { news: { ...e(5), recovered: true }, chat: {} } })
  s.peer.message(5, { channel: "news" })
  assert.deepEqual(got, ["news 4", "chat hi", "news 5"])
  assert.deepEqual(s.peer.got, [])
})

test("a subscription to a channel of the sidecar is ready at once and takes its messages", async () => {
  const s = await connected({}, { channels: { news: e(3) } })
  const stray = strays(s), got: unknown[] = []
  s.peer.message(4, { channel: "news" })
  const news = s.pc.subscribe("news", m => got.push(m.data))
  assert.deepEqual(await news.ready, e(4))
  s.peer.message(5, { channel: "news" })
  assert.deepEqual([stray, got, s.peer.got], [["news 4"], [5], []])
  news.unsubscribe()
  assert.equal(s.peer.all("unsubscribe").length, 1)
})

test("the backend subscribes and unsubscribes", async () => {
  const s = await connected()
  const got = strays(s), told: unknown[] = []
  s.pc.on("subscribed", ({ channel }) => told.push(`+${channel}`))
  s.pc.on("unsubscribed", ({ channel }) => told.push(`-${channel}`))
  s.peer.say({ type: "subscribed", channel: "news", position: e(3) })
  s.peer.message(3, { channel: "news" })
  s.peer.message(4, { channel: "news" })
  await again(s)
  assert.deepEqual(s.peer.resume, { channels: { news: e(4) } })
  s.peer.welcome({ channels: { news: { ...e(4), recovered: true } } })
  s.peer.say({ type: "unsubscribed", channel: "news" })
  await again(s)
  assert.equal(s.peer.resume, undefined)
  assert.deepEqual([told, got], [["+news", "-news"], ["news 4"]])
})

test("a subscription that the backend ends is over", async () => {
  const s = await connected()
  const got: unknown[] = [], told: unknown[] = []
  s.pc.on("unsubscribed", t => told.push(t))
  s.pc.subscribe("news", m => got.push(m.data))
  s.peer.ok("subscribe", { position: e(3) })
  s.peer.say({ type: "unsubscribed", channel: "news" })
  assert.deepEqual(told, [{ channel: "news" }])
  await again(s)
  s.peer.welcome()
  assert.deepEqual([s.peer.resume, s.peer.got, s.errors], [undefined, [], []])
})

test("a channel that the backend took away meanwhile is told as unsubscribed", async () => {
  const s = await connected({}, { channels: { news: e(3) } })
  const told: unknown[] = []
  s.pc.on("unsubscribed", t => told.push(t))
  await again(s)
  s.peer.welcome({ refused: { news: "forbidden" } })
  assert.deepEqual([told, s.errors], [[{ channel: "news" }], []])
  await again(s)
  assert.equal(s.peer.resume, undefined)

  s.peer.welcome({ channels: { news: e(3) } })
  await again(s)
  s.peer.welcome({ refused: { news: "ask" } })
  s.peer.refuse("subscribe", "forbidden")
  assert.deepEqual([told.length, s.errors], [2, []])
})

test("subscribed by the backend while its own subscribe is under way, it is subscribed once", async () => {
  const s = await connected()
  const got: unknown[] = []
  const news = s.pc.subscribe("news", m => got.push(m.data))
  s.peer.say({ type: "subscribed", channel: "news", position: e(3) })
  s.peer.message(4, { channel: "news" })
  s.peer.ok("subscribe", { position: e(4) })
  s.peer.message(5, { channel: "news" })
  assert.deepEqual(got, [4, 5])
  assert.deepEqual(await news.ready, e(4))
  assert.equal(s.peer.got.length, 1)
})

test("a channel of the sidecar that begins late begins where it was left", async () => {
  const s = await connected({}, { channels: { news: e(3) } })
  const got = strays(s)
  await again(s)
  s.peer.welcome() // Redis did not answer in time
  assert.deepEqual(s.peer.last("subscribe").position, e(3))
  s.peer.say({ type: "subscribed", channel: "news", position: e(5) })
  s.peer.message(4, { channel: "news" })
  s.peer.ok("subscribe", { position: e(5), recovered: true })
  for (const n of [5, 4, 5, 6]) s.peer.message(n, { channel: "news" }) // handed out twice
  assert.deepEqual(got, ["news 4", "news 5", "news 6"])
  assert.equal(s.pc.state, "open")
  assert.deepEqual(s.gaps, [])
})

test("a stream that was told no position is known by its first message with an epoch", async () => {
  const s = await connected()
  const got = strays(s)
  s.peer.say({ type: "subscribed", channel: "news" })
  s.peer.message(7, { epoch: "u" })
  s.peer.message(9, { channel: "news", epoch: "e" })
  await again(s)
  assert.deepEqual(s.peer.resume, { user: e(7, "u"), channels: { news: e(9) } })
  assert.deepEqual(got, [7, "news 9"])
})

test("of more channels than a handshake resumes those of the sidecar go first; one too many tells a gap rather than disorder", async () => {
  const names = Array.from({ length: 70 }, (_, i) => `given${i}`)
  const s = await scene()
  for (let i = 0; i < 20; i++) s.pc.subscribe(`own${i}`, { position: e(1) }, () => {})
  const got = strays(s)
  s.peer.welcome({ channels: Object.fromEntries(names.map(n => [n, e(3)])) })
  for (const { id } of s.peer.all("subscribe")) s.peer.say({ type: "ok", id, position: e(1), recovered: true })
  await again(s)
  const resumed = Object.keys(s.peer.resume!.channels)
  assert.deepEqual(resumed, names.slice(0, 64))
  s.peer.welcome({ channels: Object.fromEntries(names.map(n => [n, resumed.includes(n) ? { ...e(5), recovered: true } : e(5)])) })
  const asked = s.peer.all("subscribe").filter(f => f.channel!.startsWith("given"))
  assert.deepEqual(asked.map(f => [f.channel, f.position]), names.slice(64).map(n => [n, e(3)]))
  s.peer.say({ type: "ok", id: asked[0]!.id, position: e(5), recovered: true })
  for (const n of [4, 5, 6]) s.peer.message(n, { channel: "given64" })
  assert.deepEqual(got, ["given64 4", "given64 5", "given64 6"])
  s.peer.message(6, { channel: "given65" })
  assert.deepEqual(s.gaps, [{ channel: "given65", position: e(5) }])
  s.peer.say({ type: "ok", id: asked[1]!.id, position: e(6), recovered: true })
  for (const n of [4, 5, 7]) s.peer.message(n, { channel: "given65" })
  assert.deepEqual(got.slice(3), ["given65 6", "given65 7"])
  s.peer.say({ type: "error", id: asked[2]!.id, code: "forbidden", message: "" })
  assert.deepEqual(s.gaps.slice(1), [{ channel: "given66", position: e(3) }])
  s.peer.message(6, { channel: "given66" })
  assert.deepEqual(got.slice(5), ["given66 6"])
  assert.equal(s.pc.state, "open")
  await settle()
})
