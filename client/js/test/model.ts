// A sidecar as SPEC §4.3 describes it, in memory, with everything that can go wrong:
// frames that are lost with their connection, a Redis that is away, histories that are
// too short or lost, epochs that follow each other, messages left out for one client.
import type { Frame, Position } from "../src/frame.js"
import { Peer } from "./harness.js"

export type Random = (below: number) => number

/** Random numbers that are the same for the same seed. */
export function seeded(seed: number): Random {
  let x = seed * 2654435761 + 1
  return below => {
    x = (x + 0x6d2b79f5) | 0
    let t = Math.imul(x ^ (x >>> 15), 1 | x)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return Math.floor(((t ^ (t >>> 14)) >>> 0) / 2 ** 32 * below)
  }
}

interface Kept extends Position {
  /** Counts over all epochs; what the test compares. */
  serial: number
  /** Left out for this client. */
  hidden: boolean
  first: boolean
}

/** A stream with history. */
export class ModelStream {
  epoch = "e0"
  offset = 0
  serial = 0
  kept: Kept[] = []
  forks: Position[] = []
  #epochs = 0

  constructor(readonly name: string | undefined, readonly keep: number) {}

  publish(hidden: boolean): Kept {
    const first = this.offset === 0 || this.forks.at(-1)?.offset === this.offset
    const m = { offset: ++this.offset, epoch: this.epoch, serial: ++this.serial, hidden, first }
    this.kept.push(m)
    if (this.kept.length > this.keep) this.kept.shift()
    return m
  }

  /** The history is lost. */
  forget(): void {
    Object.assign(this, { epoch: `e${++this.#epochs}`, offset: 0, kept: [], forks: [] })
  }

  /** Another server goes on; nothing is lost. */
  fork(): void {
    this.forks.push(this.position)
    this.epoch = `e${++this.#epochs}`
  }

  get position(): Position {
    return { offset: this.offset, epoch: this.epoch }
  }

  /** What comes after a position; undefined: it cannot be told. */
  after({ offset, epoch }: Position): Kept[] | undefined {
    const end = epoch === this.epoch ? this.offset : this.forks.find(f => f.epoch === epoch)?.offset ?? -1
    const oldest = this.kept[0]?.offset ?? this.offset + 1
    if (offset > end || offset + 1 < oldest) return undefined
    return this.kept.filter(m => m.offset > offset)
  }
}

/** What the sidecar holds of one stream for one connection. */
interface Cursor {
  /** Where its live messages began. */
  begun: number
  /** The client knows the epoch: it was told, or came with a message. */
  told: boolean
}

/** The sidecar, as one client sees it. */
export class Model {
  peer: ModelPeer | undefined
  redis = true
  /** Where the client was when it first heard of its given channel. */
  begun: number | undefined
  /** Gaps that the sidecar told, by stream. */
  readonly told = new Map<string | undefined, number>()
  readonly streams: Map<string | undefined, ModelStream>
  readonly given: Set<string>
  readonly WebSocket: new (url: string, protocols: string[]) => ModelPeer

  constructor(readonly random: Random, streams: ModelStream[], given: string[]) {
    this.streams = new Map(streams.map(s => [s.name, s]))
    this.given = new Set(given)
    const model = this
    this.WebSocket = class extends ModelPeer {
      constructor(url: string, protocols: string[]) {
        super(url, protocols, model)
        model.peer = this
      }
    }
  }

  publish(name: string | undefined, hidden: boolean): void {
    const m = this.streams.get(name)!.publish(hidden)
    if (!hidden) this.peer?.live(name, m)
  }

  forget(name: string | undefined): void {
    const stream = this.streams.get(name)!
    stream.forget()
    this.peer?.lost(name)
  }
}

export class ModelPeer extends Peer {
  #model: Model
  #out: Frame[] = []
  #slow: Frame[][] = [] // recoveries that live messages may overtake
  #cursors = new Map<string | undefined, Cursor>()
  #welcomed = false

  constructor(url: string, protocols: string[], model: Model) {
    super(url, protocols)
    this.#model = model
  }

  override send(data: string): void {
    super.send(data)
    this.#answer(this.got.at(-1)!)
  }

  /** Moves on: the handshake, or some frames to the client. */
  step(): void {
    if (!this.#welcomed) return this.#welcome()
    for (const queue of this.#slow) if (this.#model.random(2)) this.#out.push(...queue.splice(0, 1 + this.#model.random(3)))
    this.#slow = this.#slow.filter(q => q.length)
    for (const frame of this.#out.splice(0, this.#model.random(6))) {
      this.say(frame)
      this.#model.begun ??= frame.serial
    }
  }

  live(name: string | undefined, m: Kept): void {
    const cursor = this.#cursors.get(name)
    if (!cursor) return
    this.#out.push({ ...this.#frame(name, m), ...(!cursor.told && { epoch: m.epoch }) })
    cursor.told = true
  }

  lost(name: string | undefined): void {
    // What was to be recovered is lost with it.
    this.#slow = this.#slow.map(queue => queue.filter(frame => frame.channel !== name))
    if (this.#cursors.has(name)) this.#gap(name)
  }

  #welcome(): void {
    this.#welcomed = true
    const { streams, given, redis } = this.#model
    const resume = this.resume
    const frame: Frame = { type: "welcome", connection_id: "c", user_id: "u", node_id: "n", ping_interval: 25, channels: {} }
    const gaps: (string | undefined)[] = []
    const then: Frame[] = []
    for (const [name, stream] of streams) {
      const at = name === undefined ? resume?.user : resume?.channels[name]
      if (name !== undefined && !given.has(name) && !at) continue
      const missed = at && stream.after(at)
      // Left out, but subscribed where it need not be read.
      if (!redis || (at && this.#model.random(10) === 0)) {
        if (name === undefined || given.has(name)) this.#cursors.set(name, { begun: stream.offset, told: false })
        continue
      }
      const place = { ...stream.position, ...(at && { recovered: !!missed }) }
      if (!at && name !== undefined) frame.serial = stream.serial
      if (name === undefined) frame.position = place
      else frame.channels[name] = place
      this.#cursors.set(name, { begun: stream.offset, told: true })
      if (missed) then.push(...this.#frames(name, missed, at))
      else if (at) gaps.push(name)
    }
    this.#out.push(frame, ...then)
    gaps.forEach(name => this.#gap(name))
  }

  #answer({ type, id, channel, position }: Frame): void {
    if (type === "unsubscribe") {
      this.#cursors.delete(channel)
      this.#out.push({ type: "ok", id, channel })
    }
    if (type !== "subscribe" && type !== "recover") return
    if (!this.#model.redis) return void this.#out.push({ type: "error", id, code: "unavailable", message: "" })
    const stream = this.#model.streams.get(channel)!
    const cursor = this.#cursors.get(channel)
    const missed = position && stream.after(position)
    const ok: Frame = { type: "ok", id, channel, position: stream.position, ...(position && { recovered: !!missed }) }
    this.#out.push(ok)
    if (position && !missed) this.#gap(channel)
    if (!cursor) {
      this.#cursors.set(channel, { begun: stream.offset, told: true })
      this.#out.push(...this.#frames(channel, missed ?? [], position))
    } else if (missed) {
      const frames = this.#frames(channel, missed.filter(m => m.offset <= cursor.begun || m.epoch !== stream.epoch), position)
      this.#slow.push(frames)
      if (this.#model.random(2)) this.#slow.push([...frames]) // asked for twice, handed out twice
    }
  }

  #gap(name: string | undefined): void {
    this.#model.told.set(name, (this.#model.told.get(name) ?? 0) + 1)
    this.#out.push({ type: "gap", channel: name, position: this.#model.streams.get(name)!.position })
  }

  #frames(name: string | undefined, kept: Kept[], after: Position | undefined): Frame[] {
    let epoch = after?.epoch
    return kept.filter(m => !m.hidden).map(m => {
      const frame = this.#frame(name, m)
      if (m.epoch !== epoch) frame.epoch = epoch = m.epoch
      return frame
    })
  }

  #frame(name: string | undefined, m: Kept): Frame {
    return { type: "message", id: `${m.serial}` as never, channel: name, data: m.serial, offset: m.offset, ...(m.first && { epoch: m.epoch }) }
  }
}
