/** What went wrong, as a code that programs can compare. */
export class PushcartError extends Error {
  override readonly name = "PushcartError"
  /**
   * One of the sidecar's codes (`forbidden`, `unavailable`, `rejected`, …), or one of
   * the client's own: `disconnected`, `closed`, `timeout`, `aborted`, `queue_full`,
   * `conflict`, `token`, `handler`, `protocol`.
   */
  readonly code: string
  /** The channel that it is about, where it is about one. */
  channel?: string

  constructor(code: string, message = code, more: { channel?: string; cause?: unknown } = {}) {
    super(message, more)
    this.code = code
    this.channel = more.channel
  }
}

/** Whether the same request may well succeed later. */
export function transient(err: PushcartError): boolean {
  return /^(unavailable|internal|backend_|timeout|token)/.test(err.code)
}
