/** What a sync asks for. https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync */
import { invalidParam, MatrixError } from '../errors.ts'
import { compileSyncFilter, type SyncFilter } from '../rules/filter.ts'
import { isRefusal } from '../rules/values.ts'
import { type Instance, local } from '../stream/instance.ts'
import { parseToken } from '../stream/token.ts'
import type { Scope } from './scope.ts'

export interface SyncRequest {
  readonly since?: string | null | undefined
  /** long poll, ms; at most 60 000 */
  readonly timeoutMs?: number | null | undefined
  /** a filter's id, or the filter itself as JSON */
  readonly filter?: string | null | undefined
  readonly fullState?: boolean | null | undefined
  readonly setPresence?: string | null | undefined
  /** which spelling of state_after the client reads instead of state */
  readonly stateAfter?: Scope['stateAfter'] | undefined
  /** `beeper_previews`: each room with events says what a list of rooms shows of it */
  readonly previews?: boolean | null | undefined
}

/** Longest wait of one request. */
const longestTimeoutMs = 60_000

export function timeoutOf(request: SyncRequest): number {
  return Math.min(request.timeoutMs ?? 0, longestTimeoutMs)
}

const presences = ['online', 'offline', 'unavailable']

/** Presence is not kept. Errors: M_INVALID_PARAM for what is none. */
export function checkPresence(presence: string | null | undefined): void {
  if (presence === null || presence === undefined || presences.includes(presence)) return
  throw invalidParam(`set_presence must be one of ${presences.join(', ')}`)
}

/**
 * The position to answer from, null for all. A token of a time that is no more (a restored database) or of nowhere is answered from now
 * on: clients never drop a token, and would repeat it for ever.
 */
export function sinceOf(request: SyncRequest, published: number): number | null {
  if (!request.since) return null
  try {
    return Math.min(Math.max(parseToken(request.since), 0), published)
  } catch {
    return published
  }
}

/** Filters compiled, by their text: most requests of a client carry the same. */
const compiled = new Map<string, SyncFilter>()
const mostCompiled = 500

/** Texts of uploaded filters by user and id; an id stands for its content, so they never change. */
const uploaded = local(() => new Map<string, string>())

/** Errors: M_INVALID_PARAM for an unknown id, M_BAD_JSON for a filter of the wrong shape. */
export async function filterOf(instance: Instance, user: number, filter: string | null | undefined): Promise<SyncFilter> {
  if (!filter) return compile('{}')
  if (filter.startsWith('{')) return compile(filter)
  const known = uploaded(instance)
  const key = `${user} ${filter}`
  const text = known.get(key)
  if (text !== undefined) return compile(text)
  const row = await instance.storage.first('filter', { user, filterId: filter })
  if (!row) throw invalidParam(`No such filter: ${filter}`)
  if (known.size >= mostCompiled) known.delete(known.keys().next().value!)
  known.set(key, row.json)
  return compile(row.json)
}

function compile(text: string): SyncFilter {
  const known = compiled.get(text)
  if (known) return known
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw new MatrixError('M_BAD_JSON', 'The filter is not JSON')
  }
  const filter = compileSyncFilter(json)
  if (isRefusal(filter)) throw new MatrixError('M_BAD_JSON', filter.error)
  if (compiled.size >= mostCompiled) compiled.delete(compiled.keys().next().value!)
  compiled.set(text, filter)
  return filter
}
