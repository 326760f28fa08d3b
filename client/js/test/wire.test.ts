// The built file over real sockets: with the WebSocket of ws, and with Node's own.
import assert from "node:assert/strict"
import { once } from "node:events"
import { type IncomingMessage, STATUS_CODES, createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { type TestContext, test } from "node:test"
import { WebSocket as WsSocket, WebSocketServer, type WebSocket as Ws } from "ws"
import type * as client from "../src/index.js"

const { Pushcart, PushcartError }: typeof client = await import(new URL("../../dist/pushcart.js", import.meta.url).href)

interface Visit {
  socket: Ws
  request: IncomingMessage
  got: any[]
  say(frame: object): void
}

/** A server that welcomes whom it does not refuse, and answers as the test says. */
async function server(t: TestContext, answer: (visit: Visit, frame: any) => void = () => {}) {
  const visits: Visit[] = []
  const refusals: number[] = []
  const http = createServer()
  const wss = new WebSocketServer({ noServer: true, handleProtocols: offered => [...offered][0]! })
  http.on("upgrade", (request, socket, head) => {
    const status = refusals.shift()
    if (status) return void socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Length: 0\r\n\r\n`)
    wss.handleUpgrade(request, socket, head, ws => {
      const visit: Visit = { socket: ws, request, got: [], say: frame => ws.send(JSON.stringify(frame)) }
      visits.push(visit)
      visit.say({ type: "welcome", connection_id: `c${visits.length}`, user_id: "42", node_id: "n", ping_interval: 25, channels: {} })
      ws.on("message", data => {
        const frame = JSON.parse(String(data))
        visit.got.push(frame)
        answer(visit, frame)
      })
    })
  })
  http.listen(0, "127.0.0.1")
  await once(http, "listening")
  t.after(() => {
    for (const { socket } of visits) socket.terminate()
    http.close()
  })
  return { visits, refusals, url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/_push` }
}

/** A client that is closed with the test, with what it told. */
function open(t: TestContext, url: string, options: client.Options) {
  const pc = new Pushcart(url, { backoff: { base: 10 }, ...options })
  t.after(() => pc.close())
  const closes: client.Closed[] = []
  pc.on("close", end => closes.push(end))
  return { pc, closes, next: <K extends keyof client.Events>(type: K) => new Promise<client.Events[K]>(resolve => { const off = pc.on(type, v => { off(); resolve(v) }) }) }
}

const classes: [string, any][] = [["ws", WsSocket]]
if ((globalThis as any).WebSocket) classes.push(["Node", (globalThis as any).WebSocket])

for (const [name, WebSocket] of classes) {
  test(`${name}: a handshake, a request, a subscription and the end`, async t => {
    const s = await server(t, (visit, { type, id, channel, data }) => {
      if (type === "message") visit.say({ type: "reply", id, data: [data] })
      if (type !== "subscribe") return
      visit.say({ type: "ok", id, channel, position: { offset: 4, epoch: "e" } })
      visit.say({ type: "message", id: "m", channel, data: "live", offset: 5, time: "2026-01-01T00:00:00.000Z", ack: true })
    })
    const { pc, next, closes } = open(t, s.url, { WebSocket, token: () => "a.b.c" })
    const message = new Promise(resolve => pc.subscribe("news", resolve))
    assert.deepEqual(await next("open"), { connectionId: "c1", userId: "42", nodeId: "n" })
    assert.deepEqual(await pc.request({ x: 1 }), [{ x: 1 }])
    assert.equal((await message as client.Message).data, "live")
    const [{ request, got, socket }] = s.visits as [Visit]
    assert.equal(request.url, "/_push?access_token=a.b.c")
    assert.equal(request.headers["sec-websocket-protocol"], "pushcart.json.v1")
    while (got.length < 3) await once(socket, "message")
    assert.deepEqual(got.map(f => f.type), ["subscribe", "message", "ack"])
    const closed = once(socket, "close")
    pc.close()
    assert.equal((await closed)[0], 1000)
    assert.deepEqual(closes, [{ code: 1000, reason: "", retryIn: undefined }])
  })

  test(`${name}: a refused handshake is tried again`, async t => {
    const s = await server(t)
    s.refusals.push(401, 503, 429, 500)
    const { closes, next } = open(t, s.url, { WebSocket })
    await next("open")
    assert.deepEqual(closes.map(c => c.code), [1006, 1006, 1006, 1006])
    if (name === "ws") assert.match(closes[0]!.reason, /401/)
  })

  test(`${name}: a connection that breaks off is made anew, with the position`, async t => {
    const s = await server(t, (visit, { type, id, channel }) => {
      if (type === "subscribe") visit.say({ type: "ok", id, channel, position: { offset: 4, epoch: "e" } })
    })
    const { pc, next, closes } = open(t, s.url, { WebSocket })
    await pc.subscribe("κόσμε", () => {}).ready
    const under = pc.request(1)
    s.visits[0]!.socket.terminate()
    await assert.rejects(under, (err: any) => err instanceof PushcartError && err.code === "disconnected")
    await next("open")
    assert.equal(closes[0]!.code, 1006)
    const resume = new URL(s.visits[1]!.request.url!, s.url).searchParams.get("resume")!
    assert.deepEqual(JSON.parse(Buffer.from(resume, "base64url").toString()), { channels: { κόσμε: { offset: 4, epoch: "e" } } })
  })

  test(`${name}: close codes come through`, async t => {
    const s = await server(t)
    const { next, closes, pc } = open(t, s.url, { WebSocket })
    await next("open")
    s.visits[0]!.socket.close(1012, "restart")
    await next("open")
    s.visits[1]!.socket.close(4001, "another tab")
    await next("close")
    assert.deepEqual(closes.map(c => [c.code, c.reason]), [[1012, "restart"], [4001, "another tab"]])
    assert.equal(pc.state, "closed")
  })

  test(`${name}: closed while the handshake is under way it throws nothing`, async t => {
    const s = await server(t)
    const { pc, closes } = open(t, s.url, { WebSocket })
    await new Promise(resolve => setTimeout(resolve))
    pc.close()
    await new Promise(resolve => setTimeout(resolve, 50))
    assert.deepEqual(closes.map(c => c.code), [1000])
  })

  test(`${name}: nobody there`, async t => {
    const { next, pc } = open(t, "ws://127.0.0.1:1/", { WebSocket })
    assert.equal((await next("close")).code, 1006)
    assert.equal(pc.state, "waiting")
  })
}
