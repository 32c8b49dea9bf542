/** The state of bridges and of their logins: as they reported it, unless they are unreachable. */
import { unavailable } from '../errors.ts'
import type { JsonObject } from '../rules/values.ts'
import type { AppserviceRow, BridgeReachRow, BridgeStateRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { type Checkpoint, checkpointsBetween } from './checkpoints.ts'
import { requireManager } from './managers.ts'
import { readBridge } from './registrations.ts'
import { stateEvent } from './reports.ts'

export const unreachable = 'BRIDGE_UNREACHABLE'

/** The newest states of a bridge: its own first, then one for each login. An unreachable one is that before anything it said. */
export async function bridgeStates(instance: Instance, appservice: number): Promise<BridgeStateRow[]> {
  const [states, reach] = await Promise.all([
    instance.storage.find('bridgeState', { where: { appservice }, orderBy: ['remoteId'] }),
    instance.storage.first('bridgeReach', { appservice }),
  ])
  if (reach?.reachable !== 0) return states
  return [unreachableState(reach), ...states.filter((row) => row.remoteId !== '')]
}

function unreachableState({ instance, appservice, since, error, position }: BridgeReachRow): BridgeStateRow {
  const state = {
    state_event: unreachable,
    timestamp: Math.floor(since / 1_000),
    ttl: 3_600,
    source: 'homeserver',
    error: 'bridge-unreachable',
    ...(error !== null && { message: error }),
  }
  return { instance, appservice, remoteId: '', state: JSON.stringify(state), ts: since, position }
}

export interface GlobalState {
  /** null before the bridge has said anything of itself */
  readonly bridgeState: JsonObject | null
  /** by the id of the login */
  readonly remoteState: Readonly<Record<string, JsonObject>>
}

/** All of it in one object, as bridges report it. Errors: M_FORBIDDEN, M_NOT_FOUND. */
export async function globalState(instance: Instance, actor: Actor, id: string): Promise<GlobalState> {
  const bridge = await readBridge(instance, actor, id)
  const states = await bridgeStates(instance, bridge.key)
  const parsed = states.map(({ remoteId, state }) => [remoteId, JSON.parse(state) as JsonObject] as const)
  return {
    bridgeState: parsed.find(([remoteId]) => remoteId === '')?.[1] ?? null,
    remoteState: Object.fromEntries(parsed.filter(([remoteId]) => remoteId !== '')),
  }
}

const knownStates: ReadonlySet<string> = new Set([
  ...['STARTING', 'UNCONFIGURED', 'RUNNING', unreachable, 'CONNECTING', 'BACKFILLING', 'CONNECTED'],
  ...['TRANSIENT_DISCONNECT', 'BAD_CREDENTIALS', 'UNKNOWN_ERROR', 'LOGGED_OUT'],
])

/** How many of a bridge and its logins are in which state, for metrics. What no bridge should say is `other`. */
export function countStates(states: readonly BridgeStateRow[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { state } of states) {
    const said = stateEvent(JSON.parse(state) as JsonObject)
    const event = knownStates.has(said) ? said : 'other'
    counts.set(event, (counts.get(event) ?? 0) + 1)
  }
  return counts
}

export interface StatusChange {
  readonly position: number
  /** bridges of which a state changed */
  readonly bridges: readonly AppserviceRow[]
  /** oldest first */
  readonly checkpoints: readonly Checkpoint[]
}

/**
 * What changed in the states of bridges, and the checkpoints that came, behind `after` (from now on when it is left out); of one bridge when
 * `id` is given. Ends when the signal is aborted. Errors: M_FORBIDDEN, M_NOT_FOUND; 503 when the homeserver closes.
 */
export async function* watchStatus(
  instance: Instance,
  actor: Actor,
  { id, after }: { readonly id?: string | null | undefined; readonly after?: number | null | undefined },
  signal: AbortSignal,
): AsyncGenerator<StatusChange> {
  requireManager(instance, actor)
  const { storage, bus } = instance
  const bridge = id ? (await readBridge(instance, actor, id)).key : null
  const only = bridge === null ? {} : { appservice: bridge }
  let position = typeof after === 'number' ? Math.min(Math.max(after, 0), bus.published) : bus.published
  while (!signal.aborted) {
    const until = bus.published
    const range = { gt: position, lte: until }
    const [states, reach, slice] = await Promise.all([
      storage.find('bridgeState', { where: { ...only, position: range } }),
      storage.find('bridgeReach', { where: { ...only, position: range } }),
      checkpointsBetween(instance, { after: position, until, bridge }),
    ])
    const { checkpoints } = slice
    position = slice.position
    const changed = [...new Set([...states, ...reach].filter((row) => row.position <= position).map((row) => row.appservice))]
    if (changed.length > 0 || checkpoints.length > 0) {
      yield { position, bridges: await storage.find('appservice', { where: { key: { in: changed } } }), checkpoints }
    }
    if (position === until) await statusChanged(instance, position, signal)
  }
}

/** Resolves when there may be something behind the position, or nobody waits any more. */
function statusChanged(instance: Instance, after: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const stop = () => (instance.leaving.aborted ? reject(unavailable('This homeserver is closing')) : resolve())
  const stopListening = instance.bus.onAny((entry) => {
    if (entry.position > after && entry.kinds.has('bridgeState')) resolve()
  })
  signal.addEventListener('abort', stop)
  instance.leaving.addEventListener('abort', stop)
  const missed = instance.bus.since(after)
  if (signal.aborted || instance.leaving.aborted) stop()
  else if (missed === null || missed.some((entry) => entry.kinds.has('bridgeState'))) resolve()
  return promise.finally(() => {
    stopListening()
    signal.removeEventListener('abort', stop)
    instance.leaving.removeEventListener('abort', stop)
  })
}
