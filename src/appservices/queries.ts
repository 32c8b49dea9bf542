/**
 * Users and rooms that do not exist yet: the bridge in whose namespace one lies is asked, and makes it if it knows somebody or something there.
 * https://spec.matrix.org/v1.19/application-service-api/#querying
 */
import { MatrixError } from '../errors.ts'
import { isRoomAlias, isUserId } from '../rules/event-limits.ts'
import { type Instance, isLocal } from '../stream/instance.ts'
import { type Asked, type Asker, ask, askable } from './questions.ts'

/** Users and aliases of one request that are looked at, and those of them that bridges are asked for; beyond it none is. */
const mostNamed = 1_000
const mostWanted = 50
/** Bridges whose namespaces hold the same id. */
const mostAsked = 3
/** A bridge that says yes and makes nothing is not asked again for so long. */
const keptMs = 10_000

export interface Wanted {
  readonly userIds?: readonly string[]
  readonly aliases?: readonly string[]
}

/**
 * What `run` gives. When it is refused because there is no such user or room, the bridges are asked, and it runs again if they have made them.
 * Errors: those of `run`.
 */
export async function orMade<T>(asker: Asker, wanted: Wanted, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    if (!(error instanceof MatrixError) || error.errcode !== 'M_NOT_FOUND' || !(await wereMade(asker, wanted))) throw error
  }
  return run()
}

/**
 * Asks for what does not exist. True when it may be there now. Nobody makes a bridge do anything without a token, and a bridge is not asked for what
 * it wants itself.
 */
export async function wereMade(asker: Asker, wanted: Wanted): Promise<boolean> {
  const { instance, actor, signal } = asker
  if (!actor) return false
  const named = [
    ...[...new Set(wanted.userIds)].filter(isUserId).map((id) => ({ id, kind: 'users' as const })),
    ...[...new Set(wanted.aliases)].filter(isRoomAlias).map((id) => ({ id, kind: 'aliases' as const })),
  ].filter(({ id }) => isLocal(instance, id))
  if (named.length === 0 || named.length > mostNamed) return false
  const bridges = (await askable(instance)).filter(({ key }) => key !== actor.appservice)
  const known = await existingUsers(instance, named)
  const questions = named.flatMap(({ id, kind }) => {
    const among = known.has(id) ? [] : bridges.filter(({ namespaces }) => namespaces[kind].matches(id)).slice(0, mostAsked)
    return among.length > 0 ? [{ question: `${kind === 'users' ? 'users' : 'rooms'}/${encodeURIComponent(id)}`, among }] : []
  })
  if (questions.length === 0 || questions.length > mostWanted) return false
  asker.release?.()
  for (const { question, among } of questions) {
    if (signal.aborted || !(await oneMakes(instance, among, question))) return false
  }
  return true
}

/** Among these; whoever wants an alias has found that it leads nowhere. */
async function existingUsers(
  instance: Instance,
  named: readonly { id: string; kind: 'users' | 'aliases' }[],
): Promise<ReadonlySet<string>> {
  const userIds = named.flatMap(({ id, kind }) => (kind === 'users' ? [id] : []))
  const rows = await instance.storage.find('user', { where: { userId: { in: userIds } } })
  return new Set(rows.map(({ userId }) => userId))
}

/** One after the other: two that make the same would be in each other's way. */
async function oneMakes(instance: Instance, bridges: readonly Asked[], question: string): Promise<boolean> {
  for (const bridge of bridges) if ((await ask(instance, bridge, question, keptMs)) !== null) return true
  return false
}
