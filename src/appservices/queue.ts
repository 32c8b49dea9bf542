/** What waits for a bridge, for dashboards. */
import type { AppserviceRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'

/** How many events and receipts concern the bridge and were not acknowledged. */
export function queueLength(instance: Instance, { key, cursor }: AppserviceRow): Promise<number> {
  return instance.storage.count('interest', { appservice: key, position: { gt: cursor } })
}

/** Time of the oldest undelivered event (ms), null when nothing waits. */
export async function oldestUndelivered(instance: Instance, { key, cursor }: AppserviceRow): Promise<number | null> {
  const [oldest] = await instance.storage.find('interest', {
    where: { appservice: key, position: { gt: cursor } },
    orderBy: ['position'],
    limit: 1,
  })
  if (!oldest) return null
  const [event] = await instance.storage.eventsAt([{ room: oldest.room, order: oldest.position }])
  if (event) return event.ts
  const [receipt] = await instance.storage.find('receipt', { where: { room: oldest.room, position: oldest.position }, limit: 1 })
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
