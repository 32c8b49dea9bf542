/** A device that never syncs does not fill the disk: its oldest messages go when there are too many, and in time. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { sliceOfRows } from '../jobs/jobs.ts'
import { removeInSlices } from '../jobs/remove-in-slices.ts'
import type { KeyOf } from '../storage/change-set.ts'
import type { ToDeviceRow } from '../storage/tables.ts'
import { type Instance, local } from '../stream/instance.ts'

/** What one device keeps. In between there may be as much more as is written until it is counted again. */
export const mostWaiting = { messages: 10_000, bytes: 32_000_000 }
/** Counted again after so many messages, or bytes of them. */
const countedEvery = { messages: 1_000, bytes: 4_000_000 }
/** Devices whose growth is remembered. */
const mostRemembered = 10_000

/** Messages that have waited as long go when their device was not seen as long. */
export const waitingLifetimeMs = 30 * 24 * 60 * 60_000

interface Growth {
  readonly user: number
  readonly deviceId: string
  messages: number
  bytes: number
}

class Growing {
  /** since they were counted last */
  readonly devices = new Map<string, Growth>()
  readonly due: Growth[] = []
  counting = false
}

const growing = local(() => new Growing())

/** A message was committed. Nobody waits for what may follow from it. */
export function noteGrowth(instance: Instance, { user, deviceId, content }: ToDeviceRow): void {
  const { devices, due } = growing(instance)
  const key = `${user}\0${deviceId}`
  const growth = devices.get(key) ?? { user, deviceId, messages: 0, bytes: 0 }
  growth.messages++
  growth.bytes += content.length
  devices.delete(key)
  if (growth.messages < countedEvery.messages && growth.bytes < countedEvery.bytes) {
    if (devices.size >= mostRemembered) devices.delete(devices.keys().next().value!)
    devices.set(key, growth)
    return
  }
  due.push(growth)
  void count(instance)
}

async function count(instance: Instance): Promise<void> {
  const all = growing(instance)
  if (all.counting) return
  all.counting = true
  try {
    for (let next = all.due.shift(); next && !instance.closed.aborted; next = all.due.shift()) {
      await nextTurn()
      await trimInbox(instance, next.user, next.deviceId)
    }
  } catch (error) {
    // It is counted again when it has grown again.
    if (!instance.closed.aborted) instance.ports.log.warn({ err: error }, 'the messages of a device were not counted')
  } finally {
    all.counting = false
  }
}

/** Removes the oldest messages of a device beyond what it keeps, in slices. */
export async function trimInbox(instance: Instance, user: number, deviceId: string, most = mostWaiting): Promise<void> {
  const upTo = await instance.storage.toDeviceSurplus(user, deviceId, most)
  if (upTo === null) return
  await removeInSlices(instance, 'toDevice', (limit) =>
    instance.storage.keys('toDevice', { where: { user, deviceId, position: { lte: upTo } }, orderBy: ['position'], limit }),
  )
}

/** Removes what nobody has come for, in slices. A dehydrated device is never seen: what it gathers waits for as long as it takes. */
export async function forgetUnreadMessages(instance: Instance): Promise<void> {
  const { storage, ports, closed } = instance
  const lt = ports.now() - waitingLifetimeMs
  for (let offset = 0; !closed.aborted; offset += sliceOfRows) {
    const devices = await storage.keys('device', {
      where: { lastSeenTs: { lt } },
      orderBy: ['user', 'deviceId'],
      limit: sliceOfRows,
      offset,
    })
    const users = [...new Set(devices.map(({ user }) => user))]
    const gathering = new Map(
      (await storage.find('dehydratedDevice', { where: { user: { in: users } } })).map(({ user, deviceId }) => [user, deviceId]),
    )
    for (const { user, deviceId } of devices) {
      if (gathering.get(user) === deviceId) continue
      await nextTurn()
      await removeInSlices(instance, 'toDevice', (limit) => oldestBefore(instance, { user, deviceId }, lt, limit))
    }
    if (devices.length < sliceOfRows) return
  }
}

/** Of the oldest messages of a device those from before `lt`. The others are not looked at: there may be thousands of them. */
async function oldestBefore(
  { storage }: Instance,
  device: { readonly user: number; readonly deviceId: string },
  lt: number,
  limit: number,
): Promise<KeyOf<'toDevice'>[]> {
  const last = (await storage.keys('toDevice', { where: device, orderBy: ['position'], limit })).at(-1)
  return last ? storage.keys('toDevice', { where: { ...device, position: { lte: last.position }, createdAt: { lt } } }) : []
}
