import assert from "node:assert/strict"
import { mock, test } from "node:test"
import { again, code, connected, pass, scene, settle, PushcartError } from "./harness.js"

const codes: [code: number, reconnects: boolean][] = [
  [1000, false], [1001, true], [1002, false], [1005, true], [1006, true], [1007, false], [1009, false], [1011, true],
  [1012, true], [3000, false], [3003, false], [3008, true], [4000, true], [4001, false], [4100, false], [4500, false], [4999, false],
]
for (const [close, reconnects] of codes) {
  test(`close code ${close} ${reconnects ? "reconnects" : "does not reconnect"}`, async () => {
    const s = await connected()
    s.peer.end(close, "because")
    assert.equal(s.pc.state, reconnects ? "waiting" : "closed")
    const [{ retryIn, ...end }] = s.closes as [any]
    assert.deepEqual(end, { code: close, reason: "because" })
    assert.equal(retryIn !== undefined, reconnects)
    await pass(reconnects ? retryIn + 1 : 60_000)
    assert.equal(s.peers.length, reconnects ? 2 : 1)
  })
}

test("the app decides about codes of its own", async () => {
  const asked: unknown[] = []
  const s = await connected({ shouldReconnect: (...args) => asked.push(args) === 1 })
  await again(s, 4123)
  s.peer.welcome()
  s.peer.end(4124, "enough")
  assert.equal(s.pc.state, "closed")
  assert.deepEqual(asked, [[4123, ""], [4124, "enough"]])
})

test("a shouldReconnect that throws is an error, and no", async () => {
  const s = await connected({ shouldReconnect: () => { throw new Error("oops") } })
  s.peer.end(4100)
  assert.equal(s.pc.state, "closed")
  assert.deepEqual(s.errors.map(e => [e.code, (e.cause as Error).message]), [["handler", "oops"]])
})

test("after 3000 it connects with a new token", async () => {
  let n = 0
  const s = await connected({ token: async () => `t${++n}` })
  assert.equal(s.peer.url.searchParams.get("access_token"), "t1")
  await again(s, 3000)
  assert.equal(s.peer.url.searchParams.get("access_token"), "t2")
})

test("waits have full jitter between nothing and twice as much each time, to the cap", async () => {
  let random = 0
  mock.method(Math, "random", () => random)
  for (const share of [0, 0.5, 1]) {
    random = Math.min(share, 1 - 2 ** -53)
    const s = await scene()
    for (const most of [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]) {
      s.peer.end(1006)
      const { retryIn } = s.closes.at(-1)!
      assert.ok(Math.abs(retryIn! - most * share) < 0.001, `waits ${retryIn} of ${most}`)
      const { length } = s.peers
      await pass(Math.floor(retryIn! - 1))
      assert.equal(s.peers.length, length, "too early")
      await pass(2)
      assert.equal(s.peers.length, length + 1, "too late")
    }
    s.pc.close()
  }
})

test("waits are spread evenly", async () => {
  const s = await scene({ backoff: { base: 1000, cap: 1000 } })
  const tenths = new Array(10).fill(0)
  for (let i = 0; i < 2000; i++) {
    s.peer.end(1006)
    const { retryIn } = s.closes.at(-1)!
    tenths[Math.floor(retryIn! / 100)]++
    await pass(retryIn! + 1)
  }
  for (const n of tenths) assert.ok(n > 120 && n < 280, `${tenths}`)
})

test("a connection that lasts makes the next wait short again; one that does not last does not", async () => {
  mock.method(Math, "random", () => 0.999)
  const s = await scene()
  for (let i = 0; i < 5; i++) await again(s)
  s.peer.welcome()
  s.peer.end(1006)
  assert.ok(s.closes.at(-1)!.retryIn! > 10_000)
  await pass(30_000)
  s.peer.welcome()
  await pass(10_000)
  s.peer.end(1006)
  assert.ok(s.closes.at(-1)!.retryIn! < 500)
})

test("a node that restarts is left at once, with jitter, however often it failed before", async () => {
  mock.method(Math, "random", () => 0.999)
  const s = await scene()
  for (let i = 0; i < 5; i++) await again(s)
  s.peer.welcome()
  s.peer.end(1012)
  const { retryIn } = s.closes.at(-1)!
  assert.ok(retryIn! > 400 && retryIn! < 500)
})

test("a handshake without a welcome is given up", async () => {
  const s = await scene()
  await pass(19_999)
  assert.equal(s.pc.state, "connecting")
  await pass(1)
  assert.equal(s.pc.state, "waiting")
  assert.ok(s.peer.closed)
  assert.deepEqual(s.closes.map(c => [c.code, c.reason]), [[1006, "no welcome in time"]])
})

test("states and events come in order", async () => {
  const s = await scene()
  const seen: unknown[] = []
  s.pc.on("state", state => seen.push(state))
  s.pc.on("open", open => seen.push(open))
  s.pc.on("close", end => seen.push(end.code))
  s.peer.welcome()
  assert.equal(s.pc.state, "open")
  await again(s, 4000)
  s.pc.close()
  assert.ok(s.peer.closed)
  assert.deepEqual(seen, ["open", { connectionId: "c1", userId: "42", nodeId: "n1" }, "waiting", 4000, "connecting", "closed", 1000])
  await pass(60_000)
  assert.equal(s.peers.length, 2)
})

test("closed in any state it stays closed, until it is asked to connect", async () => {
  const s = await scene()
  s.pc.close()
  s.pc.close()
  assert.ok(s.peer.closed)
  s.peer.welcome() // too late
  assert.equal(s.pc.state, "closed")
  assert.equal(await code(s.pc.publish("chat", 1)), "closed")
  s.pc.connect()
  await settle()
  s.peer.welcome()
  assert.equal(s.pc.state, "open")
  s.peer.end(1006)
  s.pc.close()
  await pass(60_000)
  assert.equal(s.peers.length, 2)
  assert.deepEqual(s.closes.map(c => [c.code, c.retryIn === undefined]), [[1000, true], [1006, false], [1000, true]])
})

test("connect does not wait for the next try", async () => {
  const s = await scene()
  for (let i = 0; i < 6; i++) await again(s)
  s.peer.end(1006)
  s.pc.connect()
  s.pc.connect()
  await settle()
  assert.equal(s.peers.length, 8)
  await pass(19_000)
  assert.equal(s.peers.length, 8)
})

test("a listener may close the client wherever it is called", async () => {
  for (const event of ["state", "open", "close", "gap"] as const) {
    const s = await scene({ position: { offset: 1, epoch: "a" } })
    s.pc.on(event, () => s.pc.close())
    if (event !== "close") s.peer.welcome({ position: { offset: 9, epoch: "b" } })
    if (event === "close") s.peer.end(1006)
    assert.equal(s.pc.state, "closed", event)
    await pass(60_000)
    assert.equal(s.peers.length, 1, event)
  }
})

test("a URL may be relative to nothing only if it is whole", async () => {
  const s = await scene()
  const { WebSocket } = { WebSocket: s.peer.constructor as any }
  const { Pushcart } = await import("../src/index.js")
  assert.throws(() => new Pushcart("/_push", { WebSocket }), TypeError)
  assert.throws(() => new Pushcart("ws://x/", { WebSocket: null as any }), /WebSocket/)
  const http = new Pushcart("https://app.test/_push?a=1", { WebSocket })
  await settle()
  assert.equal(s.peer.url.href, "wss://app.test/_push?a=1")
  assert.deepEqual(s.peer.protocols, ["pushcart.json.v1"])
  http.close()
})

test("a socket that cannot be made ends it, with the cause", async () => {
  const s = await scene({ WebSocket: class { constructor() { throw new SyntaxError("mixed content") } } as any })
  assert.equal(s.pc.state, "closed")
  assert.deepEqual(s.errors.map(e => [e instanceof PushcartError, e.code, e.message]), [[true, "invalid_argument", "mixed content"]])
  assert.equal(s.closes[0]!.retryIn, undefined)
})

test("what is no frame ends the connection for good", async () => {
  for (const data of ["hello", "null", ""]) {
    const s = await connected()
    s.peer.onmessage!({ data })
    assert.deepEqual(s.closes.map(c => [c.code, c.retryIn]), [[1002, undefined]], data)
  }
})
