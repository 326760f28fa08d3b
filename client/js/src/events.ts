import type { PushcartError } from "./error.js"
import type { Member, Message, Position } from "./frame.js"
import type { Closed, State } from "./link.js"

/** Who this connection is. */
export interface Opened {
  connectionId: string
  /** Empty: anonymous. */
  userId: string
  nodeId: string
}

/** What `on` takes, and what its listeners get. */
export interface Events {
  open: Opened
  close: Closed
  state: State
  /** What no subscription takes: pushes to the user, to this connection, to everyone, and of channels that the backend subscribed. */
  message: Message
  /** Messages of a channel, or without one of the user's own stream, are lost for good: reload what they were about. */
  gap: { channel?: string; position?: Position }
  /** In a channel with presence: the first connection of a user was subscribed. Nobody is told of himself. */
  join: { channel: string; userId: string; info?: any }
  /** The last one is no more. */
  leave: { channel: string; userId: string; info?: any }
  /** There are too many members for `join` and `leave`; or no longer, and `users` are those that are there. */
  presence: { channel: string; paused: boolean; users?: Member[] }
  /** What went wrong that no promise tells. Without a listener it is written to the console. */
  error: PushcartError
  /** The backend subscribed the channel, or ended the subscription. */
  subscribed: { channel: string }
  unsubscribed: { channel: string }
}

/** Calls the listeners of an event. */
export type Emit = <K extends keyof Events>(type: K, value: Events[K]) => void
