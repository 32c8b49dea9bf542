/** Whom an appservice acts as. https://spec.matrix.org/v1.19/application-service-api/#identity-assertion */
import { forbidden, MatrixError } from '../errors.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { parseRegistration, type Registration } from '../users/registrations.ts'
import { standingOfRow } from '../users/standing.ts'

/** `?user_id=` and `?device_id=`. Errors: M_FORBIDDEN outside the appservice's namespaces, M_UNKNOWN_DEVICE. */
export async function masquerade(instance: Instance, actor: Actor, as: { userId?: string; deviceId?: string }): Promise<Actor> {
  if (actor.appservice === null) return actor
  let acting = actor
  if (as.userId !== undefined && as.userId !== actor.userId) {
    const registration = await readRegistration(instance, actor.appservice)
    const user = await instance.storage.first('user', { userId: as.userId })
    const puppet = as.userId === instance.ownerId
    // A namespace never covers a user with a login.
    const covered = registration.namespaces.users.matches(as.userId) && user?.kind !== 'person'
    if (!puppet && !covered) throw forbidden(`Application service cannot masquerade as this user (${as.userId}).`)
    const standing = user ? { standing: standingOfRow(user) } : {}
    acting = { ...actor, user: user?.key ?? null, userId: as.userId, puppet, device: null, ...standing }
  }
  if (as.deviceId === undefined) return acting
  const device =
    acting.puppet || acting.user === null ? null : await instance.storage.first('device', { user: acting.user, deviceId: as.deviceId })
  if (!device) throw new MatrixError('M_UNKNOWN_DEVICE', `${acting.userId} has no device ${as.deviceId}`)
  return { ...acting, device: as.deviceId }
}

/** By their text: rows read again are new objects, and compiling regexes for each request would be dear. */
const parsed = new Map<string, Registration>()
const mostParsed = 1_000

async function readRegistration(instance: Instance, key: number): Promise<Registration> {
  const row = await instance.storage.first('appservice', { key })
  if (!row) throw new MatrixError('M_UNKNOWN_TOKEN', 'Unknown access token')
  let registration = parsed.get(row.registration)
  if (!registration) {
    registration = parseRegistration(row)
    if (parsed.size >= mostParsed) parsed.clear()
    parsed.set(row.registration, registration)
  }
  return registration
}
