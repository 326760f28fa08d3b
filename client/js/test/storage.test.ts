import assert from "node:assert/strict"
import { test } from "node:test"
import { connected, scene } from "./harness.js"

/** A page's sessionStorage. */
class Memory {
  readonly items = new Map<string, string>()
  getItem(key: string): string | null { return this.items.get(key) ?? null }
  setItem(key: string, value: string): void { this.items.set(key, value) }
}

const e = (offset: number, epoch = "e") => ({ offset, epoch })

test("a client goes on where an earlier one was", async () => {
  const storage = new Memory()
  const first = await connected({ storage }, { position: e(3) })
  first.pc.subscribe("news", () => {})
  first.peer.ok("subscribe", { position: e(4) })
  first.peer.message(5, { channel: "news" })
  first.pc.close()

  const second = await scene({ storage })
  assert.deepEqual(second.peer.resume, { user: e(3), channels: {} }) // nothing else is subscribed yet
  second.pc.subscribe("news", { recent: 10 }, () => {})
  second.peer.welcome({ position: { ...e(3), recovered: true } })
  const { position, recent } = second.peer.last("subscribe")
  assert.deepEqual([position, recent], [e(5), undefined])
})

test("what one page does not subscribe the next one still can", async () => {
  const storage = new Memory()
  const one = await connected({ storage })
  one.pc.subscribe("news", () => {})
  one.peer.ok("subscribe", { position: e(4) })
  one.pc.close()
  const two = await connected({ storage })
  two.pc.close()
  const three = await connected({ storage })
  three.pc.subscribe("news", () => {})
  assert.deepEqual(three.peer.last("subscribe").position, e(4))
  three.peer.ok("subscribe", { position: e(6), recovered: true })
})

test("a position is taken once, and one that is given goes before it", async () => {
  const storage = new Memory()
  const one = await connected({ storage })
  for (const name of ["a", "b"]) {
    one.pc.subscribe(name, () => {})
    one.peer.ok("subscribe", { position: e(4) })
  }
  one.pc.close()
  const two = await connected({ storage })
  two.pc.subscribe("a", { position: e(2) }, () => {})
  assert.deepEqual(two.peer.last("subscribe").position, e(2))
  const sub = two.pc.subscribe("b", () => {})
  assert.deepEqual(two.peer.last("subscribe").position, e(4))
  two.peer.ok("subscribe", { position: e(4), recovered: true })
  sub.unsubscribe()
  two.peer.ok("unsubscribe")
  two.pc.subscribe("b", () => {})
  assert.equal(two.peer.last("subscribe").position, undefined)
})

test("it is kept when the page goes", async t => {
  const listeners = new Map<string, (event: { type: string }) => void>()
  const page = globalThis as any
  page.addEventListener = (type: string, listener: any) => listeners.set(type, listener)
  page.removeEventListener = (type: string) => listeners.delete(type)
  t.after(() => { delete page.addEventListener; delete page.removeEventListener })
  const storage = new Memory()
  const s = await connected({ storage }, { position: e(3) })
  assert.equal(storage.items.size, 0)
  listeners.get("pagehide")!({ type: "pagehide" })
  assert.deepEqual([...storage.items], [["ws://sidecar.test/_push", JSON.stringify({ user: e(3), channels: {} })]])
  s.pc.close()
  assert.equal(listeners.size, 0)
})
