/** What goes with a device: its keys, its key counts, the signatures on and by it, and the messages that wait for it. */
import type { DeviceRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import { noteDeviceListChange } from './device-lists.ts'
import { removeKeyCounts } from './key-counts.ts'
import { loadFallbackKeys, removeOneTimeKeys } from './one-time-keys.ts'
import { deviceKeysChanged } from './signature-rows.ts'

/** In the decision that removes the devices, so that nothing of them is seen without them. */
export function devicesRemoved(decision: Decision, devices: readonly DeviceRow[]): void {
  const users = [...new Set(devices.map(({ user }) => user))]
  decision.all([
    () => loadFallbackKeys(decision, devices),
    ...users.map((user) => () => decision.get('dehydratedDevice', { user })),
    ...devices.map(
      ({ user, deviceId }) =>
        () =>
          decision.get('deviceKeys', { user, deviceId }),
    ),
  ])
  const hadKeys = devices.filter((device) => removeAllOf(decision, device))
  for (const user of new Set(hadKeys.map((device) => device.user))) noteDeviceListChange(decision, user)
}

/** True when it had keys that others know. */
function removeAllOf(decision: Decision, { user, deviceId }: DeviceRow): boolean {
  const device = { user, deviceId }
  decision.removeRange('toDevice', { ...device, upTo: Number.MAX_SAFE_INTEGER })
  removeOneTimeKeys(decision, device)
  removeKeyCounts(decision, device)
  const dehydrated = decision.get('dehydratedDevice', { user })
  if (dehydrated?.deviceId === deviceId) decision.remove('dehydratedDevice', dehydrated)
  const keys = decision.get('deviceKeys', device)
  if (!keys) return false
  deviceKeysChanged(decision, keys, null)
  decision.remove('deviceKeys', keys)
  return true
}
