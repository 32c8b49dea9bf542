/**
 * What waits for a device. A message stays until the device syncs with a token behind it, so it survives a crash between the answer and the next
 * request. https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging
 */
import type { ToDeviceRow } from '../storage/tables.ts'
import { command } from '../stream/command.ts'
import { type Instance, local } from '../stream/instance.ts'

/** Devices of which it is remembered where their messages lie; the others are looked up again. */
const mostRemembered = 10_000

/** Whatever is stored for a device lies between the two; nothing is when they cross. */
interface Bounds {
  oldest: number
  /** null: unknown; 0: nothing is stored */
  newest: number | null
}

const bounds = local(() => new Map<string, Bounds>())

function boundsOf(instance: Instance, user: number, deviceId: string): Bounds {
  const all = bounds(instance)
  const key = `${user}\0${deviceId}`
  let known = all.get(key)
  if (known) all.delete(key)
  else {
    if (all.size >= mostRemembered) all.delete(all.keys().next().value!)
    known = { oldest: 0, newest: null }
  }
  all.set(key, known)
  return known
}

/** A message was committed. */
export function noteMessage(instance: Instance, { user, deviceId, position }: ToDeviceRow): void {
  const known = boundsOf(instance, user, deviceId)
  if (isEmpty(known)) known.oldest = position
  known.newest = Math.max(known.newest ?? 0, position)
}

function isEmpty({ oldest, newest }: Bounds): boolean {
  return newest !== null && (newest < oldest || newest === 0)
}

/** No message of the device is newer; null when nobody looked yet. Who has read up to it need not look. */
export function inboxMark(instance: Instance, user: number, deviceId: string): number | null {
  return bounds(instance).get(`${user}\0${deviceId}`)?.newest ?? null
}

export interface InboxWindow {
  /** behind this position; null: from the first message */
  readonly after: number | null
  /** up to this position, at most the published one */
  readonly until: number
  readonly limit: number
}

/** The messages of a device, oldest first. The same window again gives the same ones, until they are acknowledged. */
export async function readInbox(instance: Instance, user: number, deviceId: string, window: InboxWindow): Promise<ToDeviceRow[]> {
  const { published } = instance.bus
  const { until, limit } = window
  const after = Math.min(window.after ?? 0, until)
  const position = { gt: after, lte: until }
  // Asked for before the read: if it is forgotten meanwhile, for the sake of others, so is what is found out about it here.
  const known = boundsOf(instance, user, deviceId)
  const rows = await instance.storage.find('toDevice', { where: { user, deviceId, position }, orderBy: ['position'], limit })
  // What was committed meanwhile is noted, and lies behind `until`.
  const isAll = known.newest === null ? until >= published : until >= known.newest
  if (isAll && rows.length < limit) known.newest = rows.at(-1)?.position ?? Math.min(known.newest ?? after, after)
  return rows
}

/**
 * The device has everything up to this position: it goes. Where nothing can be there nothing is written. What could not be removed is not read
 * again by who goes on from there, and goes with the next. Errors: 503 when it could not.
 */
export async function acknowledgeInbox(instance: Instance, user: number, deviceId: string, position: number): Promise<void> {
  // What comes behind the published position was never sent.
  const upTo = Math.min(position, instance.bus.published)
  const known = boundsOf(instance, user, deviceId)
  if (isEmpty(known) || upTo < known.oldest) return
  // While it is unknown something could always be there, and each sync would write.
  if (known.newest === null) await lookForNewest(instance, user, deviceId, known)
  if (known.oldest === 0 && !isEmpty(known) && !(await holdsAny(instance, user, deviceId, upTo))) known.oldest = upTo + 1
  if (isEmpty(known) || upTo < known.oldest) return
  await command(instance, (decision) => {
    decision.removeRange('toDevice', { user, deviceId, upTo })
    decision.onCommitted(() => {
      known.oldest = Math.max(known.oldest, upTo + 1)
    })
  })
}

/** The same for who need not wait for it: never rejects. */
export async function acknowledgeUnwaited(instance: Instance, user: number, deviceId: string, position: number): Promise<void> {
  try {
    await acknowledgeInbox(instance, user, deviceId, position)
  } catch (error) {
    if (!instance.closed.aborted) instance.ports.log.warn({ err: error }, 'acknowledged messages were not removed')
  }
}

async function lookForNewest(instance: Instance, user: number, deviceId: string, known: Bounds): Promise<void> {
  const [newest] = await instance.storage.keys('toDevice', { where: { user, deviceId }, orderBy: ['-position'], limit: 1 })
  // What was committed meanwhile was noted.
  known.newest ??= newest?.position ?? 0
}

/** Whether a removal up to there would find something: asked once per device after a start. */
async function holdsAny(instance: Instance, user: number, deviceId: string, upTo: number): Promise<boolean> {
  const position = { lte: upTo }
  return (await instance.storage.keys('toDevice', { where: { user, deviceId, position }, limit: 1 })).length > 0
}
