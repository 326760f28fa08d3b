import assert from "node:assert/strict"
import { test } from "node:test"
import { Pushcart } from "../src/index.js"
import * as clock from "./clock.js"
import { Model, ModelStream, seeded } from "./model.js"

const SEEDS = Number(process.env.MODEL_SEEDS ?? 150), STEPS = 400, FIRST = Number(process.env.MODEL_FIRST ?? 1)

/** What the client handed out of one stream, in order. */
type Told = number | "gap"

/** What happened over all seeds. */
const seen = { handed: 0, gaps: 0, drops: 0, renewed: 0 }

async function run(seed: number): Promise<void> {
  const random = seeded(seed)
  const names = [undefined, "given", "own", "other"]
  const model = new Model(random, names.map(n => new ModelStream(n, 3 + random(40))), ["given"])
  clock.stop()
  const share = seeded(seed)
  Math.random = () => share(2 ** 31) / 2 ** 31
  const pc = new Pushcart("ws://model.test/", { WebSocket: model.WebSocket, position: { offset: 0, epoch: "e0" } })
  const told = new Map<string | undefined, Told[]>(names.map(n => [n, []]))
  pc.on("message", m => told.get(m.channel)!.push(m.data))
  pc.on("gap", gap => told.get(gap.channel)!.push("gap"))
  pc.on("close", end => { seen.drops++; if (end.reason === "out of order") seen.renewed++ })
  pc.on("error", err => { throw err })
  for (const n of ["own", "other"]) pc.subscribe(n, { position: { offset: 0, epoch: "e0" } }, m => told.get(n)!.push(m.data))
  const shown = new Map<string | undefined, number[]>(names.map(n => [n, []])) // what this client may see
  const publish = (name: string | undefined) => {
    const hidden = random(8) === 0
    model.publish(name, hidden)
    if (!hidden) shown.get(name)!.push(model.streams.get(name)!.serial)
  }
  for (let i = 0; i < STEPS; i++) {
    const name = names[random(names.length)]
    const what = random(100)
    if (what < 45) publish(name)
    else if (what < 48) model.peer?.closed || model.peer?.end(1006)
    else if (what < 50) model.redis = !model.redis
    else if (what < 51) model.forget(name)
    else if (what < 52) model.streams.get(name)!.fork()
    else if (model.peer && !model.peer.closed) model.peer.step()
    if (random(3) === 0) await clock.pass(random(2000))
  }
  // Everything is well again.
  model.redis = true
  for (let i = 0; i < 200; i++) {
    if (model.peer && !model.peer.closed) model.peer.step()
    if (i % 5 === 0) await clock.pass(1000)
  }
  names.forEach(publish)
  for (let i = 0; i < 100; i++) {
    if (!model.peer!.closed) model.peer!.step()
    await clock.pass(500)
  }
  pc.close()
  for (const n of names) {
    const got = told.get(n)!
    const from = n === "given" ? model.begun ?? got.find(t => t !== "gap") as number - 1 : 0
    judge(got, shown.get(n)!.filter(serial => serial > from), `seed ${seed}, ${n ?? "the user's stream"}`)
    const gaps = got.filter(t => t === "gap").length
    assert.ok(gaps <= (model.told.get(n) ?? 0), `seed ${seed}, ${n}: ${gaps} gaps, the sidecar told ${model.told.get(n)}`)
    seen.gaps += gaps
    seen.handed += got.length - gaps
  }
}

/** Each message once and in order, and all of them but where there is a gap. */
function judge(got: Told[], shown: number[], where: string): void {
  let next = 0, gap = false
  for (const t of got) {
    if (t === "gap") {
      gap = true
      continue
    }
    const at = shown.indexOf(t)
    assert.ok(at >= next, `${where}: ${t} came after ${shown[next - 1]}: ${got}`)
    assert.ok(at === next || gap, `${where}: ${shown.slice(next, at)} are lost before ${t}: ${got}`)
    next = at + 1
    gap = false
  }
  assert.ok(next === shown.length || gap, `${where}: ${shown.slice(next)} are lost at the end: ${got}`)
}

test("through drops, outages and lost histories each message comes once and in order, or a gap is told", async t => {
  const { random } = Math
  t.after(() => {
    clock.resume()
    Math.random = random
  })
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) await run(seed)
  t.diagnostic(JSON.stringify(seen))
  assert.ok(seen.handed > SEEDS * 80 && seen.gaps > SEEDS && seen.drops > SEEDS * 5 && seen.renewed > SEEDS / 10, JSON.stringify(seen))
})
