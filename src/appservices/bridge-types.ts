/** The bridges that are in use by many: where each listens unless told otherwise. */
import type { AppserviceRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { requireManager } from './managers.ts'
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

/** Registers a bridge of this type on this machine unless it is registered already. Errors: those of registerBridge. */
export async function configureBridge(
  instance: Instance,
  actor: Actor,
  args: { type: string; id?: string | null | undefined; url?: string | null | undefined },
): Promise<AppserviceRow> {
  requireManager(instance, actor)
  const id = args.id ?? args.type
  const standing = await instance.storage.first('appservice', { id })
  const url = args.url ?? standing?.url ?? `http://127.0.0.1:${ports[args.type] ?? usualPort}`
  return registerBridge(instance, actor, { id, url })
}
