import type { PushcartError } from "./error.js"
import type { Message, Position } from "./frame.js"
import type { TokenSource } from "./token.js"

export interface SubscribeOptions {
  /** Hand out so many of the last kept messages first. */
  recent?: number
  /** Begin after this position, as it was kept from an earlier page or process. */
  position?: Position
  /** A token of its own for the channel; asked again for each subscribe and before it expires. */
  token?: TokenSource
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
  /** Ends it. No message is handed out after that. */
  unsubscribe(): void
}

/** What the client keeps of a subscription. */
export interface Subscriber extends SubscribeOptions {
  handler: Handler
  resolve(position: Position | undefined): void
  reject(err: PushcartError): void
  ready: boolean
}
