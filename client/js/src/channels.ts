import type { Backoff } from "./backoff.js"
import { Channel } from "./channel.js"
import { PushcartError, transient } from "./error.js"
import { type Frame, type Message, type Position, type Recovered, base64url, memberOf, messageOf } from "./frame.js"
import type { Emit } from "./events.js"
import type { Done } from "./requests.js"
import { type Handler, type SubscribeOptions, type Subscriber, type Subscription, feed } from "./subscription.js"
import { ask, expiry, renewIn } from "./token.js"

/** The bounds of `?resume=`. */
const STREAMS = 64, BYTES = 8192

/** What the channels need of the client. */
export interface ChannelEvents {
  /** Sends a request on the open connection. */
  ask(frame: Frame, done: Done): void
  /** Makes a new connection. */
  renew(reason: string): void
  hand(m: Message, handler: Handler | undefined): void
  emit: Emit
}

/** Where an earlier client was. */
export interface Positions {
  user?: Position
  channels?: Record<string, Position>
}

/** All channels, and the user's own stream, over all connections. */
export class Channels {
  readonly user: Channel
  #all = new Map<string, Channel>()
  #resumed = new Set<Channel>()
  #connection: object | undefined // what comes for another one comes late
  #earlier: Record<string, Position>
  #backoff: Backoff
  #events: ChannelEvents

  constructor(backoff: Backoff, { user, channels = {} }: Positions, events: ChannelEvents) {
    this.#earlier = channels
    this.#backoff = backoff
    this.#events = events
    this.user = this.#new()
    this.user.given = true
    this.user.begin(user)
  }

  /** Without a handler it can be iterated. */
  subscribe(name: string, options: SubscribeOptions, handler?: Handler): Omit<Subscription, "presence"> {
    let ch = this.#all.get(name)
    if (ch?.subscriber) throw new PushcartError("conflict", undefined, { channel: name })
    if (!ch?.given || ch.leaving) {
      ch = this.#add(name)
      ch.begin(options.position ?? this.#earlier[name])
      delete this.#earlier[name]
    }
    const own = ch
    const end = (err?: PushcartError) => this.#unsubscribe(own, subscriber, err)
    const unsubscribe = () => end()
    const loop = handler ? undefined : feed(end)
    let subscriber!: Subscriber
    const ready = new Promise<Position | undefined>((resolve, reject) => {
      own.subscriber = subscriber = { ...options, handler: handler ?? loop!.handler, resolve, reject, ready: false, end: loop?.end }
    })
    if (this.#connection) this.#subscribe(own)
    ready.catch(() => {}) // whoever does not look need not handle it
    options.signal?.addEventListener("abort", unsubscribe)
    if (options.signal?.aborted) end()
    return {
      ...loop,
      channel: name,
      ready,
      get position() { return own.position },
      unsubscribe,
    }
  }

  /** Where this client is, for a later one. */
  positions(): Positions {
    return this.#at(this.#streams(), this.#earlier)
  }

  #at(streams: Channel[], earlier?: Record<string, Position>): Positions {
    const channels = Object.fromEntries(streams.filter(ch => ch.name).map(ch => [ch.name, ch.position]))
    return { user: this.user.position, channels: { ...earlier, ...channels } }
  }

  /** What the next handshake resumes: the streams with positions, as many as fit. */
  resume(): string | undefined {
    const streams = this.#streams().filter(ch => ch.position && !ch.asks && !ch.subscriber?.token)
    // What the sidecar subscribes by itself comes in one order only so.
    streams.sort((a, b) => +!a.given - +!b.given).splice(STREAMS)
    let text: string | undefined
    while (streams.length && (text = base64url(this.#at(streams))).length > BYTES) streams.pop()
    this.#resumed = new Set(streams)
    return text
  }

  welcome(frame: Frame): void {
    this.#connection = {}
    if (frame.position) this.#welcomed(this.user, frame.position)
    for (const [name, position] of Object.entries<Recovered>(frame.channels ?? {})) {
      this.#welcomed(this.#all.get(name) ?? this.#add(name), position)
    }
    for (const [name, code] of Object.entries<string>(frame.refused ?? {})) {
      const ch = this.#all.get(name)
      if (ch && code === "ask") ch.asks = true
      else if (ch) this.#over(ch, new PushcartError(code, undefined, { channel: name }))
    }
    for (const ch of this.#streams()) {
      // Left out: what is given may come all the same.
      if (!ch.live && ch.given && ch.position) ch.wanted = {}
      if (ch.subscriber || ch.wanted) this.#subscribe(ch)
    }
  }

  /** A frame that answers nothing. */
  frame(frame: Frame): void {
    const { type, channel: name, position } = frame
    const ch = name ? this.#all.get(name) ?? this.#add(name) : this.user
    if (ch.leaving) return
    // What nobody here asked for the sidecar has subscribed by itself.
    if (!ch.subscriber) ch.given = true
    if (type === "subscribed") this.#subscribed(ch, position)
    else if (type === "unsubscribed") this.#unsubscribed(ch)
    else if (!ch.live && !ch.given) return
    else if (type === "gap") ch.skip(position)
    else if (type === "message") ch.take(messageOf(frame))
    // join, leave, presence
    else this.#events.emit(type as "join", { ...memberOf(frame), users: frame.users?.map(memberOf) } as any)
  }

  /** The connection is gone; there is no next one, unless the app asks for it, if `closed`. */
  lost(closed: boolean): void {
    this.#connection = undefined
    for (const ch of this.#streams()) {
      const { name, subscriber } = ch
      ch.lost()
      if (name && (ch.leaving || (!subscriber && !ch.position))) this.#all.delete(name)
      if (closed && subscriber?.end) this.#over(ch)
      else if (closed && subscriber && !subscriber.ready) subscriber.reject(new PushcartError("closed"))
    }
  }

  #streams(): Channel[] {
    return [this.user, ...this.#all.values()]
  }

  #add(name: string): Channel {
    const ch = this.#new(name)
    this.#all.set(name, ch)
    return ch
  }

  #new(name?: string): Channel {
    const ch: Channel = new Channel(name, {
      hand: m => this.#events.hand(m, ch.subscriber?.handler),
      missed: position => this.#events.emit("gap", { channel: name, position }),
      overtaken: m => this.#overtaken(ch, m),
    })
    return ch
  }

  // A message came before older ones of its stream.
  #overtaken(ch: Channel, m: Message): void {
    if (this.#resumed.has(ch)) return this.#events.renew("out of order")
    ch.lose({ offset: m.offset! - 1, epoch: m.epoch! })
    ch.take(m)
  }

  // In welcome: the sidecar has subscribed it, by itself or as the handshake asked.
  #welcomed(ch: Channel, position: Recovered): void {
    if (!this.#resumed.has(ch)) return this.#given(ch, position)
    ch.live = true
    ch.recover(position, position.recovered)
  }

  // The sidecar has subscribed it by itself.
  #given(ch: Channel, position: Position | undefined): void {
    ch.live = ch.given = true
    if (ch.position) ch.wanted = {}
    else ch.begin(position)
  }

  #subscribe(ch: Channel): void {
    const { subscriber } = ch, connection = this.#connection
    if (!subscriber?.token) return ch.live && !ch.wanted ? this.#ready(ch) : this.#ask(ch)
    const current = () => connection === this.#connection && subscriber === ch.subscriber
    ask(subscriber.token).then(token => { if (current()) this.#ask(ch, token) }, err => { if (current()) this.#refused(ch, err) })
  }

  #ask(ch: Channel, token?: string | null): void {
    if (!this.#connection) return // a listener has ended it meanwhile
    const { name, live } = ch
    const position = live && !ch.wanted ? undefined : ch.position
    const recent = live || position ? undefined : ch.subscriber?.recent
    const type = ch === this.user ? "recover" : "subscribe"
    ch.asking = true
    this.#events.ask({ type, channel: name, position, recent, token: token ?? undefined }, (err, ok) => {
      ch.asking = false
      if (ch.leaving) return
      if (err) return this.#refused(ch, err)
      if (position) ch.recover(ok.position, ok.recovered)
      else if (!ch.live) ch.begin(ok.position, recent !== undefined)
      ch.live = true
      ch.later(() => this.#subscribe(ch), renewIn(expiry(token)))
      this.#ready(ch)
    })
  }

  #refused(ch: Channel, err: PushcartError): void {
    if (err.code === "disconnected" || err.code === "closed") return
    err.channel = ch.name
    if (transient(err)) return ch.later(() => this.#subscribe(ch), this.#backoff)
    if (!ch.live && ch !== this.user) return this.#over(ch, err)
    // It goes on; only what was missed cannot be had.
    if (ch.wanted) ch.lose(ch.position)
    this.#events.emit("error", err)
    this.#ready(ch)
  }

  #ready(ch: Channel): void {
    const { subscriber } = ch
    if (!subscriber || subscriber.ready) return
    subscriber.ready = true
    subscriber.resolve(ch.position)
  }

  // There is no subscription any more. Without err the app hears of it otherwise.
  #over(ch: Channel, err?: PushcartError): void {
    const { subscriber } = ch
    this.#all.delete(ch.name!)
    ch.lost()
    ch.subscriber = undefined
    if (subscriber && !subscriber.ready) subscriber.reject(err ?? new PushcartError("closed"))
    if (subscriber?.end) subscriber.end(err)
    else if (err && subscriber?.ready) this.#events.emit("error", err)
    else if (err && !subscriber) this.#events.emit("unsubscribed", { channel: ch.name! }) // what the sidecar gave it took away
  }

  #unsubscribe(ch: Channel, subscriber: Subscriber, err?: PushcartError): void {
    if (ch.subscriber !== subscriber) return
    this.#over(ch, err)
    if (!this.#connection) return
    // Until the answer, what still comes is kept from those who come next.
    this.#all.set(ch.name!, ch)
    ch.leaving = true
    this.#events.ask({ type: "unsubscribe", channel: ch.name }, err => {
      if (!err && this.#all.get(ch.name!) === ch) this.#all.delete(ch.name!)
    })
  }

  #subscribed(ch: Channel, position: Position | undefined): void {
    this.#events.emit("subscribed", { channel: ch.name! })
    if (ch.live) return
    this.#given(ch, position)
    if (!ch.asking) this.#subscribe(ch)
  }

  #unsubscribed(ch: Channel): void {
    this.#events.emit("unsubscribed", { channel: ch.name! })
    ch.live = ch.given = false
    if (ch.asking) return
    if (ch.subscriber?.token) ch.later(() => this.#subscribe(ch), this.#backoff)
    else this.#over(ch)
  }
}
