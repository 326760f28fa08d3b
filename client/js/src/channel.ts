import { type Backoff, after, wait } from "./backoff.js"
import { Stream, type StreamEvents } from "./stream.js"
import type { Subscriber } from "./subscription.js"

/** What the client knows of a channel. Without a name it is the user's own stream. */
export class Channel extends Stream {
  readonly name: string | undefined
  subscriber: Subscriber | undefined
  /** The sidecar has subscribed this connection to it. */
  live: boolean | undefined
  /** The sidecar did so by itself, and may again. */
  given: boolean | undefined
  /** `?resume=` is refused: it has to be asked for. */
  asks: boolean | undefined
  /** A subscribe is under way. */
  asking: boolean | undefined
  /** An unsubscribe is under way: what still comes is for nobody. */
  leaving: boolean | undefined
  #timer: ReturnType<typeof setTimeout> | undefined
  #tries = 0

  constructor(name: string | undefined, events: StreamEvents) {
    super(events)
    this.name = name
  }

  /** Calls `run` once, after so long or after a wait that grows from time to time. */
  later(run: () => void, delay: Backoff | number | undefined): void {
    clearTimeout(this.#timer)
    if (typeof delay === "object") delay = wait(delay, this.#tries++)
    else this.#tries = 0
    if (delay) this.#timer = after(delay, run)
  }

  /** The connection is gone. */
  lost(): void {
    clearTimeout(this.#timer)
    this.#tries = 0
    this.live = false
    this.wanted = undefined
  }
}
