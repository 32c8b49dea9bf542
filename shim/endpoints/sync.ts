/** https://spec.matrix.org/v1.19/client-server-api/#syncing */

import { invalidParam } from '../../src/errors.ts'
import { endpoint, graphql } from '../endpoint.ts'
import { Type } from '../type.ts'

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync */
export const sync = endpoint({
  method: 'GET',
  path: '/_matrix/client/v3/sync',
  auth: 'accessToken',
  waits: true,
  query: Type.Object({
    since: Type.Optional(Type.String()),
    from: Type.Optional(Type.String()),
    timeout: Type.Optional(Type.Integer({ minimum: 0 })),
    filter: Type.Optional(Type.String()),
    full_state: Type.Optional(Type.Boolean()),
    set_presence: Type.Optional(Type.String()),
    use_state_after: Type.Optional(Type.Boolean()),
    'org.matrix.msc4222.use_state_after': Type.Optional(Type.Boolean()),
    beeper_previews: Type.Optional(Type.Boolean()),
    // Large answers are streamed to everybody.
    'com.beeper.streaming': Type.Optional(Type.Boolean()),
  }),
  operation: graphql(`
    query Sync($since: String, $timeoutMs: Int, $filter: String, $fullState: Boolean, $setPresence: String, $stateAfter: StateAfter, $previews: Boolean) {
      sync(since: $since, timeoutMs: $timeoutMs, filter: $filter, fullState: $fullState, setPresence: $setPresence, stateAfter: $stateAfter, previews: $previews)
    }
  `),
  variables: ({ query }) => ({
    since: sinceOf(query),
    timeoutMs: Math.min(query.timeout ?? 0, 60_000),
    filter: query.filter ?? null,
    fullState: query.full_state ?? null,
    setPresence: query.set_presence ?? null,
    previews: query.beeper_previews ?? null,
    // Clients read only the spelling that they asked for.
    stateAfter: query.use_state_after ? ('STABLE' as const) : query['org.matrix.msc4222.use_state_after'] ? ('UNSTABLE' as const) : null,
  }),
  // A browser once replayed a stale initial sync.
  headers: { 'cache-control': 'no-store' },
  response: ({ sync }) => sync,
})

/** `from` is what other endpoints call it: whoever sends it here would be given an initial sync each time. */
function sinceOf(query: { readonly since?: string; readonly from?: string }): string | null {
  if (query.from !== undefined) throw invalidParam('from is not a parameter of sync, since is')
  return query.since ?? null
}
