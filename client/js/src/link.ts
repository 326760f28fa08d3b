import { type Backoff, after, wait } from "./backoff.js"
import { PushcartError, transient } from "./error.js"
import type { Emit } from "./events.js"
import type { Frame } from "./frame.js"
import { type Socket, type WebSocketClass, socket } from "./socket.js"
import { type TokenSource, ask, expiry, renewIn } from "./token.js"

/** The name of the protocol, in Sec-WebSocket-Protocol. */
const PROTOCOL = "pushcart.json.v1"
/** Close codes (docs/close-codes.md) after which to stay closed; the others may pass. */
const FINAL = [1000, 1002, 1007, 1009, 3003, 4001]
/** Of a node that restarts: the others are well. */
const RESTART = 1012
/** The token has expired: connect again with a new one. */
const UNAUTHENTICATED = 3000
/** From here on the backend chooses, and the app knows what they mean. */
const CHOSEN = 4100
/** A connection that has no welcome after so long is given up. */
const OPENING = 20_000
/** One that lives so long is good: the next wait is short again. */
const STABLE = 10_000
/** How long the network may take to answer after it went away or came back. */
const PATIENCE = 10_000

/**
 * `connecting`: a connection is under way; `open`: requests go out; `waiting`: it will
 * be tried again; `closed`: it will not.
 */
export type State = "connecting" | "open" | "waiting" | "closed"

/** The end of a connection, or of an attempt at one. */
export interface Closed {
  /** docs/close-codes.md; 1006 where there was no close frame: also for a refused handshake. */
  code: number
  reason: string
  /** In how many milliseconds it is tried again; absent: it is not. */
  retryIn?: number
}

export interface LinkOptions {
  token?: TokenSource
  tokenSource: string
  backoff: Backoff
  WebSocket: WebSocketClass
  /** Whether to connect again after a code that leaves it to the app. */
  again(code: number, reason: string): boolean
}

/** Who hears of a link. */
export interface LinkEvents {
  emit: Emit
  /** What a handshake resumes. */
  resume(): string | undefined
  opened(welcome: Frame): void
  frame(frame: Frame): void
  closed(end: Closed): void
  /** The page goes away. */
  leaving(): void
  /** Takes a new token into use. */
  refresh(token: string): Promise<unknown>
}

/** Keeps one connection up. */
export class Link {
  phase: State = "closed"
  #url: URL
  #options: LinkOptions
  #events: LinkEvents
  #socket: Socket | undefined
  #attempt: object | undefined // what comes for another one comes late
  #tries = 0
  #timer: ReturnType<typeof setTimeout> | undefined
  #renewal: ReturnType<typeof setTimeout> | undefined

  constructor(url: URL, options: LinkOptions, events: LinkEvents) {
    this.#url = url
    this.#options = options
    this.#events = events
  }

  /** Connects now, unless it is connected or about to. */
  connect(): void {
    if (this.phase === "closed") this.#listen("addEventListener")
    if (this.phase === "closed" || this.phase === "waiting") void this.#try()
  }

  close(): void {
    if (this.phase !== "closed") this.#end(1000, "", false)
  }

  /** Ends the connection and makes another. */
  renew(reason: string): void {
    this.#end(1006, reason)
  }

  /** Only while it is open. */
  send(text: string): void {
    if (this.phase === "open") this.#socket!.send(text)
  }

  // Replaces what was to be done later.
  #later(ms: number, run: () => void = () => void this.#try()): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(run, ms)
  }

  async #try(): Promise<void> {
    const attempt = this.#attempt = {}
    this.#later(OPENING, () => this.#lost(1006, "no welcome in time"))
    this.phase = "connecting"
    this.#events.emit("state", "connecting")
    try {
      const token = await ask(this.#options.token)
      if (attempt === this.#attempt) this.#open(token)
    } catch (err) {
      if (attempt === this.#attempt) this.#failed(err as Error)
    }
  }

  // No token can be had, or the URL or the page's policy does not let a socket be made.
  #failed(err: Error): void {
    const { code } = err = err instanceof PushcartError ? err : new PushcartError("invalid_argument", err.message, { cause: err })
    this.#events.emit("error", err as PushcartError)
    this.#end(1006, err.message, code === "token")
  }

  #open(token: string | null | undefined): void {
    const { tokenSource, WebSocket } = this.#options
    const url = new URL(this.#url), protocols = [PROTOCOL], resume = this.#events.resume()
    if (resume) url.searchParams.set("resume", resume)
    if (token && tokenSource === "protocol") protocols.push("bearer." + token)
    else if (token) url.searchParams.set(tokenSource.slice("query:".length), token)
    const own = this.#socket = socket(new WebSocket(url.href, protocols), frame => {
      if (this.phase === "open") this.#events.frame(frame)
      else if (frame.type === "welcome") this.#welcome(own, frame, expiry(token))
    }, (code, reason) => this.#lost(code, reason))
  }

  #welcome(own: Socket, welcome: Frame, expires: number | undefined): void {
    this.#later(STABLE, () => { this.#tries = 0 })
    own.watch((welcome.ping_interval || 25) * 2000)
    this.#renewBefore(expires)
    this.phase = "open"
    this.#events.opened(welcome)
  }

  #renewBefore(expires: number | undefined): void {
    const ms = renewIn(expires)
    if (ms) this.#renewal = after(ms, () => void this.#renew(expires))
  }

  async #renew(expires: number | undefined): Promise<void> {
    const attempt = this.#attempt
    try {
      const token = await ask(this.#options.token)
      if (token && attempt === this.#attempt) await this.#events.refresh(token)
      expires = expiry(token)
    } catch (err) {
      if (attempt !== this.#attempt) return
      this.#events.emit("error", err as PushcartError)
      if (!transient(err as PushcartError)) return
    }
    if (attempt === this.#attempt) this.#renewBefore(expires)
  }

  #lost(code: number, reason: string): void {
    const { token, again } = this.#options
    if (code === RESTART) this.#tries = 0
    const asked = code === UNAUTHENTICATED ? !token : code >= CHOSEN
    this.#end(code, reason, asked ? again(code, reason) : !FINAL.includes(code))
  }

  #end(code: number, reason: string, again = true): void {
    const retryIn = again ? wait(this.#options.backoff, this.#tries++) : undefined
    clearTimeout(this.#renewal)
    this.#socket?.drop()
    this.#socket = this.#attempt = undefined
    clearTimeout(this.#timer)
    if (again) this.#later(retryIn!)
    else this.#listen("removeEventListener")
    this.phase = again ? "waiting" : "closed"
    this.#events.closed({ code, reason, retryIn })
  }

  #listen(what: "addEventListener" | "removeEventListener"): void {
    for (const type of ["online", "offline", "pagehide"]) globalThis[what]?.(type, this.#network)
  }

  // The network went away or came back, or the page goes: a socket may be dead without saying so.
  #network = ({ type }: { type: string }): void => {
    if (type === "pagehide") this.#events.leaving()
    else if (this.phase === "open") this.#socket!.probe(PATIENCE)
    else if (this.phase === "waiting" && type === "online") {
      this.#tries = 0
      this.#later(wait(this.#options.backoff, 0))
    }
  }
}
