/**
 * A bridge on matrix-appservice, the library under matrix.org's bridges. Its remote side is the file journal.jsonl.
 *
 *     node bridge.ts config.json    {"homeserver", "domain", "owner", "registration": {…}}
 *
 * Each line of the journal is {"request"}: one of the homeserver and its answer, {"event"}: an event taken for the first time, {"ephemeral"},
 * or {"answered"}. What people say is answered by the ghost `echo`.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { AppService, AppServiceRegistration } from 'matrix-appservice'

// biome-ignore lint/suspicious/noExplicitAny: a bridge reads what it gets
type Json = any

const { homeserver, domain, owner, registration: given } = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as Json
const registration = AppServiceRegistration.fromObject(given)!
const service = new AppService({ homeserverToken: given.hs_token })
const mark = 'fi.mau.double_puppet_source'

const journal = 'journal.jsonl'
const lines: Json[] = existsSync(journal)
  ? readFileSync(journal, 'utf8')
      .trim()
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line))
  : []
const seen = new Map<string, Json>(lines.flatMap(({ event }) => (event ? [[event.event_id, event]] : [])))
const answered = new Set<string>(lines.flatMap((line) => line.answered ?? []))
const note = (line: Json): void => appendFileSync(journal, `${JSON.stringify(line)}\n`)

/** The next so many events make the library answer 500, though they are taken. */
let failing = 0
/** Answers are given one after the other. */
let answers = Promise.resolve()

// The library answers a transaction when its listeners have returned: what they have not written down by then would be lost.
service.on('event', (event: Json) => {
  if (!seen.has(event.event_id)) {
    seen.set(event.event_id, event)
    note({ event })
    answers = answers.then(() => answer(event))
  }
  if (failing > 0 && failing--) throw new Error('told to fail')
})
service.on('http-log', (text: string) => note({ request: /"(.*?)" \d+/.exec(text)?.[0] }))
service.on('ephemeral', (event: Json) => note({ ephemeral: event }))

/** The event's id makes the request the same when a bridge that was killed makes it again. */
async function answer({ type, sender, event_id: eventId, room_id: roomId, content }: Json): Promise<void> {
  const own = registration.isUserMatch(sender, true) || content[mark] !== undefined
  if (type !== 'm.room.message' || own || answered.has(eventId)) return
  const path = `rooms/${encodeURIComponent(roomId)}/send/m.room.message/${encodeURIComponent(`echo ${eventId}`)}`
  const said = { msgtype: 'm.text', body: `echo of ${content.body}` }
  while (!(await request('echo', 'PUT', path, said).catch(() => null))?.ok) await new Promise((resolve) => setTimeout(resolve, 200))
  answered.add(eventId)
  note({ answered: eventId })
}

/** As the bot, as the owner by double puppeting, or as the ghost of this name. */
function request(name: string, method: string, path: string, body?: Json): Promise<Response> {
  const ghost = `@${given.id}_${name}:${domain}`
  const userId = name === 'bot' ? `@${given.sender_localpart}:${domain}` : name === 'owner' ? owner : ghost
  const text = body && JSON.stringify(name === 'owner' ? { ...body, [mark]: given.id } : body)
  return fetch(`${homeserver}/_matrix/client/v3/${path}${path.includes('?') ? '&' : '?'}user_id=${encodeURIComponent(userId)}`, {
    method,
    headers: { authorization: `Bearer ${given.as_token}` },
    ...(body && { body: text }),
  })
}

// POST /control?as={name} {method, path, body}: a request to the homeserver; {fail}: see above.
service.expressApp.post('/control', async (incoming: Json, outgoing: Json) => {
  const { fail, method, path, body } = incoming.body
  if (fail) failing = fail
  if (fail) return outgoing.send({})
  const reply = await request(incoming.query.as, method, path, body).catch((error) => Response.json({ error: `${error}` }, { status: 502 }))
  outgoing.status(reply.status).send(await reply.json())
})

for (const event of seen.values()) answers = answers.then(() => answer(event))
await service.listen(Number(new URL(given.url).port), '127.0.0.1', 511)
// A sign of life: what waits is delivered soon.
await request('bot', 'GET', 'account/whoami').catch(() => null)
