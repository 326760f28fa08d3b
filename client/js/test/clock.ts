// A clock that the test moves: timers and Date.now, each timer at its own time.
import { setImmediate as immediate } from "node:timers"

interface Timer {
  id: number
  at: number
  run: () => void
}

const real = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout, now: Date.now }
let timers: Timer[] = []
let time = 0
let last = 0

/** Stops time at the start of 2026; there are no timers. */
export function stop(): void {
  time = Date.UTC(2026, 0, 1)
  timers = []
  Date.now = () => time
  globalThis.clearTimeout = ((id: number) => { timers = timers.filter(t => t.id !== id) }) as any
  globalThis.setTimeout = ((run: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) => {
    // Timers with a longer delay fire at once.
    timers.push({ id: ++last, at: time + (ms > 2 ** 31 - 1 ? 1 : Math.max(1, ms)), run: () => run(...args) })
    return last
  }) as any
}

/** Lets time go on as ever. */
export function resume(): void {
  Object.assign(globalThis, { setTimeout: real.setTimeout, clearTimeout: real.clearTimeout })
  Date.now = real.now
}

/** How many timers run. */
export const running = (): number => timers.length

/** Lets what was promised happen. */
export const settle = (): Promise<void> => new Promise(resolve => immediate(resolve))

/** Moves the clock; what is due happens at its time. */
export async function pass(ms: number): Promise<void> {
  const until = time + ms
  for (;;) {
    const next = timers.reduce<Timer | undefined>((a, b) => a && a.at <= b.at ? a : b, undefined)
    if (!next || next.at > until) break
    time = next.at
    timers = timers.filter(t => t !== next)
    next.run()
    await settle()
  }
  time = until
  await settle()
}
