/** What waits for a bridge, for dashboards. */
import { noRoom } from '../devices/device-lists.ts'
import type { AppserviceRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'

/** How many events, receipts, messages to devices and changes of keys concern the bridge and were not acknowledged. */
export function queueLength(instance: Instance, { key, cursor }: AppserviceRow): Promise<number> {
  return instance.storage.count('interest', { appservice: key, position: { gt: cursor } })
}

/** As many are looked at for a time: a change of keys has none. */
const mostLookedAt = 100

/** Time of the oldest undelivered event, receipt or message to a device (ms), null when nothing waits that has one. */
export async function oldestUndelivered(instance: Instance, { key, cursor }: AppserviceRow): Promise<number | null> {
  const { storage } = instance
  const where = { appservice: key, position: { gt: cursor } }
  for (const { room, position } of await storage.find('interest', { where, orderBy: ['position'], limit: mostLookedAt })) {
    const time = room === noRoom ? await sentAt(instance, key, position) : await happenedAt(instance, room, position)
    if (time !== null) return time
  }
  return null
}

async function sentAt({ storage }: Instance, appservice: number, position: number): Promise<number | null> {
  const [message] = await storage.find('toDevice', { where: { appservice, position }, limit: 1 })
  return message?.createdAt ?? null
}

async function happenedAt({ storage }: Instance, room: number, position: number): Promise<number | null> {
  const [event] = await storage.eventsAt([{ room, order: position }])
  if (event) return event.ts
  const [receipt] = await storage.find('receipt', { where: { room, position }, limit: 1 })
  return receipt?.ts ?? null
}

/**
 * Since when something waits (ms), null when nothing does. A transaction under way says it best: of an event only the time is known that its
 * sender gave it, which may be long ago.
 */
export async function waitingSince(instance: Instance, row: AppserviceRow): Promise<number | null> {
  const frozen = await instance.storage.first('frozen', { appservice: row.key })
  return frozen?.createdAt ?? oldestUndelivered(instance, row)
}

export async function botOf(instance: Instance, { bot }: AppserviceRow): Promise<string> {
  return (await instance.storage.first('user', { key: bot }))?.userId ?? ''
}
