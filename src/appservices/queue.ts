/** What waits for a bridge, for dashboards. */
import type { AppserviceRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'

/** How many events, receipts, messages to devices and changes of keys concern the bridge and were not acknowledged. */
export function queueLength(instance: Instance, { key, cursor }: AppserviceRow): Promise<number> {
  return instance.storage.count('interest', { appservice: key, position: { gt: cursor } })
}

/**
 * Since when the oldest of them waits (ms); null when nothing does. By our own clock: what an event says of its time a bridge may have
 * chosen. What was written by a version that kept no such time is passed over.
 */
export async function waitingSince(instance: Instance, { key, cursor }: AppserviceRow): Promise<number | null> {
  const where = { appservice: key, position: { gt: cursor }, since: { gt: 0 } }
  const [oldest] = await instance.storage.find('interest', { where, orderBy: ['position'], limit: 1 })
  return oldest?.since ?? null
}

export async function botOf(instance: Instance, { bot }: AppserviceRow): Promise<string> {
  return (await instance.storage.first('user', { key: bot }))?.userId ?? ''
}
