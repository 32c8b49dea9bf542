/** What GET /versions says: only what works. https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions */
import type { Config } from '../config.ts'

export const supportedVersions: readonly string[] = [
  ...['r0.0.1', 'r0.1.0', 'r0.2.0', 'r0.3.0', 'r0.4.0', 'r0.5.0', 'r0.6.0', 'r0.6.1'],
  // None after v1.12: what later ones promise is not all here, and clients need no more.
  ...Array.from({ length: 12 }, (_, index) => `v1.${index + 1}`),
]

/** Flags that clients and bridges look for; each is added with the feature that it names. */
export const unstableFeatures: Readonly<Record<string, boolean>> = {
  // profile fields of any name
  'uk.tcpip.msc4133': true,
  'uk.tcpip.msc4133.stable': true,
  // an appservice asks whether it is reached
  'fi.mau.msc2659.stable': true,
  // uploads after the id, authenticated media
  'fi.mau.msc2246.stable': true,
  'org.matrix.msc3916.stable': true,
  // older Element Web asks before it cross-signs
  'org.matrix.e2e_cross_signing': true,
  // what bridges with `software: hungry` insist on
  'com.beeper.hungry': true,
  // profiles: many fields at once, the whole in one request
  'com.beeper.arbitrary_profile_meta': true,
  'com.beeper.msc4437': true,
  'com.beeper.msc4437.stable': true,
  // the inbox: muted rooms, all of a room's place in it at once, markers that may move back
  'com.beeper.account_data_mute': true,
  'com.beeper.inbox_state': true,
  'com.beeper.msc4446': true,
  // redactions that are sent like messages
  'com.beeper.msc4169': true,
  // history in batches; members as a bridge's bot says
  'com.beeper.batch_sending': true,
  'com.beeper.arbitrary_member_change': true,
  // everybody invited to a new room joined at once
  'com.beeper.room_create_autojoin_invites': true,
  // rooms deleted whole
  'com.beeper.room_yeeting': true,
  // events that are never stored
  'com.beeper.ephemeral': true,
  // a device that gathers room keys while nobody is logged in
  'org.matrix.msc3814': true,
  // rooms in common with somebody
  'uk.half-shot.msc2666.query_mutual_rooms': true,
  'uk.half-shot.msc2666.query_mutual_rooms.stable': true,
  // what calls run over
  'org.matrix.msc4143': true,
  'org.matrix.msc4143.stable': true,
  // all that somebody said, redacted at once
  'org.matrix.msc4194': true,
  // what a redacted event said
  'fi.mau.msc2815': true,
  // administrators lock and suspend people
  'uk.timedout.msc4323': true,
  'uk.timedout.msc4323.stable': true,
}

/** What a setting can turn off. */
const configured: Readonly<Record<string, (config: Config) => boolean>> = {
  'fi.mau.msc2815': ({ redactedContentDays }) => redactedContentDays > 0,
  'org.matrix.msc4143': hasCalls,
  'org.matrix.msc4143.stable': hasCalls,
}

function hasCalls({ rtcLivekitUrl }: Config): boolean {
  return rtcLivekitUrl !== null
}

export function configuredFeatures(config: Config): Readonly<Record<string, boolean>> {
  return Object.fromEntries(Object.entries(unstableFeatures).filter(([flag]) => configured[flag]?.(config) ?? true))
}
