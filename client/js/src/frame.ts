/** A place in a stream: after the message `offset` of `epoch`. */
export interface Position {
  readonly offset: number
  readonly epoch: string
}

/** A message as it is handed out. */
export interface Message<T = any> {
  id: string
  /** Absent: it was pushed to the user, to this connection or to everyone. */
  channel?: string
  event?: string
  /** Any JSON; a `Uint8Array` if binary data was pushed. */
  data: T
  /** The user who published it, if a client did; set by the sidecar. */
  from?: string
  /** Where it lies in its stream, if that keeps history. */
  offset?: number
  epoch?: string
  /** RFC 3339. */
  time?: string
  /** The backend wants to know that it was handled. */
  ack?: boolean
}

/** A user who is subscribed to a channel. */
export interface Member {
  userId: string
  /** How many of the user's are subscribed. */
  connections: number
  /** When the first of them was: RFC 3339. */
  since: string
  /** What the token, or the backend, says of the user. */
  info?: any
}

/** A frame of pushcart.json.v1, in either direction. */
export interface Frame {
  type: string
  id?: number
  channel?: string
  position?: Recovered
  recovered?: boolean
  [key: string]: any
}

/** A stream in `welcome`. */
export interface Recovered extends Position {
  recovered?: boolean
}

/** What carries data in a frame: binary data goes as base64. */
export function payload(data: unknown): { data?: unknown; data_base64?: string } {
  return data instanceof Uint8Array ? { data_base64: base64(data) } : { data }
}

/** The data of a frame, as it is handed out. */
export function dataOf(frame: Record<string, any>): any {
  return frame.data_base64 === undefined ? frame.data : Uint8Array.from(atob(frame.data_base64), c => c.charCodeAt(0))
}

/** The message in a frame, or in an answer to `history`. */
export function messageOf({ type, data_base64, ...rest }: Record<string, any>): Message {
  return { ...rest, data: dataOf({ data: rest.data, data_base64 }) } as Message
}

/** A member in a frame. */
export function memberOf({ user_id: userId, ...rest }: Record<string, any>): Member {
  return { userId, ...rest } as Member
}

function base64(bytes: Uint8Array): string {
  let text = ""
  for (const b of bytes) text += String.fromCharCode(b)
  return btoa(text)
}

/** JSON in base64url, as `?resume=` wants it. */
export function base64url(value: unknown): string {
  return base64(new TextEncoder().encode(JSON.stringify(value)))
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")
}
