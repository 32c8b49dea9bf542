/** Finding users by name. https://spec.matrix.org/v1.19/client-server-api/#user-directory */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { UserRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from './actor.ts'
import { requireUser } from './users.ts'

/** Users looked at in one go; an instance has thousands of ghosts, and others wait meanwhile. */
const pageSize = 500
/** Matches gathered before the best are chosen. */
const mostMatches = 1_000
const mostResults = 50

export interface Found {
  readonly users: readonly UserRow[]
  /** there are more */
  readonly limited: boolean
}

/**
 * Users whose id or display name holds the term, whatever the case; names that begin with it first. The owner finds everybody, others those
 * who share a room with them.
 */
export async function searchUsers(
  instance: Instance,
  actor: Actor,
  args: { term: string; limit?: number | null | undefined },
): Promise<Found> {
  const asking = requireUser(actor)
  const limit = Math.min(Math.max(args.limit ?? 10, 1), mostResults)
  const term = args.term.trim().toLowerCase()
  if (term === '') return { users: [], limited: false }
  const matches: UserRow[] = []
  let after = 0
  for (;;) {
    const page = await instance.storage.find('user', { where: { key: { gt: after }, status: 'active' }, orderBy: ['key'], limit: pageSize })
    const found = page.filter((user) => user.key !== asking && holds(user, term))
    matches.push(...(actor.userId === instance.ownerId ? found : await sharingRooms(instance, asking, found)))
    const last = page.at(-1)
    if (!last || page.length < pageSize || matches.length >= mostMatches) break
    after = last.key
    await nextTurn()
  }
  matches.sort((a, b) => rank(a, term) - rank(b, term))
  return { users: matches.slice(0, limit), limited: matches.length > limit }
}

function holds(user: UserRow, term: string): boolean {
  return user.userId.toLowerCase().includes(term) || (user.displayName?.toLowerCase().includes(term) ?? false)
}

function rank(user: UserRow, term: string): number {
  if (user.userId.toLowerCase() === term) return 0
  if (user.displayName?.toLowerCase().startsWith(term)) return 1
  return user.userId.toLowerCase().startsWith(`@${term}`) ? 2 : 3
}

async function sharingRooms(instance: Instance, asking: number, users: readonly UserRow[]): Promise<UserRow[]> {
  if (users.length === 0) return []
  const { storage } = instance
  const own = await storage.find('membership', { where: { user: asking, membership: 'join' } })
  const shared = await storage.find('membership', {
    where: { user: { in: users.map((user) => user.key) }, room: { in: own.map(({ room }) => room) }, membership: 'join' },
  })
  const seen = new Set(shared.map(({ user }) => user))
  return users.filter((user) => seen.has(user.key))
}
