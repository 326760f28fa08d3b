// Runs the README's ten lines, which come in by stdin, with a WebSocket, a clock and
// chance that the test makes up.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'

const made = []
const timers = []
const got = []
let now = 0
let chance = 0
class FakeWebSocket {
  constructor(url) {
    assert.equal(url, 'ws://app/_push')
    made.push(this)
  }
}
const live = new Function('WebSocket', 'setTimeout', 'Date', 'Math', `${readFileSync(0)}; return live`)(
  FakeWebSocket, (run, wait, ...args) => timers.push({ wait, run: () => run(...args) }), { now: () => now },
  { min: Math.min, random: () => chance })

// lose ends the connection after so many milliseconds, and returns how long the next
// one is waited for, undefined if there is none.
const lose = (code, after) => {
  now += after
  made.at(-1).onclose({ code })
  const timer = timers.shift()
  assert.equal(timers.length, 0)
  if (!timer) return undefined
  now += timer.wait
  const before = made.length
  timer.run()
  assert.equal(made.length, before + 1)
  return timer.wait
}

live('ws://app/_push', () => got.push('opened'), text => got.push(text))

// Each wait is up to twice as long as the one before, to 30 s, and anything down to 0.
chance = 0.5
assert.deepEqual(Array.from({ length: 9 }, () => lose(1006, 0)), [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000])
chance = 0
assert.equal(lose(1006, 0), 0)

// One that lasted begins anew; one that opened and soon closed does not.
chance = 0.5
assert.equal(lose(1012, 9_000), 15_000)
assert.equal(lose(1012, 60_000), 250)
assert.equal(lose(1006, 0), 500)

// The handlers go on to the next connection.
made.at(-1).onopen()
made.at(-1).onmessage({ data: 'hello' })
assert.deepEqual(got, ['opened', 'hello'])

// Which codes end it: the test compares them with docs/close-codes.md.
const last = []
for (let code = 1000; code < 5000; code++) {
  if (lose(code, 60_000) === undefined) {
    last.push(code)
    live('ws://app/_push', () => {}, () => {})
  }
}
console.log(JSON.stringify(last))
