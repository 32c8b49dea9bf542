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

export async function botOf(instance: Instance, { bot }: AppserviceRow): Promise<string> {
  return (await instance.storage.first('user', { key: bot }))?.userId ?? ''
}
