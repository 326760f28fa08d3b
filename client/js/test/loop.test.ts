import assert from "node:assert/strict"
import { test } from "node:test"
import type { Message } from "../src/index.js"
import { code, connected, settle } from "./harness.js"

/** What comes of a loop, until it ends. */
function loop(messages: AsyncIterable<Message>, most = Infinity) {
  const got: unknown[] = []
  const ended = (async () => {
    for await (const m of messages) if (got.push(m.data) >= most) break
  })()
  ended.catch(() => {})
  return { got, ended }
}

test("a loop takes the messages in their order, also those that came before it", async () => {
  const s = await connected()
  const news = s.pc.subscribe("news")
  s.peer.ok("subscribe", { position: { offset: 0, epoch: "e" } })
  s.peer.message(1, { channel: "news" })
  const { got } = loop(news)
  s.peer.message(2, { channel: "news" })
  await settle()
  s.peer.message(3, { channel: "news" })
  await settle()
  assert.deepEqual(got, [1, 2, 3])
  assert.equal(news.channel, "news")
})

test("leaving the loop unsubscribes", async () => {
  const s = await connected()
  const { got, ended } = loop(s.pc.subscribe("news"), 2)
  s.peer.ok("subscribe")
  for (const data of ["a", "b", "c"]) s.peer.message(undefined, { channel: "news", data })
  await ended
  assert.deepEqual(got, ["a", "b"])
  assert.equal(s.peer.all("unsubscribe").length, 1)
})

test("unsubscribing, a signal and the end of the client end the loop, after what came before", async () => {
  const stop = new AbortController()
  for (const [options, end] of [
    [{}, (sub: { unsubscribe(): void }) => sub.unsubscribe()], [{ signal: stop.signal }, () => stop.abort()], [{}, (_: unknown, pc: { close(): void }) => pc.close()],
  ] as const) {
    const s = await connected()
    const sub = s.pc.subscribe("news", options)
    s.peer.ok("subscribe")
    s.peer.message(undefined, { channel: "news", data: "a" })
    const { got, ended } = loop(sub)
    end(sub, s.pc)
    await ended
    assert.deepEqual(got, ["a"])
  }
})

test("a signal that is aborted already subscribes nothing for long", async () => {
  const s = await connected()
  const sub = s.pc.subscribe("news", { signal: AbortSignal.abort() }, () => assert.fail())
  assert.equal(await code(sub.ready), "closed")
  assert.equal(s.peer.all("unsubscribe").length, 1)
})

test("a refused subscription fails the loop and ready", async () => {
  const s = await connected()
  const sub = s.pc.subscribe("news")
  const { ended } = loop(sub)
  s.peer.refuse("subscribe", "forbidden")
  assert.equal(await code(sub.ready), "forbidden")
  assert.equal(await code(ended), "forbidden")
  assert.deepEqual(s.errors, [])
})

test("what the sidecar takes away later fails the loop, or ends it", async () => {
  const s = await connected()
  const { ended } = loop(s.pc.subscribe("news"))
  s.peer.ok("subscribe")
  s.peer.say({ type: "unsubscribed", channel: "news" })
  await ended
})

test("a message that wants an ack has it when the loop asks for the next", async () => {
  const s = await connected()
  const messages = s.pc.subscribe("news")[Symbol.asyncIterator]()
  s.peer.ok("subscribe")
  s.peer.message(undefined, { channel: "news", id: "m1", ack: true })
  assert.equal((await messages.next()).value.id, "m1")
  await settle()
  assert.equal(s.peer.all("ack").length, 0)
  void messages.next()
  await settle()
  assert.equal(s.peer.last("ack").message, "m1")
})

test("a loop that takes nothing is bounded", async () => {
  const s = await connected()
  const sub = s.pc.subscribe("news")
  s.peer.ok("subscribe")
  for (let n = 0; n <= 10_000; n++) s.peer.message(undefined, { channel: "news", data: n })
  assert.equal(s.peer.all("unsubscribe").length, 1)
  const { got, ended } = loop(sub)
  assert.equal(await code(ended), "queue_full")
  assert.equal(got.length, 10_001)
})
