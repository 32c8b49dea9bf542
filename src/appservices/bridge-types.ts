/** The bridges that are in use by many: where each listens unless told otherwise. */
import type { AppserviceRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { requireManager } from './managers.ts'
import { devicesInTransactions } from './registration.ts'
import { registerBridge } from './registrations.ts'

const ports: Readonly<Record<string, number>> = {
  telegram: 29317,
  whatsapp: 29318,
  meta: 29319,
  googlechat: 29320,
  twitter: 29327,
  signal: 29328,
  discord: 29334,
  slack: 29335,
  gmessages: 29336,
  gvoice: 29338,
  bluesky: 29340,
  linkedin: 29341,
}

/** for a type that is not in the list */
const usualPort = 29399

/** Bridges that cannot open a websocket: they are pushed to. */
const pushedTo: ReadonlySet<string> = new Set(['googlechat'])

export interface ConfigureBridge {
  readonly type: string
  readonly id?: string | null | undefined
  readonly url?: string | null | undefined
  /** pushed to over HTTP, at the port of its type unless there is a url */
  readonly http?: boolean | null | undefined
}

/**
 * Registers a bridge of this type unless it is registered already: with a websocket, else on this machine. Its registration then says what its
 * configuration needs. Errors: those of registerBridge.
 */
export async function configureBridge(instance: Instance, actor: Actor, args: ConfigureBridge): Promise<AppserviceRow> {
  requireManager(instance, actor)
  const id = args.id ?? args.type
  const standing = await instance.storage.first('appservice', { id })
  const local = `http://127.0.0.1:${ports[args.type] ?? usualPort}`
  // Asked for HTTP, a bridge keeps the address that it has.
  const pushed = standing?.url && standing.url !== 'websocket' ? standing.url : local
  const usual = args.http || pushedTo.has(args.type) ? pushed : (standing?.url ?? 'websocket')
  // An address that only stays was not named: an operator does not vouch for an owner's by asking for the configuration.
  const url = args.url ?? (usual === standing?.url ? undefined : usual)
  const given = { id, others: devicesInTransactions, ...(url !== undefined && { url }) }
  return registerBridge(instance, actor, given, { bridgeType: args.type })
}
