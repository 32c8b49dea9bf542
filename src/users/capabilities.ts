/** What clients may offer their users here. https://spec.matrix.org/v1.19/client-server-api/#capabilities-negotiation */
import { defaultRoomVersion, roomVersions } from '../rules/room-version.ts'
import type { JsonObject } from '../rules/values.ts'

/** Only what works is enabled. */
export function capabilities(): JsonObject {
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
  }
}
