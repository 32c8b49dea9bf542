/** What clients may offer their users here. https://spec.matrix.org/v1.19/client-server-api/#capabilities-negotiation */
import { defaultRoomVersion, roomVersions } from '../rules/room-version.ts'
import type { JsonObject } from '../rules/values.ts'
import type { Actor } from './actor.ts'
import { isModerator } from './moderation.ts'

/** Only what works is enabled, and told only to who may use it. */
export function capabilities(actor: Actor): JsonObject {
  const moderation = { suspend: true, lock: true }
  return {
    'm.room_versions': {
      default: defaultRoomVersion.id,
      available: Object.fromEntries(Object.keys(roomVersions).map((version) => [version, 'stable'])),
    },
    'm.change_password': { enabled: true },
    'm.set_displayname': { enabled: true },
    'm.set_avatar_url': { enabled: true },
    'm.profile_fields': { enabled: true },
    'm.3pid_changes': { enabled: false },
    'm.get_login_token': { enabled: true },
    // MSC4323, under both names
    ...(isModerator(actor) ? { 'm.account_moderation': moderation, 'uk.timedout.msc4323': moderation } : {}),
  }
}
