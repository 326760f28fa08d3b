// Two tabs of the demo page chat, and a push shows up in both.
// node demo.mjs URL PUSH_ADDRESS CHROMIUM [FOLDER FOR SCREENSHOTS]
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chromium } from 'playwright-core'

const [url, push, executablePath, folder] = process.argv.slice(2)
const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
})
const wrong = []

async function tab() {
  const page = await browser.newPage({ viewport: { width: 900, height: 700 } })
  page.setDefaultTimeout(20_000)
  page.on('pageerror', err => wrong.push(String(err)))
  page.on('console', m => m.type() === 'error' && wrong.push(m.text()))
  await page.goto(url)
  await page.getByText('connected').waitFor()
  await page.getByText('You are guest-').waitFor()
  return page
}

const shows = (page, text) => page.locator('#log li', { hasText: text }).waitFor()
const lines = (page, text) => page.locator('#log li', { hasText: text }).count()

try {
  const a = await tab(), b = await tab()
  await shows(a, 'guest-2 came in')
  for (const [from, text] of [[a, 'hello from the first tab'], [b, '<b>hello</b> from the second']]) {
    await from.getByLabel('Message').fill(text)
    await from.getByRole('button', { name: 'Send' }).click()
    for (const page of [a, b]) await shows(page, text)
  }
  await a.getByPlaceholder('Sent at').waitFor() // the reply of the webhook

  // The command that the page shows is run as it is.
  const command = (await a.locator('#curl').textContent()).trim()
  assert.ok(command.includes(push), `${command} does not name ${push}`)
  execFileSync('sh', ['-c', `${command} -sSf`])
  for (const page of [a, b]) {
    await shows(page, 'hello from curl')
    assert.equal(await lines(page, 'hello from curl'), 1)
    assert.equal(await lines(page, 'hello from the first tab'), 1)
  }
  if (folder) {
    await a.screenshot({ path: `${folder}/demo.png` })
    await b.emulateMedia({ colorScheme: 'dark' })
    await b.setViewportSize({ width: 390, height: 780 })
    await b.screenshot({ path: `${folder}/demo-dark-phone.png` })
  }
  await b.close()
  await shows(a, 'guest-2 left')
  assert.deepEqual(wrong, [])
} finally {
  await browser.close()
}
