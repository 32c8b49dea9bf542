/** What a sync asks for. https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync */
import { MatrixError, invalidParam } from '../errors.ts'
import { compileSyncFilter, type SyncFilter } from '../rules/filter.ts'
import { isRefusal } from '../rules/values.ts'
import type { Instance } from '../stream/instance.ts'

export interface SyncRequest {
  readonly since?: string | null | undefined
  /** long poll, ms; at most 60 000 */
  readonly timeoutMs?: number | null | undefined
  /** a filter's id, or the filter itself as JSON */
  readonly filter?: string | null | undefined
  readonly fullState?: boolean | null | undefined
  readonly setPresence?: string | null | undefined
  /** which spelling of state_after the client reads instead of state */
  readonly stateAfter?: 'state_after' | 'org.matrix.msc4222.state_after' | null | undefined
}

/** Longest wait of one request. */
export const longestTimeoutMs = 60_000

/** Filters compiled, by their text: most requests of a client carry the same. */
const compiled = new Map<string, SyncFilter>()
const mostCompiled = 500

/** Errors: M_INVALID_PARAM for an unknown id, M_BAD_JSON for a filter of the wrong shape. */
export async function filterOf(instance: Instance, user: number, filter: string | null | undefined): Promise<SyncFilter> {
  if (!filter) return compile('{}')
  if (filter.startsWith('{')) return compile(filter)
  const row = await instance.storage.first('filter', { user, filterId: filter })
  if (!row) throw invalidParam(`No such filter: ${filter}`)
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
