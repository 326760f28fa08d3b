// The page of examples/ in a real browser: as it was, and with pushcart.
// node tickets.mjs CHROMIUM '[{"name":"flask","url":"http://…","push":"127.0.0.1:…"}]'
// An app without push is one as it was. Out: a line of JSON for each, {"name","error"?}.
import assert from 'node:assert/strict'
import { chromium, request } from 'playwright-core'

const [executablePath, apps] = process.argv.slice(2)
const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
})

// Ann has a window.
async function openAnns(url, clock) {
  const context = await browser.newContext()
  const page = await context.newPage()
  page.setDefaultTimeout(20_000)
  const seen = { errors: [], sockets: 0, lists: 0 }
  page.on('pageerror', err => seen.errors.push(String(err)))
  page.on('websocket', () => { seen.sockets++ })
  page.on('response', answer => { if (answer.url() === `${url}/tickets` && answer.request().method() === 'GET') seen.lists++ })
  if (clock) await page.clock.install()
  await page.goto(url)
  for (const password of ['wrong', 'apple']) {
    await page.getByLabel('Name').fill('ann')
    await page.getByLabel('Password').fill(password)
    await page.getByRole('button', { name: 'Log in' }).click()
  }
  await page.getByRole('heading', { name: 'Tickets' }).waitFor()
  const row = text => page.getByRole('listitem').filter({ hasText: text })
  const add = async title => {
    await page.getByLabel('What is wrong?').fill(title)
    await page.getByRole('button', { name: 'Add' }).click()
    await row(title).waitFor()
  }
  return { page, context, seen, row, add }
}

// Ben fills in forms elsewhere.
async function openBens(url) {
  const forms = await request.newContext({ baseURL: url })
  const submit = async (path, form) => assert.equal((await forms.post(path, { form })).status(), 200, path)
  await submit('/login', { name: 'ben', password: 'banana' })
  return { add: title => submit('/tickets', { title }), close: () => forms.dispose() }
}

const until = async (what, holds) => {
  for (const end = Date.now() + 20_000; !await holds();) {
    assert.ok(Date.now() < end, `not in time: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

// As it was, a window learns of another's ticket ten seconds later.
async function legacy({ url }, ben) {
  const ann = await openAnns(url, true)
  await ann.add('the printer smokes')
  await until('the list is there', () => ann.seen.lists > 0)
  await ben.add('the coffee is cold')
  await ann.page.clock.runFor(10_000)
  await ann.row('the coffee is cold (ben)').waitFor()
  assert.equal(ann.seen.sockets, 0)
  return ann
}

async function withPushcart({ url, push }, ben) {
  const call = async (path, body) => {
    const answer = await fetch(`http://${push}/v1/${path}`, { method: body ? 'POST' : 'GET', body })
    assert.equal(answer.status, 200, path)
    return answer.json()
  }
  const connections = async () => (await call('users/ann')).connections.length
  const ann = await openAnns(url)

  // At once, without asking for the list again: that is asked for at the start and at open.
  await until('ann is connected', async () => await connections() === 1 && ann.seen.lists === 2)
  await ben.add('the <b>printer</b> smokes')
  await ann.row('the <b>printer</b> smokes (ben)').waitFor()
  assert.equal(ann.seen.lists, 2)

  // A connection that breaks comes back, and the page learns what it missed.
  await ann.context.setOffline(true)
  await call('users/ann/disconnect', '{"code":4100}')
  await until('ann is away', async () => await connections() === 0)
  await ben.add('the coffee is cold')
  assert.equal(await ann.row('the coffee is cold').count(), 0)
  await ann.context.setOffline(false)
  await ann.row('the coffee is cold (ben)').waitFor()
  assert.equal(await connections(), 1)

  // What comes with the list and by push has one row.
  await ann.add('the lamp blinks')
  await until('the lists are there', () => ann.seen.lists === 5)
  await ben.add('the end')
  await ann.row('the end (ben)').waitFor()
  assert.deepEqual(await ann.page.getByRole('listitem').allTextContents(),
    ['the end (ben)', 'the lamp blinks (ann)', 'the coffee is cold (ben)', 'the <b>printer</b> smokes (ben)'])
  return ann
}

async function visit(app) {
  try {
    const ben = await openBens(app.url)
    const ann = await (app.push ? withPushcart : legacy)(app, ben)
    assert.deepEqual(ann.seen.errors, [])
    await Promise.all([ann.context.close(), ben.close()])
    return { name: app.name }
  } catch (err) {
    return { name: app.name, error: String(err?.stack ?? err) }
  }
}

await Promise.all(JSON.parse(apps).map(async app => console.log(JSON.stringify(await visit(app)))))
await browser.close()
