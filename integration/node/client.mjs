// Runs JavaScript with the client of client/js at hand, in Node or in a page.
// node client.mjs node
// node client.mjs chromium URL CHROMIUM   (URL: a page that loads the client)
// In: a line of JSON for each piece, {"id":1,"code":"return 1"}. Out: a line for each
// answer, {"id":1,"value":1} or {"id":1,"error":{"code","message"}}.
import { createInterface } from 'node:readline'

const [where, url, executablePath] = process.argv.slice(2)

// The pieces share what they hang on globalThis. What a piece returns is JSON.
const evaluate = async code => {
  const AsyncFunction = (async () => {}).constructor
  try {
    return { value: await new AsyncFunction(code)() ?? null }
  } catch (err) {
    return { error: { code: err?.code ?? '', message: String(err?.stack ?? err) } }
  }
}

const here = async () => {
  const { WebSocket } = await import('../../client/js/node_modules/ws/wrapper.mjs')
  Object.assign(globalThis, await import('../../client/js/dist/pushcart.js'), { WebSocket })
  return { run: evaluate }
}

const inPage = async () => {
  const { chromium } = await import('playwright-core')
  const browser = await chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  })
  const context = await browser.newContext()
  const page = await context.newPage()
  page.on('pageerror', err => process.stderr.write(`in the page: ${err}\n`))
  await page.exposeFunction('setOffline', offline => context.setOffline(offline))
  await page.goto(url)
  await page.waitForFunction(() => 'Pushcart' in globalThis)
  return { run: code => page.evaluate(evaluate, code), close: () => browser.close() }
}

process.on('unhandledRejection', err => {
  process.stderr.write(`unhandled rejection: ${err?.stack ?? err}\n`)
  process.exit(1)
})

const place = await (where === 'node' ? here() : inPage())
for await (const line of createInterface(process.stdin)) {
  const { id, code } = JSON.parse(line)
  place.run(code).then(answer => process.stdout.write(JSON.stringify({ id, ...answer }) + '\n'))
}
await place.close?.()
process.exit(0)
