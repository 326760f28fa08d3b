// Makes one small file of src/: node bundle.mjs OUT
import { build } from "esbuild"
import { writeFileSync } from "node:fs"
import { minify } from "terser"

/** Properties that only the client itself sees: neither frames nor apps have such a name. */
export const INTERNAL = [
  "again", "answer", "ask", "asking", "asks", "begin", "closed", "drop", "emit", "end", "flush", "frame", "given", "hand", "handler", "later", "leaving",
  "live", "lose", "lost", "missed", "opened", "overtaken", "phase", "positions", "probe", "recover", "refresh", "renew", "resume", "sent", "skip",
  "subscriber", "take", "text", "until", "wanted", "watch", "welcome",
]

/** The file's contents. */
export async function bundle() {
  const { outputFiles } = await build({
    entryPoints: [new URL("src/index.ts", import.meta.url).pathname], bundle: true, format: "esm", minify: true, target: "es2022",
    mangleProps: new RegExp(`^(${INTERNAL.join("|")})$`), write: false,
  })
  const { code } = await minify(outputFiles[0].text, {
    module: true, ecma: 2020, compress: { passes: 3, ecma: 2020, unsafe_arrows: true, unsafe_methods: true, pure_getters: true },
  })
  return code + "\n"
}

if (process.argv[2]) writeFileSync(process.argv[2], await bundle())
