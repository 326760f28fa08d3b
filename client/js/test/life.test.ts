import assert from "node:assert/strict"
import { test } from "node:test"
import { connected, pass, settle } from "./harness.js"

test("a quiet connection is asked for a sign of life after two ping intervals", async () => {
  const s = await connected({}, { ping_interval: 10 })
  await pass(19_999)
  assert.equal(s.peer.all("ping").length, 0)
  await pass(1)
  assert.equal(s.peer.all("ping").length, 1)
  s.peer.say({ type: "pong" })
  await pass(15_000)
  assert.equal(s.pc.state, "open")
  assert.equal(s.peer.all("ping").length, 1)
})

test("one that says something is not asked", async () => {
  const s = await connected({}, { ping_interval: 10 })
  for (let i = 0; i < 20; i++) {
    await pass(15_000)
    s.peer.message(undefined)
  }
  assert.equal(s.peer.all("ping").length, 0)
})

test("one that stays silent is given up and made anew", async () => {
  const s = await connected({}, { ping_interval: 10 })
  await pass(29_999)
  assert.equal(s.pc.state, "open")
  await pass(1)
  assert.deepEqual(s.closes.map(c => [c.code, c.reason]), [[3008, "no pong in time"]])
  assert.ok(s.peer.closed)
  await pass(1000)
  assert.equal(s.peers.length, 2)
})

test("any frame is a sign of life", async () => {
  const s = await connected({}, { ping_interval: 10 })
  await pass(25_000)
  s.peer.message(undefined)
  await pass(10_000)
  assert.equal(s.pc.state, "open")
  await pass(20_000)
  assert.notEqual(s.pc.state, "open")
})

test("without an interval in welcome it is 25 s", async () => {
  const s = await connected({}, { ping_interval: undefined })
  await pass(49_999)
  assert.equal(s.peer.all("ping").length, 0)
  await pass(1)
  assert.equal(s.peer.all("ping").length, 1)
})

// The events of a browser's window.
const page = new EventTarget()
const pageEvents = { addEventListener: page.addEventListener.bind(page), removeEventListener: page.removeEventListener.bind(page) }

test("when the network goes away or comes back the connection is probed", async t => {
  Object.assign(globalThis, pageEvents)
  t.after(() => { for (const name of Object.keys(pageEvents)) delete (globalThis as any)[name] })
  const s = await connected()
  page.dispatchEvent(new Event("offline"))
  page.dispatchEvent(new Event("offline"))
  assert.equal(s.peer.all("ping").length, 1)
  s.peer.say({ type: "pong" })
  await pass(20_000)
  assert.equal(s.pc.state, "open")
  page.dispatchEvent(new Event("online"))
  await pass(9_999)
  assert.equal(s.pc.state, "open")
  await pass(1)
  assert.deepEqual(s.closes.map(c => c.code), [3008])

  for (let i = 0; i < 8; i++) {
    await pass(30_000)
    s.peer.end(1006)
  }
  const { length } = s.peers
  page.dispatchEvent(new Event("offline"))
  await settle()
  assert.equal(s.peers.length, length)
  page.dispatchEvent(new Event("online"))
  await pass(500)
  assert.equal(s.peers.length, length + 1, "it does not wait for the next try")

  s.pc.close()
  page.dispatchEvent(new Event("online"))
  await pass(60_000)
  assert.equal(s.peers.length, length + 1)
})
