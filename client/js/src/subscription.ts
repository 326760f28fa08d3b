import { PushcartError } from "./error.js"
import type { Message, Position } from "./frame.js"
import type { Presence, PresenceOptions } from "./pushcart.js"
import type { TokenSource } from "./token.js"

export interface SubscribeOptions {
  /** Hand out so many of the last kept messages first. */
  recent?: number
  /** Begin after this position, as it was kept from an earlier page or process. */
  position?: Position
  /** A token of its own for the channel; asked again for each subscribe and before it expires. */
  token?: TokenSource
  /** Ends the subscription. */
  signal?: AbortSignal
}

/** Hands out a message. Where the backend wants an `ack`, it is sent once this has returned or resolved. */
export type Handler = (message: Message) => unknown

/** A subscription to a channel. It outlives the connection: what was missed is recovered. */
export interface Subscription {
  readonly channel: string
  /**
   * Resolves once the sidecar has subscribed the channel, with the position where there
   * is history; rejects if it refuses, and if the client is closed before.
   */
  readonly ready: Promise<Position | undefined>
  /** After the last message that was handed out; absent where there is no history. */
  readonly position: Position | undefined
  /** Who is subscribed, over all nodes, where the channel has presence. */
  presence(options?: PresenceOptions): Promise<Presence>
  /** Ends it. No message is handed out after that. */
  unsubscribe(): void
}

/**
 * A subscription whose messages a loop takes: `for await (const m of pc.subscribe("news"))`.
 * Leaving the loop ends it. So many as `WAITING` may wait; then the loop fails with
 * `queue_full`. A message that wants an `ack` has it when the loop asks for the next.
 */
export interface Messages extends Subscription, AsyncIterable<Message> {}

/** How many messages may wait for a loop. */
export const WAITING = 10_000

/** Messages that wait for a loop, and how it ends. */
export interface Feed extends AsyncIterable<Message> {
  handler: Handler
  end(err?: PushcartError): void
}

/** `left` is called when nobody takes messages any more: the loop was left, or too many wait. */
export function feed(left: (err?: PushcartError) => void): Feed {
  // Without a message it is the end; then comes the error, if there was one.
  const waiting: [Message | undefined, any][] = []
  let wake = () => {}

  function put(m: Message | undefined, then: unknown): void {
    if (waiting.push([m, then]) > WAITING) left(new PushcartError("queue_full"))
    wake()
  }

  return {
    handler: m => new Promise<void>(done => put(m, done)),
    end: err => put(undefined, err),
    async *[Symbol.asyncIterator]() {
      try {
        for (;; await new Promise<void>(resolve => { wake = resolve })) {
          for (let next; (next = waiting.shift()); next[1]()) {
            const [m, err] = next
            if (m) yield m
            else if (err) throw err
            else return
          }
        }
      } finally {
        left()
      }
    },
  }
}

/** What the client keeps of a subscription. */
export interface Subscriber extends SubscribeOptions {
  handler: Handler
  resolve(position: Position | undefined): void
  reject(err: PushcartError): void
  ready: boolean
  /** Of one that a loop takes. */
  end: Feed["end"] | undefined
}
