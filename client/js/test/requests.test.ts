import assert from "node:assert/strict"
import { test } from "node:test"
import { again, code, connected, pass, scene, settle, PushcartError } from "./harness.js"

test("answers find their requests in any order", async () => {
  const s = await connected()
  const a = s.pc.request({ n: 1 }, { event: "typing" }), b = s.pc.request("two"), c = s.pc.request()
  const [fa, fb, fc] = s.peer.all("message") as any[]
  assert.deepEqual(fa, { type: "message", id: fa.id, event: "typing", data: { n: 1 } })
  assert.deepEqual(fc, { type: "message", id: fc.id })
  assert.equal(new Set([fa.id, fb.id, fc.id]).size, 3)
  s.peer.say({ type: "ok", id: fc.id })
  s.peer.say({ type: "reply", id: fb.id, data: [2] })
  s.peer.say({ type: "error", id: fa.id, code: "rejected", message: "no such room" })
  assert.equal(await c, undefined)
  assert.deepEqual(await b, [2])
  await assert.rejects(a, err => err instanceof PushcartError && err instanceof Error && err.name === "PushcartError" && err.code === "rejected" && err.message === "no such room")
})

test("publish names a channel or a user, and resolves with the position", async () => {
  const s = await connected()
  const a = s.pc.publish("chat", { x: 1 }, { event: "said" }), b = s.pc.publishToUser("7", "hi")
  const [fa, fb] = s.peer.all("publish") as any[]
  assert.deepEqual(fa, { type: "publish", id: fa.id, channel: "chat", event: "said", data: { x: 1 } })
  assert.deepEqual(fb, { type: "publish", id: fb.id, user: "7", data: "hi" })
  s.peer.say({ type: "ok", id: fa.id, position: { offset: 4, epoch: "e" } })
  s.peer.say({ type: "ok", id: fb.id })
  assert.deepEqual(await a, { position: { offset: 4, epoch: "e" } })
  assert.deepEqual(await b, { position: undefined })
})

test("history is a page of messages", async () => {
  const s = await connected()
  const h = s.pc.history("chat", { after: { offset: 1, epoch: "e" }, limit: 2 })
  const frame = s.peer.last("history")
  assert.deepEqual(frame, { type: "history", id: frame.id, channel: "chat", after: { offset: 1, epoch: "e" }, limit: 2 })
  s.peer.ok("history", { messages: [{ id: "a", data: 1, offset: 2 }, { id: "b", data_base64: "AP8=", offset: 3 }], position: { offset: 9, epoch: "e" }, more: true })
  assert.deepEqual(await h, {
    messages: [{ id: "a", data: 1, offset: 2 }, { id: "b", data: Uint8Array.of(0, 255), offset: 3 }],
    position: { offset: 9, epoch: "e" }, more: true,
  })
  const rest = s.pc.history("chat")
  s.peer.ok("history", { messages: [] })
  assert.deepEqual(await rest, { messages: [], position: undefined, more: false })
})

test("binary data goes as base64, both ways", async () => {
  const s = await connected()
  const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => i)
  const r = s.pc.request(bytes)
  const sent = s.peer.last("message")
  assert.equal(sent.data_base64, Buffer.from(bytes).toString("base64"))
  assert.ok(!("data" in sent))
  s.peer.say({ type: "reply", id: sent.id, data_base64: sent.data_base64 })
  assert.deepEqual(await r, bytes)
  const got: any[] = []
  s.pc.on("message", m => got.push(m))
  s.peer.say({ type: "message", id: "x", data_base64: "" })
  assert.deepEqual(got, [{ id: "x", data: new Uint8Array(0) }])
})

test("requests under way when the connection ends reject, and are never sent again", async () => {
  const s = await connected()
  const all = [s.pc.publish("chat", 1), s.pc.request(2), s.pc.history("chat")].map(code)
  await again(s)
  s.peer.welcome()
  assert.deepEqual(await Promise.all(all), ["disconnected", "disconnected", "disconnected"])
  assert.deepEqual(s.peer.got, [])
  await pass(60_000)
})

test("requests made without a connection wait for it, in order and with others behind them", async () => {
  const s = await scene()
  const first = s.pc.publish("chat", 1)
  await again(s)
  void s.pc.request(2)
  s.pc.on("open", () => void s.pc.publish("chat", 3))
  s.peer.welcome()
  assert.deepEqual(s.peer.got.map(f => f.data), [1, 2, 3])
  s.peer.say({ type: "ok", id: s.peer.got[0]!.id })
  await first
})

test("data is taken as it is when the request is made", async () => {
  const s = await scene()
  const data = { n: 1 }
  void s.pc.publish("chat", data)
  data.n = 2
  s.peer.welcome()
  assert.deepEqual(s.peer.last("publish").data, { n: 1 })
  assert.notEqual(await code(s.pc.publish("chat", 1n)), "ok")
})

test("the queue is bounded", async () => {
  const s = await scene({ queue: 3 })
  const all = [1, 2, 3, 4, 5].map(n => code(s.pc.publish("chat", n)))
  assert.deepEqual(await Promise.all(all.slice(3)), ["queue_full", "queue_full"])
  s.peer.welcome()
  assert.deepEqual(s.peer.all("publish").map(f => f.data), [1, 2, 3])
  // Connected there is no bound: the sidecar has one.
  for (let n = 6; n < 16; n++) void s.pc.publish("chat", n)
  assert.equal(s.peer.all("publish").length, 13)
  s.peer.end(1006)
  const after = [1, 2, 3, 4].map(n => code(s.pc.publish("chat", n)))
  assert.equal(await after[3], "queue_full")
})

test("the default bound is 100", async () => {
  const s = await scene()
  const all = Array.from({ length: 101 }, (_, n) => code(s.pc.publish("chat", n)))
  assert.equal(await all[100], "queue_full")
  s.peer.welcome()
  assert.equal(s.peer.all("publish").length, 100)
})

test("a request that gets no answer in time rejects; its answer comes too late", async () => {
  const s = await connected({ timeout: 5000 })
  const a = code(s.pc.request(1)), b = code(s.pc.request(2, { timeout: 1000 })), c = s.pc.request(3, { timeout: 0 })
  await pass(1000)
  assert.equal(await b, "timeout")
  const [fa, fb, fc] = s.peer.all("message")
  s.peer.say({ type: "reply", id: fb!.id, data: "late" })
  await pass(4000)
  assert.equal(await a, "timeout")
  s.peer.say({ type: "ok", id: fa!.id })
  await pass(1_000_000)
  s.peer.say({ type: "pong" })
  assert.equal(s.peers.length > 1, true, "the silent connection was given up")
  assert.equal(await code(c), "disconnected")
  assert.ok(fc)
})

test("time in the queue counts, and what timed out there is not sent", async () => {
  const s = await scene({ timeout: 5000 })
  const a = code(s.pc.publish("chat", 1))
  await pass(5000)
  assert.equal(await a, "timeout")
  s.peer.welcome()
  assert.deepEqual(s.peer.got, [])
})

test("a signal ends a request before, in the queue and under way", async () => {
  const s = await scene()
  const early = new AbortController(), queued = new AbortController(), late = new AbortController()
  early.abort("gone")
  const a = s.pc.request(1, { signal: early.signal })
  await assert.rejects(a, { code: "aborted", cause: "gone" })
  const b = code(s.pc.request(2, { signal: queued.signal }))
  queued.abort()
  assert.equal(await b, "aborted")
  s.peer.welcome()
  assert.deepEqual(s.peer.got, [])
  const c = code(s.pc.request(3, { signal: late.signal }))
  const { id } = s.peer.last("message")
  late.abort()
  assert.equal(await c, "aborted")
  s.peer.say({ type: "reply", id, data: 1 })
  const d = s.pc.request(4, { signal: new AbortController().signal })
  s.peer.say({ type: "reply", id: s.peer.last("message").id, data: 4 })
  assert.equal(await d, 4)
})

test("close rejects what waits and what is under way", async () => {
  const s = await connected()
  const a = code(s.pc.publish("chat", 1))
  s.peer.end(1006)
  const b = code(s.pc.publish("chat", 2))
  s.pc.close()
  assert.deepEqual([await a, await b, await code(s.pc.publish("chat", 3))], ["disconnected", "closed", "closed"])
})

test("promises that nobody looks at end no process", async () => {
  const s = await connected()
  void s.pc.publish("chat", 1)
  void s.pc.request(2)
  void s.pc.history("chat")
  s.pc.subscribe("chat", () => {})
  s.peer.end(3003)
  void s.pc.publish("chat", 3)
  await settle() // the harness looks for unhandled rejections
})

test("an error without an id is told", async () => {
  const s = await connected()
  s.peer.say({ type: "error", code: "invalid_argument", message: "what is that" })
  assert.deepEqual(s.errors.map(e => [e.code, e.message]), [["invalid_argument", "what is that"]])
  s.peer.say({ type: "error", id: 999, code: "internal", message: "of nobody" })
  s.peer.say({ type: "a type of tomorrow" })
  assert.equal(s.errors.length, 1)
})
