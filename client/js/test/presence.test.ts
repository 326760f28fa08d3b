import assert from "node:assert/strict"
import { test } from "node:test"
import { again, code, connected } from "./harness.js"

const ann = { user_id: "ann", connections: 2, since: "2026-11-30T15:03:19.544Z", info: { name: "Ann" } }
const shown = { userId: "ann", connections: 2, since: "2026-11-30T15:03:19.544Z", info: { name: "Ann" } }

test("who is there can be asked, page by page", async () => {
  const s = await connected()
  const sub = s.pc.subscribe("chat", () => {})
  s.peer.ok("subscribe")
  const page = sub.presence()
  s.peer.ok("presence", { users: [ann], total: 2, next: "ann" })
  assert.deepEqual(await page, { users: [shown], total: 2, next: "ann" })
  const next = s.pc.presence("chat", { cursor: "ann" })
  const { id, ...frame } = s.peer.last("presence")
  assert.deepEqual(frame, { type: "presence", channel: "chat", cursor: "ann" })
  s.peer.ok("presence", { users: [], total: 2 })
  assert.deepEqual(await next, { users: [], total: 2, next: undefined })
})

test("a refusal rejects", async () => {
  const s = await connected()
  const page = s.pc.presence("chat")
  s.peer.refuse("presence", "not_found")
  assert.equal(await code(page), "not_found")
})

test("joins and leaves are told, of channels that are subscribed", async () => {
  const s = await connected()
  const told: object[] = []
  for (const type of ["join", "leave", "presence"] as const) s.pc.on(type, ({ channel, userId, info, paused, users }: any) => told.push([type, channel, userId, info, paused, users]))
  s.pc.subscribe("chat", () => {})
  s.peer.say({ type: "join", channel: "chat", user_id: "early" })
  s.peer.ok("subscribe")
  s.peer.say({ type: "join", channel: "chat", user_id: "bob", info: 1 })
  s.peer.say({ type: "leave", channel: "chat", user_id: "bob" })
  s.peer.say({ type: "presence", channel: "chat", paused: true })
  s.peer.say({ type: "presence", channel: "chat", paused: false, users: [ann] })
  assert.deepEqual(told, [
    ["join", "chat", "bob", 1, undefined, undefined], ["leave", "chat", "bob", undefined, undefined, undefined],
    ["presence", "chat", undefined, undefined, true, undefined], ["presence", "chat", undefined, undefined, false, [shown]],
  ])
  await again(s)
})
