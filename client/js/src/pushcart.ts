import type { Backoff } from "./backoff.js"
import { Channels, type Positions } from "./channels.js"
import { PushcartError } from "./error.js"
import type { Emit, Events } from "./events.js"
import { type Frame, type Member, type Message, type Position, dataOf, memberOf, messageOf, payload } from "./frame.js"
import { Link, type Closed, type State } from "./link.js"
import { type Done, type RequestOptions, type Requests, requests } from "./requests.js"
import type { WebSocketClass } from "./socket.js"
import type { Handler, Messages, SubscribeOptions, Subscription } from "./subscription.js"
import { type TokenSource } from "./token.js"

export interface Options {
  /** Gives a token; asked again for each connection, and before the token expires. Falsy: none is sent. */
  token?: TokenSource
  /** Where it goes, as in the sidecar's `auth.jwt.sources`: `query:NAME` (default `query:access_token`) or `protocol`. */
  tokenSource?: "protocol" | `query:${string}`
  /** The user's own stream is recovered from here: `position` of an earlier client. */
  position?: Position
  /**
   * Where the positions are kept when the page goes: with `sessionStorage` a reload goes on
   * where it was, as if the connection had only been lost.
   */
  storage?: Store
  /** For close codes 4100–4999, and 3000 without `token`; default: no. */
  shouldReconnect?: (code: number, reason: string) => boolean
  /** Milliseconds that a request may take; default 30,000. */
  timeout?: number
  /** How many requests may wait for a connection; default 100. */
  queue?: number
  /** Waits before the next connection; default `{ base: 500, cap: 30_000 }`. */
  backoff?: Partial<Backoff>
  /** Where there is no global one (Node before 22): that of the package `ws`. */
  WebSocket?: WebSocketClass
}

/** What the client needs of a `Storage`. */
export interface Store {
  getItem(key: string): string | null
  setItem(key: string, value: string): void
}

export interface PresenceOptions extends RequestOptions {
  /** The `next` of the page before. */
  cursor?: string
}

/** Who is subscribed to a channel, in the order of their ids, at most 1,000. */
export interface Presence {
  users: Member[]
  /** How many there are. */
  total: number
  /** The cursor of the page after, if there is one. */
  next?: string
}

export interface PublishOptions extends RequestOptions {
  event?: string
}

export interface HistoryOptions extends RequestOptions {
  after?: Position
  limit?: number
}

export interface History {
  messages: Message[]
  position?: Position
  /** There are more after these. */
  more: boolean
}

/**
 * A client of pushcart.json.v1. It connects at once, and again whenever the connection
 * is lost for a reason that may pass.
 */
export class Pushcart {
  #listeners = new Map<string, Set<(value: any) => unknown>>()
  #link: Link
  #requests: Requests
  #channels: Channels
  #timeout: number

  /** `url` may be relative to the page, and `http` as well as `ws`. */
  constructor(url: string | URL, options: Options = {}) {
    const { storage, shouldReconnect, WebSocket = (globalThis as any).WebSocket, tokenSource = "query:access_token" } = options
    if (!WebSocket) throw new TypeError("no WebSocket")
    const backoff = { base: 500, cap: 30_000, ...options.backoff }
    this.#timeout = options.timeout ?? 30_000
    this.#requests = requests(options.queue ?? 100, text => this.#link.send(text))
    const emit: Emit = (type, value) => this.#emit(type, value)
    const address = new URL(url, globalThis.location?.href), key = address.href
    const { user, channels }: Positions = JSON.parse(storage?.getItem(key) || "{}")
    const keep = () => storage?.setItem(key, JSON.stringify(this.#channels.positions()))
    this.#channels = new Channels(backoff, { user: options.position ?? user, channels }, {
      ask: (frame, done) => this.#requests.add(frame, true, done),
      renew: reason => this.#link.renew(reason),
      hand: (m, handler) => void this.#hand(m, handler ? [handler] : this.#of("message")),
      emit,
    })
    address.protocol = address.protocol.replace("http", "ws")
    this.#link = new Link(address, {
      ...options, tokenSource, backoff, WebSocket,
      again: (code, reason) => {
        try {
          return !!shouldReconnect?.(code, reason)
        } catch (err) {
          return this.#thrown(err)
        }
      },
    }, {
      resume: () => this.#channels.resume(),
      opened: welcome => this.#opened(welcome),
      frame: frame => this.#frame(frame),
      closed: end => {
        keep()
        this.#closed(end)
      },
      leaving: keep,
      emit,
      refresh: token => this.#request({ type: "refresh", token }, {}, () => {}),
    })
    this.connect()
  }

  get state(): State {
    return this.#link.phase
  }

  /** The position of the user's own stream, where users have history. */
  get position(): Position | undefined {
    return this.#channels.user.position
  }

  /** Calls `listener` for each event of the type until the returned function is called. */
  on<K extends keyof Events>(type: K, listener: (value: Events[K]) => unknown): () => void {
    const set = this.#of(type).add(listener)
    this.#listeners.set(type, set)
    return () => void set.delete(listener)
  }

  /** Connects again after the end, or at once instead of after the wait. */
  connect(): void {
    this.#link.connect()
  }

  /** Ends the connection for good. Requests that wait are rejected with `closed`, those under way with `disconnected`. */
  close(): void {
    this.#link.close()
  }

  /** Subscribes a channel until it is unsubscribed, over all connections. One subscription a channel. */
  subscribe(channel: string, handler: Handler): Subscription
  subscribe(channel: string, options: SubscribeOptions, handler: Handler): Subscription
  subscribe(channel: string, options?: SubscribeOptions): Messages
  subscribe(channel: string, options: SubscribeOptions | Handler = {}, handler?: Handler): Subscription {
    if (typeof options === "function") return this.subscribe(channel, {}, options)
    return Object.assign(this.#channels.subscribe(channel, options, handler), {
      presence: (options?: PresenceOptions) => this.presence(channel, options),
    })
  }

  /** Publishes to a channel. The position is there where the channel keeps history. */
  publish(channel: string, data: unknown, options: PublishOptions = {}): Promise<{ position?: Position }> {
    return this.#publish({ channel }, data, options)
  }

  /** Publishes to a user. */
  publishToUser(user: string, data: unknown, options: PublishOptions = {}): Promise<{ position?: Position }> {
    return this.#publish({ user }, data, options)
  }

  /** Asks the backend. Resolves with its reply, `undefined` if that is empty. */
  request<T = any>(data?: unknown, options: PublishOptions = {}): Promise<T> {
    return this.#request({ type: "message", event: options.event, ...payload(data) }, options, dataOf)
  }

  /** Messages that a channel keeps. */
  history(channel: string, { after, limit, ...options }: HistoryOptions = {}): Promise<History> {
    return this.#request({ type: "history", channel, after, limit }, options,
      ({ messages, position, more }) => ({ messages: messages.map(messageOf), position, more: !!more }))
  }

  /** Who is subscribed to a channel, over all nodes, where it has presence. */
  presence(channel: string, { cursor, ...options }: PresenceOptions = {}): Promise<Presence> {
    return this.#request({ type: "presence", channel, cursor }, options,
      ({ users, total, next }) => ({ users: users.map(memberOf), total, next }))
  }

  #publish(to: { channel: string } | { user: string }, data: unknown, options: PublishOptions): Promise<{ position?: Position }> {
    return this.#request({ type: "publish", ...to, event: options.event, ...payload(data) }, options, ({ position }) => ({ position }))
  }

  #request<T>(frame: Frame, { timeout = this.#timeout, signal }: RequestOptions, read: (answer: Frame) => T): Promise<T> {
    const promise = new Promise<T>((resolve, reject) => {
      const done: Done = (err, answer) => err ? reject(err) : resolve(read(answer))
      if (this.state === "closed") done(new PushcartError("closed"), frame)
      else this.#requests.add(frame, this.state === "open", done, { timeout, signal })
    })
    promise.catch(() => {}) // one that nobody looks at does not end a process
    return promise
  }

  #opened(welcome: Frame): void {
    this.#channels.welcome(welcome)
    this.#requests.flush()
    if (this.state !== "open") return // a handler has closed it
    this.#emit("state", "open")
    this.#emit("open", { connectionId: welcome.connection_id, userId: welcome.user_id, nodeId: welcome.node_id })
  }

  #frame(frame: Frame): void {
    if (frame.id && frame.type !== "message") this.#requests.answer(frame)
    else if (frame.type === "error") this.#emit("error", new PushcartError(frame.code, frame.message))
    else this.#channels.frame(frame)
  }

  #closed(end: Closed): void {
    const closed = this.state === "closed"
    this.#channels.lost(closed)
    this.#requests.lost(closed)
    this.#emit("state", this.state)
    this.#emit("close", end)
  }

  async #hand(m: Message, handlers: Iterable<Handler>): Promise<void> {
    const handled = await this.#tell(handlers, m)
    if (m.ack && handled) this.#link.send(JSON.stringify({ type: "ack", message: m.id }))
  }

  #of(type: keyof Events): Set<(value: any) => unknown> {
    return this.#listeners.get(type) ?? new Set()
  }

  #emit<K extends keyof Events>(type: K, value: Events[K]): void {
    const listeners = this.#of(type)
    if (type === "error" && !listeners.size) console.error(value)
    void this.#tell(listeners, value, type)
  }

  // Calls them now, in their order. Resolves when all are done: whether there were any,
  // and none failed.
  async #tell<T>(listeners: Iterable<(value: T) => unknown>, value: T, type?: keyof Events): Promise<boolean> {
    const done = await Promise.all([...listeners].map(async listener => {
      try {
        await listener(value)
        return true
      } catch (err) {
        return this.#thrown(err, type)
      }
    }))
    return done.length > 0 && !done.includes(false)
  }

  #thrown(cause: any, type?: keyof Events): false {
    const err = new PushcartError("handler", `a handler failed: ${cause?.message ?? cause}`, { cause })
    if (type === "error") console.error(err)
    else this.#emit("error", err)
    return false
  }
}
