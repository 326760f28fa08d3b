// Two tabs of the demo page chat, and a push shows up in both; one that was offline
// catches up, or shows a gap; the page stays usable when the log is full, and can be read in light and dark.
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
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, permissions: ['clipboard-read', 'clipboard-write'] })
  page.setDefaultTimeout(20_000)
  page.on('pageerror', err => wrong.push(String(err)))
  page.on('console', m => m.type() === 'error' && wrong.push(m.text()))
  await page.goto(url)
  await page.getByText('connected').waitFor()
  await page.getByText('You are guest-').waitFor()
  return page
}

const shows = (page, text) => page.locator('#log li', { hasText: text }).waitFor()
const here = (page, n) => page.waitForFunction(n => document.getElementById('here').textContent.split(',').length === n && document.getElementById('here').textContent.startsWith('Here now: guest-'), n)
const texts = page => page.locator('#log li').allTextContents()
const lines = (page, text) => page.locator('#log li', { hasText: text }).count()

async function say(page, text) {
  await page.getByLabel('Message', { exact: true }).fill(text)
  await page.getByRole('button', { name: 'Send' }).click()
}

// The form and the newest message are in sight; the page itself does not scroll.
async function fits(page, newest) {
  await page.waitForFunction(() => { const l = document.getElementById('log'); return l.scrollHeight - l.scrollTop - l.clientHeight < 2 })
  const { inner, height, width, innerWidth } = await page.evaluate(() => ({
    inner: innerHeight, innerWidth, height: document.scrollingElement.scrollHeight, width: document.scrollingElement.scrollWidth,
  }))
  assert.ok(height <= inner && width <= innerWidth, `the page scrolls: ${width}x${height} in ${innerWidth}x${inner}`)
  const log = await page.locator('#log').boundingBox()
  const last = await page.locator('#log li', { hasText: newest }).boundingBox()
  assert.ok(last.y >= log.y && last.y + last.height <= log.y + log.height + 1, `${newest} is out of sight`)
  assert.ok(log.height > 120, `the log is ${log.height} pixels high`)
  for (const what of ['#form', '#curl', '#copy']) {
    const box = await page.locator(what).boundingBox()
    assert.ok(box && box.y >= 0 && box.y + box.height <= inner && box.x >= 0 && box.x + box.width <= innerWidth, `${what} is out of sight`)
  }
}

// contrasts are the texts that are hard to read: WCAG 2.2, 4.5:1.
function contrasts() {
  const parse = c => { const n = c.match(/[\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1] }
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3])).concat(1)
  const background = e => {
    const own = e ? parse(getComputedStyle(e).backgroundColor) : parse(getComputedStyle(document.body).backgroundColor)
    return own[3] === 1 || !e ? own : over(own, background(e.parentElement))
  }
  const luminance = c => {
    const [r, g, b] = c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const ratio = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05) }
  const seen = [], bad = []
  const judge = (name, e, color) => {
    const under = background(e), r = ratio(over(parse(color), under), under)
    seen.push(name)
    if (r < 4.5) bad.push(`${name}: ${r.toFixed(2)}`)
  }
  for (const e of document.querySelectorAll('body *')) {
    if ([...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && e.getClientRects().length && !/SCRIPT|STYLE/.test(e.tagName)) {
      judge(`${e.tagName} ${e.id || e.className} ${e.textContent.slice(0, 20)}`, e, getComputedStyle(e).color)
    }
  }
  const input = document.querySelector('input')
  judge('input', input, getComputedStyle(input).color)
  judge('placeholder', input, getComputedStyle(input, '::placeholder').color)
  return { seen: seen.length, bad }
}

try {
  const a = await tab(), b = await tab()
  await shows(a, 'guest-2 joined')
  for (const page of [a, b]) await here(page, 2)
  for (const [from, text] of [[a, 'hello from the first tab'], [b, '<b>hello</b> from the second']]) {
    await say(from, text)
    for (const page of [a, b]) await shows(page, text)
  }
  await a.getByPlaceholder('Sent at').waitFor() // the answer to the publish

  // The copy button copies the command, and that is run as it is.
  await a.bringToFront()
  await a.getByRole('button', { name: 'Copy' }).click()
  await a.getByRole('button', { name: 'Copied' }).waitFor()
  const command = await a.evaluate(() => navigator.clipboard.readText())
  assert.equal(command, await a.locator('#curl').textContent())
  assert.ok(command.includes(push), `${command} does not name ${push}`)
  execFileSync('sh', ['-c', `${command} -sSf`])
  for (const page of [a, b]) {
    await shows(page, 'hello from curl')
    assert.equal(await lines(page, 'hello from curl'), 1)
    assert.equal(await lines(page, 'hello from the first tab'), 1)
  }

  // Where the clipboard is not to be had (plain HTTP, another host) the old way copies.
  await a.evaluate(() => navigator.clipboard.writeText('something else'))
  await a.evaluate(() => Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true }))
  await a.locator('#copy').click()
  await a.waitForFunction(() => getSelection().toString().includes('curl -d'))
  await a.evaluate(() => { delete navigator.clipboard; getSelection().removeAllRanges() })
  assert.equal((await a.evaluate(() => navigator.clipboard.readText())).trim(), command)

  // A tab that was offline gets what it missed, once and in order, and keeps its name.
  const missed = [1, 2, 3, 4, 5].map(i => `while you were away, ${i}`)
  await a.getByRole('button', { name: 'Go offline' }).click()
  await a.getByText('offline', { exact: true }).waitFor()
  await shows(b, 'guest-1 left')
  await here(b, 1)
  await a.getByLabel('Message', { exact: true }).fill('not yet')
  await a.getByRole('button', { name: 'Send' }).click()
  for (const text of missed) {
    await say(b, text)
    await shows(b, text)
  }
  assert.equal(await lines(a, 'while you were away'), 0)
  await a.getByRole('button', { name: 'Come back' }).click()
  await shows(a, 'caught up on 5 messages')
  await a.getByText('You are guest-1.').waitFor()
  for (const page of [a, b]) await here(page, 2)
  assert.deepEqual((await texts(a)).filter(t => /while you|caught up/.test(t)), [...missed.map(t => 'guest-2' + t), 'caught up on 5 messages'])
  assert.equal(await a.getByLabel('Message', { exact: true }).inputValue(), 'not yet')
  if (folder) await a.screenshot({ path: `${folder}/demo-back.png` })

  // One that missed more than is kept shows the gap, and then what is kept.
  await a.getByRole('button', { name: 'Go offline' }).click()
  await a.getByText('offline', { exact: true }).waitFor()
  if (folder) await a.screenshot({ path: `${folder}/demo-offline.png` })
  for (let i = 1; i <= 101; i++) {
    const answer = await fetch(`http://${push}/v1/channels/chat/push`, { method: 'POST', body: `flood ${i}.` })
    assert.equal(answer.status, 200)
  }
  await a.getByRole('button', { name: 'Come back' }).click()
  await shows(a, 'flood 101.')
  const gap = 'gap: some messages are lost for good'
  assert.deepEqual((await texts(a)).filter(t => /flood|gap:|caught up/.test(t)).slice(1),
    [gap, ...Array.from({ length: 100 }, (_, i) => `pushflood ${i + 2}.`)])
  if (folder) {
    await a.locator('.gap').scrollIntoViewIfNeeded()
    await a.screenshot({ path: `${folder}/demo-gap.png` })
  }
  await say(b, 'after the gap')
  await shows(a, 'after the gap')
  assert.equal((await texts(a)).at(-1), 'guest-2after the gap')

  // Who missed nothing is told so.
  await a.getByRole('button', { name: 'Go offline' }).click()
  await a.getByRole('button', { name: 'Come back' }).click()
  await shows(a, 'nothing missed')

  // The log scrolls in itself: after 30 messages the form is where it was.
  const form = await a.locator('#form').boundingBox()
  for (let i = 1; i <= 30; i++) await say(i % 3 ? a : b, `message ${i}${i % 7 ? '' : ', which is long enough that it takes more than one line on a phone'} .`)
  for (const page of [a, b]) await shows(page, 'message 30 .')
  assert.deepEqual(await a.locator('#form').boundingBox(), form)
  await fits(a, 'message 30 .')

  // Who reads further up is left there, and is taken along again at the end.
  await a.evaluate(() => { document.getElementById('log').scrollTop = 0 })
  await a.waitForFunction(() => document.getElementById('log').scrollTop === 0)
  await a.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))) // the scroll event came
  await say(b, 'meanwhile')
  await shows(a, 'meanwhile')
  assert.equal(await a.evaluate(() => document.getElementById('log').scrollTop), 0)
  await say(a, 'down again')
  await shows(a, 'down again')
  execFileSync('sh', ['-c', `${command.replace('hello from curl', 'and a push')} -sSf`])
  await shows(a, 'and a push')

  for (const [width, height] of [[1280, 800], [390, 780], [390, 560]]) {
    await a.setViewportSize({ width, height })
    for (const colorScheme of ['light', 'dark']) {
      await a.emulateMedia({ colorScheme })
      await fits(a, 'and a push')
      await a.waitForFunction(() => document.getAnimations().length === 0)
      const { seen, bad } = await a.evaluate(contrasts)
      assert.ok(seen > 30, `only ${seen} texts found`)
      assert.deepEqual(bad, [], `${width} ${colorScheme}: contrast below 4.5`)
      if (folder) await a.screenshot({ path: `${folder}/demo-${width}x${height}-${colorScheme}.png` })
    }
  }
  await b.close()
  await shows(a, 'guest-2 left')
  assert.deepEqual(wrong, [])
} finally {
  await browser.close()
}
