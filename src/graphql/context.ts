/** What every resolver gets: whose homeserver, who asks, and when to give up. Both faces build one per request (or per socket operation). */
import type { Config } from '../config.ts'
import { MatrixError } from '../errors.ts'
import type { Ports } from '../ports.ts'
import type { Shard } from '../storage/storage.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { standingOf, userLocked } from '../users/standing.ts'

/** The process's instances: finds the one that a request means. */
export interface Host {
  readonly config: Config
  readonly ports: Ports
  readonly shards: readonly Shard[]
  /** by the name in `/_hungryserv/{instance}/…`; throws a MatrixError when there is none, or it is not open here */
  instance(name: string): Promise<Instance>
  defaultInstance(): Promise<Instance>
  byOwner(localpart: string, domain: string): Promise<Instance | null>
  /**
   * `ip`: the address of the peer, for the device list. Throws 401 (no such token, a prefix that disagrees, a suspended homeserver) or 503
   * (another process has the instance).
   */
  authenticate(token: string, prefix: string | null, ip?: string | null): Promise<Identity>
  /** The actor that an appservice acts as: `?user_id=` and `?device_id=`. Throws 403 outside its namespaces. */
  masquerade(instance: Instance, actor: Actor, as: { userId?: string; deviceId?: string }): Promise<Actor>
  /** Nobody uses a suspended one, with a token or without. */
  isSuspended(instance: Instance): boolean
  /**
   * Calls `end` with the 401 when the actor's token is revoked or expires, or its user is locked, at once if that was so already; what comes
   * back stops listening.
   */
  onSessionEnd(instance: Instance, actor: Actor, end: (error: MatrixError) => void): () => void
}

export type { Instance }

export interface Identity {
  readonly instance: Instance
  readonly actor: Actor
}

export interface Context {
  readonly host: Host
  readonly instance: Instance
  /** null when the request came without a token */
  readonly actor: Actor | null
  /** aborted when the connection is gone: long polls and subscriptions end */
  readonly signal: AbortSignal
  /** address of the peer, for rate limits and the device list */
  readonly ip: string
  readonly userAgent: string | null
  /** the time an appservice gave its event (`?ts=`), milliseconds since the epoch */
  readonly ts: number | undefined
  /** counts the root fields of a client's operation; throws M_LIMIT_EXCEEDED. The shim's own operations were counted with their request. */
  readonly charge?: ((fields: readonly string[]) => void) | undefined
  /** gives the place in the homeserver's line back: for who waits for somebody else */
  release?(): void
  /** the path named the homeserver: no secret may lead to another */
  readonly prefixed?: boolean
}

/** Why a signal is aborted whose connection is gone. One for all: an error of its own, with its stack, costs more than a small request. */
export const connectionClosed = new DOMException('The connection was closed', 'AbortError')

/** 401 M_USER_LOCKED with soft_logout when the homeserver is suspended. https://spec.matrix.org/v1.19/client-server-api/#account-locking */
export function requireActive(host: Host, instance: Instance): Instance {
  if (host.isSuspended(instance)) throw new MatrixError('M_USER_LOCKED', 'This homeserver is suspended', { soft_logout: true })
  return instance
}

/** 401 M_USER_LOCKED with soft_logout for who is locked. https://spec.matrix.org/v1.19/client-server-api/#account-locking */
export function requireUnlocked({ instance, actor }: Pick<Context, 'instance' | 'actor'>): void {
  if (standingOf(instance, actor).locked) throw userLocked()
}

/** What `wait` gives; its signal is aborted by the end of the connection and by that of the session, which is then the answer: 401. */
export async function whileInSession<T>(context: Context, wait: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const session = new AbortController()
  const stopListening = context.host.onSessionEnd(context.instance, requireActor(context), (error) => session.abort(error))
  try {
    return await wait(AbortSignal.any([context.signal, session.signal]))
  } finally {
    stopListening()
  }
}

/** 401 M_MISSING_TOKEN without a token. */
export function requireActor(context: Context): Actor {
  if (!context.actor) throw new MatrixError('M_MISSING_TOKEN', 'Missing access token')
  return context.actor
}
