import assert from "node:assert/strict"
import { mock, test } from "node:test"
import { connected, scene, settle } from "./harness.js"

test("a message is confirmed once its handler has returned", async () => {
  const s = await connected()
  let finish!: () => void
  s.pc.subscribe("news", () => new Promise<void>(resolve => { finish = resolve }))
  s.peer.ok("subscribe")
  s.peer.message(undefined, { id: "a", channel: "news", ack: true })
  await settle()
  assert.deepEqual(s.peer.all("ack"), [])
  finish()
  await settle()
  assert.deepEqual(s.peer.all("ack"), [{ type: "ack", message: "a" }])
  s.peer.message(undefined, { id: "b", channel: "news" })
  finish()
  await settle()
  assert.equal(s.peer.all("ack").length, 1)
})

test("all listeners must have returned, and there must be one", async () => {
  const s = await connected()
  s.peer.message(undefined, { id: "a", ack: true })
  await settle()
  assert.deepEqual(s.peer.all("ack"), [])
  const finish: (() => void)[] = []
  for (let i = 0; i < 2; i++) s.pc.on("message", () => new Promise<void>(resolve => finish.push(resolve)))
  s.peer.message(undefined, { id: "b", ack: true })
  finish[0]!()
  await settle()
  assert.deepEqual(s.peer.all("ack"), [])
  finish[1]!()
  await settle()
  assert.deepEqual(s.peer.all("ack"), [{ type: "ack", message: "b" }])
})

test("what a handler throws is told, confirms nothing, and harms no other", async () => {
  const s = await connected()
  const got: unknown[] = []
  s.pc.on("message", () => { throw new Error("one") })
  s.pc.on("message", async () => { throw "two" })
  s.pc.on("message", m => got.push(m.data))
  s.peer.message(undefined, { id: "a", data: 1, ack: true })
  s.peer.message(undefined, { id: "b", data: 2 })
  await settle()
  assert.deepEqual(got, [1, 2])
  assert.deepEqual(s.errors.map(err => [err.code, err.message]), [
    ["handler", "a handler failed: one"], ["handler", "a handler failed: one"],
    ["handler", "a handler failed: two"], ["handler", "a handler failed: two"],
  ])
  assert.deepEqual(s.peer.all("ack"), [])
})

test("handlers are called in the order of messages, though some take longer", async () => {
  const s = await connected()
  const begun: unknown[] = []
  s.pc.on("message", async m => { begun.push(m.data); await settle() })
  for (let n = 1; n < 6; n++) s.peer.message(n)
  assert.deepEqual(begun, [1, 2, 3, 4, 5])
})

test("a handler that fails after the end of its connection confirms nothing there or elsewhere", async () => {
  const s = await connected()
  let finish!: () => void
  s.pc.on("message", () => new Promise<void>(resolve => { finish = resolve }))
  s.peer.message(undefined, { id: "a", ack: true })
  s.peer.end(1006)
  finish()
  await settle()
  assert.deepEqual(s.peer.all("ack"), [])
})

test("errors without a listener are written to the console, and so are those of error listeners", async () => {
  const written: any[] = []
  mock.method(console, "error", (err: unknown) => written.push(err))
  const s = await scene()
  s.pc.on("open", () => { throw new Error("in open") })
  s.pc.on("error", () => { throw new Error("in error") })
  s.pc.on("error", async () => { throw new Error("in error, later") })
  s.peer.welcome()
  await settle()
  assert.deepEqual(s.errors.map(err => err.message), ["a handler failed: in open"])
  assert.deepEqual(written.map(err => err.message), ["a handler failed: in error", "a handler failed: in error, later"])
})

test("without an error listener at all", async () => {
  const written: any[] = []
  mock.method(console, "error", (err: unknown) => written.push(err))
  const s = await scene()
  const { Pushcart } = await import("../src/index.js")
  const pc = new Pushcart("ws://sidecar.test/", { WebSocket: s.peer.constructor as any, token: () => { throw new Error("no") } })
  await settle()
  pc.close()
  assert.deepEqual(written.map(err => err.message), ["no token: no"])
})
