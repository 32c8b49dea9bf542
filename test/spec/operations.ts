/** test/spec/operations.json with types: what Hungryserv owes for every operation of the specification and beside it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Operation {
  readonly source: 'spec' | 'unstable' | 'beeper'
  readonly section: string
  readonly method: string
  readonly path: string
  /** the specification's; unstable spellings of an operation have `aliasOf` */
  readonly operationId?: string
  readonly aliasOf?: string
  readonly priority?: 'P0' | 'P1' | 'P2' | 'N/A'
  /** the release of the specification that brought it, when later than 1.1 */
  readonly since?: string
  readonly auth: 'none' | 'accessToken' | 'accessTokenOptional' | 'appservice' | 'management' | 'homeserver'
  readonly reauthentication?: boolean
  /** a request that we make: to an appservice or a push gateway */
  readonly outbound?: boolean
  /** nothing that a client can send is refused */
  readonly neverRefuses?: boolean
  readonly state: 'works' | 'answers' | 'planned'
  /** the fixed reply while it does not work */
  readonly answer?: { readonly status: number; readonly errcode?: string; readonly body?: unknown }
}

export function readOperations(): Operation[] {
  const file = JSON.parse(readFileSync(join(import.meta.dirname, 'operations.json'), 'utf8')) as Record<string, Operation[]>
  return [
    ...(file['operations'] ?? []).map((operation) => ({ ...operation, source: 'spec' as const })),
    ...(file['unstable'] ?? []).map((operation) => ({ ...operation, source: 'unstable' as const, section: 'Not in the specification' })),
    ...(file['beeper'] ?? []).map((operation) => ({ ...operation, source: 'beeper' as const, section: 'Beeper' })),
  ]
}
