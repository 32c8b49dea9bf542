/** The keys of devices, in the JSON of the Matrix API: encryption libraries give and take it as it is. */
import { claimKeys } from '../../devices/claim-keys.ts'
import { uploadKeys } from '../../devices/device-keys.ts'
import type { KeyCounts as Counts } from '../../devices/key-counts.ts'
import { queryKeys } from '../../devices/key-query.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'

export const KeyCounts = builder.objectRef<Counts>('KeyCounts').implement({
  description: 'What a device has left for others to begin sessions with.',
  fields: (t) => ({
    oneTimeKeys: t.field({
      type: 'JsonObject',
      description: 'Algorithm → number of one-time keys that nobody has; clients keep 50 of `signed_curve25519`.',
      resolve: ({ counts }) => counts,
    }),
    unusedFallbackKeyTypes: t.stringList({
      description: 'Algorithms whose fallback key nobody has; for the others it is time for a new one.',
      resolve: ({ unusedFallback }) => JSON.parse(unusedFallback) as string[],
    }),
  }),
})

builder.mutationFields((t) => ({
  uploadKeys: t.field({
    type: KeyCounts,
    description:
      'Stores keys of the device that asks; without any it only counts. Who shares a room with its user is told of new device keys. A key that is there already changes nothing. Anybody with a device; not for an appservice as the owner. Errors: M_MISSING_PARAM without a device, M_INVALID_PARAM for keys of another user or device, for what is no key id and for more than 200 one-time keys, M_UNKNOWN for another key under a used id, M_BAD_JSON, M_TOO_LARGE.',
    args: {
      deviceKeys: t.arg({ type: 'EventContent', description: 'signed: `user_id`, `device_id`, `algorithms`, `keys`, `signatures`' }),
      oneTimeKeys: t.arg({ type: 'EventContent', description: '`algorithm:id` → a string or a signed object; at most 200 wait at a time' }),
      fallbackKeys: t.arg({ type: 'EventContent', description: 'the same; each takes the place of the one of its algorithm' }),
    },
    extensions: { puppet: false },
    resolve: (_, args, context) => uploadKeys(context.instance, requireActor(context), args),
  }),
  claimKeys: t.field({
    type: 'RawJson',
    description:
      'Takes a one-time key of each device, or its fallback key when none is left: the body of POST /keys/claim. Nobody else gets the same one-time key. At most 10 000 devices. Anybody with a token; not for an appservice as the owner. Errors: M_BAD_JSON, M_INVALID_PARAM for what is no user id, M_TOO_LARGE.',
    args: { oneTimeKeys: t.arg({ type: 'JsonObject', required: true, description: 'user id → device id → algorithm' }) },
    extensions: { puppet: false },
    resolve: (_, { oneTimeKeys }, context) => {
      requireActor(context)
      return claimKeys(context.instance, oneTimeKeys)
    },
  }),
}))

builder.queryField('queryKeys', (t) =>
  t.field({
    type: 'RawJson',
    description:
      'The keys of users and of their devices, with the signatures that the viewer may see: the body of POST /keys/query. At most 10 000 users; each of this server stands in the answer. Anybody with a token; not for an appservice as the owner. Errors: M_BAD_JSON, M_INVALID_PARAM for what is no user id, M_TOO_LARGE.',
    args: { deviceKeys: t.arg({ type: 'JsonObject', required: true, description: 'user id → device ids; none for all' }) },
    extensions: { puppet: false },
    resolve: (_, { deviceKeys }, context) => queryKeys(context.instance, requireActor(context), deviceKeys),
  }),
)
