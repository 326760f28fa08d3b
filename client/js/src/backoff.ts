/** How long to wait before the connection is tried again, in milliseconds. */
export interface Backoff {
  /** The first wait is at most this long; each next one may be twice as long. */
  base: number
  /** No wait is longer. */
  cap: number
}

/** A wait with full jitter, after `tries` that failed. */
export function wait({ base, cap }: Backoff, tries: number): number {
  return Math.random() * Math.min(cap, base * 2 ** tries)
}

/** About the longest delay that timers take. */
const LONGEST = 2e9

/** `setTimeout` that takes any delay; one that is too long ends early. */
export function after(ms: number, run: () => void): ReturnType<typeof setTimeout> {
  return setTimeout(run, Math.min(ms, LONGEST))
}
