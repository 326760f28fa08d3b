// A scripted sidecar in memory.
import assert from "node:assert/strict"
import { afterEach, mock } from "node:test"
import type { Closed, Options, Position, Pushcart } from "../src/index.js"
import type { Frame } from "../src/frame.js"
import type { WebSocketLike } from "../src/socket.js"
import * as clock from "./clock.js"
import { pass, settle } from "./clock.js"

export { pass, settle }

/** The client that is tested: of the sources, or as it is built (BUILT=1). */
const tested: typeof import("../src/index.js") = await import(process.env.BUILT ? new URL("../../dist/pushcart.js", import.meta.url).href : "../src/index.js")
export const { PushcartError } = tested
export type PushcartError = import("../src/index.js").PushcartError

/** The sidecar's end of one connection. */
export class Peer implements WebSocketLike {
  onmessage: ((event: any) => void) | null = null
  onclose: ((event: any) => void) | null = null
  onerror: ((event: any) => void) | null = null
  readonly url: URL
  /** What came from the client, oldest first. */
  readonly got: Frame[] = []
  closed = false

  constructor(url: string, readonly protocols: string[], readonly closes: () => void = () => {}) {
    this.url = new URL(url)
  }

  send(data: string): void {
    assert.ok(!this.closed, "sent on a closed socket")
    this.got.push(JSON.parse(data))
  }

  close(): void {
    this.closed = true
    this.closes()
  }

  /** Writes a frame to the client. */
  say(frame: object): void {
    if (!this.closed) this.onmessage?.({ data: JSON.stringify(frame) })
  }

  welcome(more: object = {}): void {
    this.say({ type: "welcome", connection_id: "c1", user_id: "42", node_id: "n1", ping_interval: 25, ...more })
  }

  message(offset: number | undefined, more: object = {}): void {
    this.say({ type: "message", id: `m${offset}`, data: offset, offset, ...more })
  }

  /** Ends the connection. */
  end(code = 1006, reason = ""): void {
    this.closed = true
    this.onclose?.({ code, reason })
  }

  /** The requests of a type. */
  all(type: string): Frame[] {
    return this.got.filter(f => f.type === type)
  }

  /** The newest request of a type. */
  last(type: string): Frame {
    const frame = this.all(type).at(-1)
    assert.ok(frame, `no ${type} came: ${JSON.stringify(this.got)}`)
    return frame
  }

  /** Answers the newest request of a type. */
  ok(type: string, more: object = {}): void {
    const { id, channel } = this.last(type)
    this.say({ type: "ok", id, channel, ...more })
  }

  refuse(type: string, code: string): void {
    this.say({ type: "error", id: this.last(type).id, code, message: code })
  }

  /** What the handshake resumes. */
  get resume(): { user?: Position; channels: Record<string, Position> } | undefined {
    const text = this.url.searchParams.get("resume")
    return text === null ? undefined : JSON.parse(Buffer.from(text, "base64url").toString())
  }
}

/** A client, and the connections that it makes. */
export interface Scene {
  pc: Pushcart
  peers: Peer[]
  /** The newest connection. */
  peer: Peer
  /** What the client told, oldest first. */
  closes: Closed[]
  errors: PushcartError[]
  gaps: { channel?: string; position?: Position }[]
}

let clients: Pushcart[] = []

/** Begins with a client whose first connection waits for its welcome. */
export async function scene(options: Options = {}): Promise<Scene> {
  clock.stop()
  const peers: Peer[] = [], closes: Closed[] = [], errors: PushcartError[] = [], gaps: Scene["gaps"] = []
  class Socket extends Peer {
    constructor(url: string, protocols: string[]) {
      super(url, protocols)
      peers.push(this)
    }
  }
  const pc = new tested.Pushcart("ws://sidecar.test/_push", { WebSocket: Socket, ...options })
  clients.push(pc)
  pc.on("close", end => closes.push(end))
  pc.on("error", err => errors.push(err))
  pc.on("gap", gap => gaps.push(gap))
  await settle()
  return { pc, peers, closes, errors, gaps, get peer() { return peers.at(-1)! } }
}

/** The same, connected. */
export async function connected(options: Options = {}, welcome: object = {}): Promise<Scene> {
  const s = await scene(options)
  s.peer.welcome(welcome)
  return s
}

/** Ends the connection, and waits until there is another. */
export async function again(s: Scene, code = 1006): Promise<Peer> {
  const { length } = s.peers
  s.peer.end(code)
  await pass(s.closes.at(-1)!.retryIn! + 1)
  assert.equal(s.peers.length, length + 1, "another connection")
  return s.peer
}

/** The code of what a promise rejects with; undefined if it resolves. */
export async function code(promise: Promise<unknown>): Promise<string | undefined> {
  try {
    await promise
    return undefined
  } catch (err) {
    return (err as PushcartError).code
  }
}

/** A JWT that nobody signed. */
export function jwt(claims: object): string {
  const part = (o: object) => Buffer.from(JSON.stringify(o)).toString("base64url")
  return `${part({ alg: "HS256" })}.${part(claims)}.c2ln`
}

/** Now, in seconds, as tokens have it. */
export const now = (): number => Date.now() / 1000

const unhandled: unknown[] = []
process.on("unhandledRejection", err => unhandled.push(err))

afterEach(async () => {
  for (const pc of clients) pc.close()
  clients = []
  await settle()
  const left = clock.running()
  clock.resume()
  mock.restoreAll()
  assert.deepEqual(unhandled.splice(0), [], "unhandled rejections")
  assert.equal(left, 0, "timers that a closed client leaves behind")
})
