import assert from "node:assert/strict"
import { mock, test } from "node:test"
import { again, code, connected, jwt, now, pass, scene, settle, PushcartError } from "./harness.js"

const e = (offset: number, epoch = "e") => ({ offset, epoch })

test("the token goes where the sidecar looks for it", async () => {
  const token = () => "a.b-c_d"
  const query = await scene({ token })
  assert.deepEqual([query.peer.url.search, query.peer.protocols], ["?access_token=a.b-c_d", ["pushcart.json.v1"]])
  const named = await scene({ token, tokenSource: "query:jwt" })
  assert.equal(named.peer.url.search, "?jwt=a.b-c_d")
  const protocol = await scene({ token, tokenSource: "protocol" })
  assert.deepEqual([protocol.peer.url.search, protocol.peer.protocols], ["", ["pushcart.json.v1", "bearer.a.b-c_d"]])
  for (const nothing of ["", null, undefined]) {
    const none = await scene({ token: () => nothing })
    assert.deepEqual([none.peer.url.search, none.peer.protocols], ["", ["pushcart.json.v1"]])
  }
})

test("a token is asked for anew for each connection", async () => {
  let n = 0
  const s = await scene({ token: () => `t${++n}` })
  for (let i = 2; i < 6; i++) {
    await again(s)
    assert.equal(s.peer.url.searchParams.get("access_token"), `t${i}`)
  }
})

test("without a token it is tried again, and the error is told", async () => {
  const cause = new Error("the network is away")
  const answers = [() => { throw cause }, () => Promise.reject("no"), () => "t3"]
  const s = await scene({ token: () => answers.shift()!() })
  await pass(5000)
  assert.equal(s.peer.url.searchParams.get("access_token"), "t3")
  assert.deepEqual(s.errors.map(err => [err.code, err.cause]), [["token", cause], ["token", "no"]])
  assert.deepEqual(s.closes.map(c => [c.code, c.reason]), [[1006, "no token: the network is away"], [1006, "no token: no"]])
})

test("who has no token any more can say so, and it stays closed", async () => {
  const s = await scene({ token: () => { throw new PushcartError("unauthenticated", "log in again") } })
  assert.deepEqual(s.errors.map(err => err.message), ["log in again"])
  assert.deepEqual(s.closes, [{ code: 1006, reason: "log in again", retryIn: undefined }])
  assert.equal(s.pc.state, "closed")
})

test("a token that comes too late is of no use", async () => {
  const waits: ((token: string) => void)[] = []
  const s = await scene({ token: () => new Promise(resolve => waits.push(resolve)) })
  await pass(20_000) // given up
  await pass(1000)
  assert.equal(waits.length, 2)
  waits[0]!("late")
  await settle()
  assert.equal(s.peers.length, 0)
  waits[1]!("good")
  await settle()
  assert.deepEqual(s.peers.map(p => p.url.search), ["?access_token=good"])
})

test("before a token expires a new one is taken into use on the same connection", async () => {
  mock.method(Math, "random", () => 0)
  const tokens: string[] = []
  const token = () => {
    tokens.push(jwt({ sub: "κόσμε?>", exp: now() + 1000 }))
    return tokens.at(-1)!
  }
  const s = await connected({ token })
  for (let i = 1; i < 4; i++) {
    for (let n = 0; n < 13; n++) await pass(50_000), s.peer.say({ type: "pong" })
    assert.equal(tokens.length, i)
    await pass(49_999)
    assert.equal(tokens.length, i)
    await pass(1)
    assert.equal(s.peer.last("refresh").token, tokens.at(-1))
    assert.equal(tokens.length, i + 1)
    s.peer.ok("refresh", { expires_at: "2026-01-01T00:00:00Z" })
    await settle()
  }
  assert.equal(s.peers.length, 1)
  s.pc.close()
  await pass(10_000_000)
  assert.equal(tokens.length, 4)
})

test("renewals are spread", async () => {
  const at = new Set<number>()
  for (let i = 0; i < 20; i++) {
    const start = Date.now()
    const s = await connected({ token: () => jwt({ exp: now() + 100 }) }, { ping_interval: 1000 })
    const begun = now()
    while (!s.peer.all("refresh").length) await pass(500)
    at.add(now() - begun)
    assert.ok(now() - begun >= 70 && now() - begun <= 90.5, `${now() - begun}`)
    assert.ok(start)
  }
  assert.ok(at.size > 8, `${[...at]}`)
})

test("a renewal that fails for a reason that may pass is tried again; after another it is not", async () => {
  const s = await connected({ token: () => jwt({ exp: now() + 1000 }) }, { ping_interval: 100_000 })
  while (!s.peer.all("refresh").length) await pass(1000)
  s.peer.refuse("refresh", "unavailable")
  while (s.peer.all("refresh").length < 2) await pass(1000)
  assert.ok(now() < Date.UTC(2026, 0, 1) / 1000 + 1000)
  const tries = s.peer.all("refresh").length
  s.peer.refuse("refresh", "unauthenticated")
  await pass(10_000_000)
  assert.equal(s.peer.all("refresh").length, tries)
  assert.deepEqual([...new Set(s.errors.map(err => err.code))], ["unavailable", "unauthenticated"])
  assert.equal(s.pc.state, "open") // until the sidecar ends it
})

test("tries to renew do not become ever more as the end comes near", async () => {
  let n = 0
  const s = await connected({ token: () => { if (n++) throw new Error("away"); return jwt({ exp: now() + 1000 }) } }, { ping_interval: 100_000 })
  await pass(2_000_000)
  assert.ok(n > 2 && n < 15, `${n}`)
  assert.equal(s.errors.length, n - 1)
})

test("tokens without an end, and what is no JWT, are not renewed", async () => {
  for (const token of [jwt({ sub: "1" }), jwt({ exp: "soon" }), "opaque", "a.b.c", "..", jwt({ exp: 1 })]) {
    const s = await connected({ token: () => token }, { ping_interval: 1e6 })
    await pass(1e9)
    assert.deepEqual(s.peer.got, [], token)
  }
})

test("an end that is years away does not overflow the timer", async () => {
  const s = await connected({ token: () => jwt({ exp: now() + 1e9 }) }, { ping_interval: 1e6 })
  await pass(1e9)
  assert.deepEqual(s.peer.got, [])
})

test("a renewal that the end of the connection overtakes leads nowhere", async () => {
  const waits: ((token: string) => void)[] = []
  let n = 0
  const s = await connected({ token: () => n++ === 1 ? new Promise(resolve => waits.push(resolve)) : jwt({ exp: now() + 10 }) })
  await pass(9100)
  assert.equal(waits.length, 1)
  await again(s)
  s.peer.welcome()
  waits[0]!(jwt({ exp: now() + 10 }))
  await settle()
  assert.deepEqual(s.peer.got, [])
  await pass(9100)
  assert.equal(s.peer.all("refresh").length, 1)
  assert.deepEqual(s.errors, [])
})

test("a channel may have a token of its own; it is not resumed, and renewed", async () => {
  let n = 0
  const token = () => jwt({ channels: ["secret"], n: ++n, exp: now() + 100 })
  const s = await connected({}, { ping_interval: 1000 })
  const got: unknown[] = []
  const secret = s.pc.subscribe("secret", { token }, m => got.push(m.data))
  await settle()
  const { id, ...first } = s.peer.last("subscribe")
  assert.deepEqual(first, { type: "subscribe", channel: "secret", token: first.token })
  s.peer.ok("subscribe", { position: e(3) })
  await secret.ready
  s.peer.message(4, { channel: "secret" })
  await pass(91_000)
  const { id: _, ...renewal } = s.peer.last("subscribe")
  assert.notEqual(renewal.token, first.token)
  assert.deepEqual(Object.keys(renewal), ["type", "channel", "token"])
  s.peer.ok("subscribe", { position: e(9) }) // of now: it is live
  s.peer.message(5, { channel: "secret" })
  await again(s)
  assert.equal(s.peer.resume, undefined)
  s.peer.welcome({ ping_interval: 1000 })
  await settle()
  assert.deepEqual(s.peer.last("subscribe").position, e(5))
  s.peer.ok("subscribe", { position: e(6), recovered: true })
  s.peer.message(6, { channel: "secret" })
  assert.deepEqual(got, [4, 5, 6])
  assert.equal(n, 3)
})

test("a subscription whose token has expired is made anew with another, and misses nothing", async () => {
  const s = await connected()
  const got: unknown[] = []
  s.pc.subscribe("secret", { token: () => "opaque" }, m => got.push(m.data))
  await settle()
  s.peer.ok("subscribe", { position: e(3) })
  s.peer.say({ type: "unsubscribed", channel: "secret" })
  s.peer.message(4, { channel: "secret" }) // cannot be
  await pass(500)
  assert.equal(s.peer.all("subscribe").length, 2)
  assert.deepEqual(s.peer.last("subscribe").position, e(3))
  s.peer.ok("subscribe", { position: e(4), recovered: true })
  s.peer.message(4, { channel: "secret" })
  assert.deepEqual(got, [4])
})

test("a channel's token that cannot be had is tried again; one that is refused ends it", async () => {
  const answers = [() => { throw new Error("away") }, () => "bad"]
  const s = await connected()
  const secret = s.pc.subscribe("secret", { token: () => answers.shift()!() }, () => {})
  await settle()
  assert.deepEqual(s.peer.got, [])
  await pass(500)
  assert.equal(s.peer.last("subscribe").token, "bad")
  s.peer.refuse("subscribe", "unauthenticated")
  assert.equal(await code(secret.ready), "unauthenticated")
})

test("a channel's token that comes after the end of its connection is of no use there", async () => {
  const waits: ((token: string) => void)[] = []
  const s = await connected()
  const secret = s.pc.subscribe("secret", { token: () => new Promise(resolve => waits.push(resolve)) }, () => {})
  await again(s)
  s.peer.welcome()
  waits[0]!("late")
  await settle()
  assert.deepEqual(s.peer.got, [])
  waits[1]!("good")
  await settle()
  assert.equal(s.peer.last("subscribe").token, "good")
  secret.unsubscribe()
})

test("other errors of the client's own class are errors like any", async () => {
  const answers = [() => { throw new PushcartError("forbidden", "not today") }, () => "t2"]
  const s = await scene({ token: () => answers.shift()!() })
  await pass(500)
  assert.equal(s.peer.url.searchParams.get("access_token"), "t2")
  assert.deepEqual(s.errors.map(err => err.code), ["token"])
})

test("who has no token when it is time to renew keeps the old one to its end", async () => {
  let n = 0
  const s = await connected({ token: () => n++ ? null : jwt({ exp: now() + 100 }) })
  await pass(45_000)
  s.peer.say({ type: "pong" })
  await pass(54_000)
  assert.equal(n, 2)
  assert.deepEqual([s.peer.all("refresh"), s.errors], [[], []])
})

test("clocks that differ do not keep a token from being renewed, nor have it renewed all the time", async () => {
  for (const ahead of [-36_000, -100, 0, 50, 99, 36_000]) {
    const token = () => jwt({ iat: now() - ahead, exp: now() - ahead + 100 })
    const s = await connected({ token }, { ping_interval: 1000 })
    const begun = now()
    while (!s.peer.all("refresh").length) await pass(500)
    const after = now() - begun
    assert.ok(ahead > 0 && ahead < 100 ? after < 91 : after >= 70 && after < 91, `${ahead} s ahead: after ${after} s`)
    s.peer.ok("refresh")
    await pass(500)
    assert.ok(s.peer.all("refresh").length === 1)
  }
})
