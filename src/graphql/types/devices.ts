/** Devices: sessions of people, and what bridges keep keys for. */
import { deleteDevices, type UpdatedDevice as Updated, updateDevice } from '../../devices/device-management.ts'
import type { DeviceRow } from '../../storage/tables.ts'
import { readDevice, readDevices } from '../../users/sessions.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'
import { proof, Viewer } from './accounts.ts'

const Device = builder.objectRef<DeviceRow>('Device').implement({
  description: 'A session of a user, or a device that an appservice made for one of its users.',
  fields: (t) => ({
    deviceId: t.exposeID('deviceId'),
    displayName: t.exposeString('displayName', { nullable: true }),
    lastSeenIp: t.exposeString('lastSeenIp', { nullable: true }),
    lastSeenTs: t.expose('lastSeenTs', { type: 'Timestamp' }),
    createdAt: t.expose('createdAt', { type: 'Timestamp' }),
  }),
})

const UpdatedDevice = builder.objectRef<Updated>('UpdatedDevice').implement({
  description: 'A device as it is now.',
  fields: (t) => ({
    device: t.expose('device', { type: Device }),
    created: t.exposeBoolean('created', { description: 'Whether it was made just now.' }),
  }),
})

builder.objectField(Viewer, 'devices', (t) =>
  t.field({
    type: [Device],
    description: 'All sessions. Not for an appservice as the owner.',
    extensions: { puppet: false },
    resolve: (actor, _, context) => readDevices(context.instance, actor),
  }),
)

builder.queryFields((t) => ({
  devices: t.field({
    type: [Device],
    description: 'The own devices, at most 100. Not for an appservice as the owner. Errors: M_FORBIDDEN for a user who is not made yet.',
    extensions: { puppet: false },
    resolve: (_, __, context) => readDevices(context.instance, requireActor(context)),
  }),
  device: t.field({
    type: Device,
    description: 'One of the own devices. Not for an appservice as the owner. Errors: M_NOT_FOUND.',
    args: { deviceId: t.arg.id({ required: true }) },
    extensions: { puppet: false },
    resolve: (_, { deviceId }, context) => readDevice(context.instance, requireActor(context), deviceId),
  }),
}))

builder.mutationFields((t) => ({
  updateDevice: t.field({
    type: UpdatedDevice,
    description:
      'Renames a device of one’s own. An appservice makes one of its own users’ this way when there is none; it has no token, the as_token speaks for it with `?user_id=&device_id=`. Not for an appservice as the owner. Errors: M_NOT_FOUND, M_INVALID_PARAM, M_FORBIDDEN for more than 100 devices, M_USER_DEACTIVATED.',
    args: {
      deviceId: t.arg.id({ required: true }),
      displayName: t.arg.string({ description: 'at most 255 characters; the old one when left out, none when empty' }),
    },
    extensions: { puppet: false },
    resolve: (_, args, context) => updateDevice(context.instance, requireActor(context), args),
  }),
  deleteDevices: t.boolean({
    description:
      'Deletes devices of one’s own, with their sessions, their keys and the messages that wait for them; what is not there is passed over. Asks people for their password: the first refusal carries `flows` and `session`. Not for an appservice as the owner. Errors: M_FORBIDDEN for a wrong password, M_MISSING_PARAM, M_INVALID_PARAM for other devices than the ones first asked for, M_TOO_LARGE for more than 1 000, M_LIMIT_EXCEEDED.',
    args: {
      deviceIds: t.arg.idList({ description: 'what the first request said, when left out' }),
      auth: t.arg({ type: 'JsonObject', description: proof }),
    },
    extensions: { puppet: false },
    resolve: (_, args, context) => deleteDevices(context.instance, requireActor(context), { ...args, ip: context.ip }),
  }),
}))
