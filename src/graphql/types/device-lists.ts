/** What a client needs to be told so that it can encrypt: messages to its device, whose devices changed, and when its keys run out. */
import type { DeviceLists as Lists } from '../../devices/room-mates.ts'
import type { ToDeviceRow } from '../../storage/tables.ts'
import {
  acknowledgeMessages,
  type DeviceListChange as Change,
  deviceListsBetween,
  type MessageSlice,
  viewKeyCounts,
  watchDeviceLists,
  watchKeyCounts,
  watchMessages,
} from '../../sync/watch-devices.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'
import { KeyCounts } from './device-keys.ts'

const DeviceLists = builder.objectRef<Lists>('DeviceLists').implement({
  description: 'Whose keys are not as they were.',
  fields: (t) => ({
    changed: t.idList({
      description: 'Ids of users whose keys must be asked for again, the viewer too.',
      resolve: ({ changed }) => [...changed],
    }),
    left: t.idList({ description: 'Ids of users with whom the viewer shares no room any more.', resolve: ({ left }) => [...left] }),
  }),
})

const DeviceListChange = builder.objectRef<Change>('DeviceListChange').implement({
  description: 'Whose keys are not as they were, since the last time.',
  fields: (t) => ({
    position: t.expose('position', { type: 'Position', description: '`after` of the next subscription.' }),
    changed: t.idList({
      description: 'Ids of users whose keys must be asked for again, the viewer too.',
      resolve: ({ changed }) => [...changed],
    }),
    left: t.idList({ description: 'Ids of users with whom the viewer shares no room any more.', resolve: ({ left }) => [...left] }),
  }),
})

const ToDeviceMessage = builder.objectRef<ToDeviceRow>('ToDeviceMessage').implement({
  description: 'A message from a device to the one that reads.',
  fields: (t) => ({
    position: t.expose('position', { type: 'Position' }),
    type: t.exposeString('type'),
    sender: t.exposeID('sender', { description: 'user id' }),
    content: t.field({ type: 'JsonObject', resolve: ({ content }) => content }),
  }),
})

const ToDeviceMessages = builder.objectRef<MessageSlice>('ToDeviceMessages').implement({
  description: 'Messages to a device, at most 100; more come in a slice of their own.',
  fields: (t) => ({
    position: t.expose('position', {
      type: 'Position',
      description: 'What to acknowledge when they are stored, and the `after` of the next subscription.',
    }),
    messages: t.field({ type: [ToDeviceMessage], description: 'Oldest first.', resolve: ({ messages }) => [...messages] }),
  }),
})

const deviceText = 'Anybody with a device; not for an appservice as the owner.'
const noDeviceText = 'M_MISSING_PARAM without a device, M_FORBIDDEN for a user who is not made yet'
const endText = `Errors, each of which ends it: M_UNKNOWN_TOKEN with the session, M_UNKNOWN with \`retry_after_ms\` when the homeserver closes (go on from the last position), ${noDeviceText}.`

builder.queryFields((t) => ({
  deviceLists: t.field({
    type: DeviceLists,
    description:
      'Whose devices or cross-signing keys changed between two answers of sync: of users with keys who share a room with the viewer, began to, or ceased to. Anybody with a token; not for an appservice as the owner. Errors: M_INVALID_PARAM for what is no token, M_FORBIDDEN for a user who is not made yet.',
    args: { from: t.arg.string({ required: true, description: 'a token' }), to: t.arg.string({ required: true, description: 'a token' }) },
    extensions: { puppet: false },
    resolve: (_, args, context) => deviceListsBetween(context.instance, requireActor(context), args),
  }),
  keyCounts: t.field({
    type: KeyCounts,
    description: `What the viewer's device has left for others to begin sessions with. ${deviceText} Errors: ${noDeviceText}.`,
    extensions: { puppet: false },
    resolve: (_, __, context) => viewKeyCounts(context.instance, requireActor(context)),
  }),
}))

builder.mutationField('acknowledgeToDeviceMessages', (t) =>
  t.boolean({
    description: `The viewer's device has stored its messages up to a position: they are removed. A sync with a later \`since\` does the same. ${deviceText} Errors: M_INVALID_PARAM for a position that is not reached yet, ${noDeviceText}.`,
    args: { upTo: t.arg({ type: 'Position', required: true, description: 'of the slice that was stored last' }) },
    extensions: { puppet: false },
    resolve: (_, args, context) => acknowledgeMessages(context.instance, requireActor(context), args),
  }),
)

builder.subscriptionFields((t) => ({
  toDeviceMessages: t.field({
    type: ToDeviceMessages,
    description: `Messages to the viewer's device. They stay until they are acknowledged, so a client that stores what it got together with \`position\`, and goes on from there, handles each exactly once. A device either subscribes or syncs. ${deviceText} ${endText}`,
    args: {
      after: t.arg({
        type: 'Position',
        description: 'The position of a slice: everything behind it comes. Left out: all that is not acknowledged.',
      }),
    },
    extensions: { puppet: false },
    subscribe: (_, args, context) => watchMessages(context.instance, requireActor(context), args, context.signal),
    resolve: (slice) => slice,
  }),
  deviceListChanges: t.field({
    type: DeviceListChange,
    description: `Whose devices changed, as it happens: of users with keys who share a room with the viewer, begin to, or cease to. ${deviceText} ${endText}`,
    args: {
      after: t.arg({
        type: 'Position',
        description: 'A position that was read before: everything behind it comes. Left out: from now on.',
      }),
    },
    extensions: { puppet: false },
    subscribe: (_, args, context) => watchDeviceLists(context.instance, requireActor(context), args, context.signal),
    resolve: (change) => change,
  }),
  keyCounts: t.field({
    type: KeyCounts,
    description: `What the viewer's device has left for others to begin sessions with: as it is, and whenever it changes. ${deviceText} ${endText}`,
    extensions: { puppet: false },
    subscribe: (_, __, context) => watchKeyCounts(context.instance, requireActor(context), context.signal),
    resolve: (counts) => counts,
  }),
}))
