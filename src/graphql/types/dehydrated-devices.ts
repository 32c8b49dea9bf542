/** A device that gathers room keys while nobody is logged in. */
import {
  deleteDehydratedDevice,
  type DehydratedMessages as Messages,
  putDehydratedDevice,
  readDehydratedDevice,
  readDehydratedMessages,
} from '../../devices/dehydrated-devices.ts'
import type { DehydratedDeviceRow } from '../../storage/tables.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'

const DehydratedDevice = builder.objectRef<DehydratedDeviceRow>('DehydratedDevice').implement({
  description: 'A device that nobody is logged in with: it is sent room keys, and the next device of its user reads them from it.',
  fields: (t) => ({
    deviceId: t.exposeID('deviceId'),
    deviceData: t.field({
      type: 'JsonObject',
      description: 'encrypted by the client, but for its `algorithm`',
      resolve: (row) => row.deviceData,
    }),
    createdAt: t.expose('createdAt', { type: 'Timestamp' }),
  }),
})

const DehydratedMessages = builder.objectRef<Messages>('DehydratedMessages').implement({
  description: 'Messages that wait for a dehydrated device.',
  fields: (t) => ({
    messages: t.field({
      type: ['JsonObject'],
      description: '`type`, `sender` and `content`, the oldest first.',
      resolve: ({ messages }) => messages,
    }),
    nextBatch: t.exposeString('nextBatch', { description: 'goes on behind the last one' }),
    hasMore: t.exposeBoolean('hasMore', { description: 'Whether more wait already.' }),
  }),
})

const self = 'Of any user for themselves; not for an appservice as the owner.'

builder.queryFields((t) => ({
  dehydratedDevice: t.field({
    type: DehydratedDevice,
    description: `The own dehydrated device. ${self} Errors: M_NOT_FOUND when there is none.`,
    resolve: (_, __, context) => readDehydratedDevice(context.instance, requireActor(context)),
  }),
  dehydratedMessages: t.field({
    type: DehydratedMessages,
    description: `At most 100 messages that wait for the own dehydrated device. They stay until it is replaced or deleted. ${self} Errors: M_FORBIDDEN for any other device, M_INVALID_PARAM.`,
    args: { deviceId: t.arg.id({ required: true }), from: t.arg.string({ description: 'a `nextBatch`' }) },
    resolve: (_, args, context) => readDehydratedMessages(context.instance, requireActor(context), args),
  }),
}))

builder.mutationFields((t) => ({
  putDehydratedDevice: t.field({
    type: DehydratedDevice,
    description: `Makes the own dehydrated device, with its keys; the one before goes with its keys and messages. ${self} Errors: M_INVALID_PARAM for the id of another device and for what is wrong with the keys, M_MISSING_PARAM, M_BAD_JSON, M_TOO_LARGE, M_FORBIDDEN for more than 100 devices.`,
    args: {
      deviceId: t.arg.id({ required: true, description: 'its public Curve25519 key' }),
      deviceData: t.arg({ type: 'JsonObject', required: true, description: 'holds `algorithm`; at most 64 KiB' }),
      displayName: t.arg.string({ description: 'at most 255 characters' }),
      deviceKeys: t.arg({ type: 'JsonObject', required: true }),
      oneTimeKeys: t.arg({ type: 'JsonObject', description: '`algorithm:id` → key' }),
      fallbackKeys: t.arg({ type: 'JsonObject', description: '`algorithm:id` → key' }),
    },
    resolve: (_, args, context) => putDehydratedDevice(context.instance, requireActor(context), args),
  }),
  deleteDehydratedDevice: t.id({
    description: `Deletes the own dehydrated device, and answers with its id. ${self} Errors: M_NOT_FOUND when there is none.`,
    resolve: (_, __, context) => deleteDehydratedDevice(context.instance, requireActor(context)),
  }),
}))
