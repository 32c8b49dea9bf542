/**
 * Questions to bridges that are pushed to: whether somebody or a room exists, and what they know of their networks. A bridge is asked the same once
 * at a time, whoever waits for it, and its answer counts for a moment. https://spec.matrix.org/v1.19/application-service-api/#querying
 */
import type { AppserviceRow } from '../storage/tables.ts'
import { type Instance, local } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { parseRegistration, type Registration } from '../users/registrations.ts'
import { sinksOf, targetOf } from './delivery.ts'

/** Who asks, as both faces know it. */
export interface Asker {
  readonly instance: Instance
  readonly actor: Actor | null
  /** aborted when nobody wants the answer any more */
  readonly signal: AbortSignal
  /** Gives the place in the homeserver's line back: a bridge asks us while it is asked. */
  release?(): void
}

/** A bridge that can be asked: it has an address and is not paused. One with a websocket knows no such command. */
export type Asked = Registration & { readonly row: AppserviceRow & { readonly url: string } }

/** How long a no counts, and no answer at all, ms. */
const refusalMs = 10_000
/** Who may wait for an answer at a time, of one homeserver; others are told that there is none. */
const mostWaiting = 200
/** Answers remembered, of at most 64 KiB each. */
const mostKept = 200

interface Known {
  readonly answer: Promise<string | null>
  /** when it is asked again (ms); never while it is under way */
  until: number
}

interface Questions {
  waiting: number
  /** by the version of the registration and the question, the oldest first */
  readonly known: Map<string, Known>
  bridges: readonly Asked[]
}

const questionsOf = local<Questions>(() => ({ waiting: 0, known: new Map(), bridges: [] }))

/** Those that can be asked, in the order in which they were registered. */
export async function askable(instance: Instance): Promise<readonly Asked[]> {
  const questions = questionsOf(instance)
  const rows = await instance.storage.find('appservice', { where: { status: 'active' }, orderBy: ['key'] })
  // Compiling the namespaces of all of them each time would be dear.
  const parsed = new Map(questions.bridges.map((bridge) => [bridge.row.position, bridge]))
  questions.bridges = rows.flatMap((row) => {
    const { url } = row
    if (url === null || url === 'websocket') return []
    return [parsed.get(row.position) ?? { ...parseRegistration(row), row: { ...row, url } }]
  })
  return questions.bridges
}

/** The body of its answer, which counts for `keptMs`; null when it says no, or nothing. */
export async function ask(instance: Instance, { row }: Asked, question: string, keptMs: number): Promise<string | null> {
  const questions = questionsOf(instance)
  const sinks = sinksOf(instance)
  if (!sinks || questions.waiting >= mostWaiting) return null
  const { known } = questions
  const now = instance.ports.now()
  const key = `${row.position} ${question}`
  questions.waiting++
  try {
    const standing = known.get(key)
    if (standing && standing.until > now) return await standing.answer
    const asked: Known = { answer: sinks.ask(targetOf(row), question, instance.leaving), until: Number.POSITIVE_INFINITY }
    known.delete(key)
    known.set(key, asked)
    forget(known, now)
    const answer = await asked.answer
    asked.until = instance.ports.now() + (answer === null ? refusalMs : keptMs)
    if (answer === null) instance.ports.log.debug({ appservice: row.id, question }, 'a bridge said no, or nothing')
    return answer
  } finally {
    questions.waiting--
  }
}

/** What counts no longer, and the oldest beyond the bound. What is under way stays. */
function forget(known: Map<string, Known>, now: number): void {
  for (const [key, { until }] of known) {
    if (until <= now || (known.size > mostKept && until !== Number.POSITIVE_INFINITY)) known.delete(key)
  }
}
