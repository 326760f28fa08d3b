import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { gzipSync } from "node:zlib"

const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), "utf8")
const built = read("dist/pushcart.js")

test("the built file is less than 5 KB, compressed", t => {
  const { length } = gzipSync(built, { level: 9 })
  t.diagnostic(`${built.length} bytes, ${length} compressed`)
  assert.ok(length < 5000, `${length} bytes`)
})

test("the built file is that of the sources: npm run build makes it", t => {
  const dir = mkdtempSync(join(tmpdir(), "pushcart-"))
  t.after(() => rmSync(dir, { recursive: true }))
  const out = join(dir, "pushcart.js")
  const [tool, ...args] = JSON.parse(read("package.json")).scripts.bundle.replace("dist/pushcart.js", out).split(" ")
  const root = new URL("../../", import.meta.url)
  execFileSync(new URL(`node_modules/.bin/${tool}`, root).pathname, [...args, "--log-level=error"], { cwd: root })
  assert.equal(readFileSync(out, "utf8"), built)
})

test("it depends on nothing", () => {
  assert.equal(JSON.parse(read("package.json")).dependencies, undefined)
  assert.doesNotMatch(built, /\bimport\b|\brequire\b/)
})
