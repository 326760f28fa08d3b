import { after } from "./backoff.js"
import { PushcartError } from "./error.js"
import type { Frame } from "./frame.js"

/** How long a request may take, and what ends it before. */
export interface RequestOptions {
  /** Milliseconds from the call to the answer, time in the queue included. */
  timeout?: number
  signal?: AbortSignal
}

/** Called once: with an error, or with the answer. */
export type Done = (err: PushcartError | undefined, answer: Frame) => void

interface Request {
  text: string
  sent: boolean
  done: Done
}

/** Requests that have no answer yet, in the order in which they were made. */
export interface Requests {
  /** Sends a request if the connection is open; else it waits. */
  add(frame: Frame, open: boolean, done: Done, options?: RequestOptions): void
  /** Sends what waits. */
  flush(): void
  /** Gives an answer to the request with its id, if that still waits for one. */
  answer(frame: Frame): void
  /**
   * The connection is gone; there is no next one if `closed`. What was sent may have been
   * carried out: it is never sent again.
   */
  lost(closed: boolean): void
}

/** At most `bound` requests wait for a connection. */
export function requests(bound: number, send: (text: string) => void): Requests {
  const all = new Map<number, Request>()
  let last = 0

  function take(id: number): Request | undefined {
    const r = all.get(id)
    all.delete(id)
    return r
  }

  function fail(id: number, code: string, cause?: unknown): void {
    take(id)?.done(new PushcartError(code, code, { cause }), undefined as never)
  }

  return {
    add(frame, open, done, { timeout, signal } = {}) {
      const id = ++last
      const text = JSON.stringify({ ...frame, id })
      const abort = () => fail(id, "aborted", signal!.reason)
      const timer = timeout && after(timeout, () => fail(id, "timeout"))
      const full = !open && all.size >= bound
      all.set(id, {
        text, sent: open, done: (err, answer) => {
          clearTimeout(timer)
          signal?.removeEventListener("abort", abort)
          done(err, answer)
        },
      })
      signal?.addEventListener("abort", abort)
      if (signal?.aborted) abort()
      else if (full) fail(id, "queue_full")
      else if (open) send(text)
    },
    flush() {
      for (const r of all.values()) {
        if (!r.sent) send(r.text)
        r.sent = true
      }
    },
    answer(frame) {
      take(frame.id!)?.done(frame.type === "error" ? new PushcartError(frame.code, frame.message) : undefined, frame)
    },
    lost(closed) {
      for (const [id, { sent }] of [...all]) {
        if (sent) fail(id, "disconnected")
        else if (closed) fail(id, "closed")
      }
    },
  }
}
