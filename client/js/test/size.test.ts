import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { test } from "node:test"
import { gzipSync } from "node:zlib"

const { INTERNAL, bundle }: { INTERNAL: string[]; bundle(): Promise<string> } = await import(new URL("../../bundle.mjs", import.meta.url).href)

const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), "utf8")
const built = read("dist/pushcart.js")

test("the built file is less than 5 KB, compressed", t => {
  const { length } = gzipSync(built, { level: 9 })
  t.diagnostic(`${built.length} bytes, ${length} compressed`)
  assert.ok(length < 5000, `${length} bytes`)
})

test("the built file is that of the sources: npm run build makes it", async () => {
  assert.equal(await bundle(), built)
})

test("no frame has a property whose name the built file shortens", () => {
  const schema = JSON.parse(readFileSync(new URL("../../../../protocol/json/schema.json", import.meta.url), "utf8"))
  const names = new Set<string>()
  JSON.stringify(schema, (key, value) => {
    if (key === "properties") Object.keys(value).forEach(name => names.add(name))
    return value
  })
  assert.ok(names.has("user_id") && names.has("paused"), "the names of the schema")
  assert.deepEqual(INTERNAL.filter(name => names.has(name)), [])
})

test("it depends on nothing", () => {
  assert.equal(JSON.parse(read("package.json")).dependencies, undefined)
  assert.doesNotMatch(built, /\bimport\b|\brequire\b/)
})
