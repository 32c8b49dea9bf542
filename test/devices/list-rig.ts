/** People and bots with devices and keys, and what their syncs tell of other people's. */
import { uploadKeys } from '../../src/devices/device-keys.ts'
import { command } from '../../src/stream/command.ts'
import type { Actor } from '../../src/users/actor.ts'
import { makeDevice } from '../../src/users/sessions.ts'
import { userOf } from '../../src/users/users.ts'
import type { SyncRig } from '../sync/rig.ts'
import { makeDeviceKeys } from './rig.ts'

/** The user on a device of this name. */
export async function withDevice(rig: SyncRig, user: Actor, device = user.device ?? 'BOT'): Promise<Actor> {
  await command(rig.instance, (decision) => {
    if (!decision.get('device', { user: user.user!, deviceId: device }))
      makeDevice(decision, userOf(decision, user.user!), device, 'a device')
  })
  return { ...user, device }
}

/** New keys for the device: the others must ask for them. */
export async function changeKeys(rig: SyncRig, actor: Actor): Promise<void> {
  await uploadKeys(rig.instance, actor, { deviceKeys: makeDeviceKeys(actor.userId, actor.device!) })
}

/** The user on a device with keys. */
export async function withKeys(rig: SyncRig, user: Actor, device?: string): Promise<Actor> {
  const actor = await withDevice(rig, user, device)
  await changeKeys(rig, actor)
  return actor
}

/** A client that asks from its last answer on. */
export class Listener {
  since: string
  readonly actor: Actor
  private readonly rig: SyncRig

  private constructor(rig: SyncRig, actor: Actor, since: string) {
    this.rig = rig
    this.actor = actor
    this.since = since
  }

  /** Of whatever came before it hears nothing. */
  static async start(rig: SyncRig, actor: Actor): Promise<Listener> {
    return new Listener(rig, actor, await rig.now(actor))
  }

  /** User ids in alphabetical order; null when nothing is said. */
  async heard(): Promise<{ changed: string[]; left: string[] } | null> {
    const { next_batch, device_lists: lists } = await this.rig.sync(this.actor, { since: this.since })
    this.since = next_batch
    return lists ? { changed: lists.changed.toSorted(), left: lists.left.toSorted() } : null
  }
}
