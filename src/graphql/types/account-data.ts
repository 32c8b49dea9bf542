/** What a user keeps for all their devices: account data, tags, filters. */
import { readRoomAccountData, readTags, removeTag, setRoomAccountData, setTag } from '../../rooms/room-account-data.ts'
import { type AccountData, readAccountData, readAllAccountData, setAccountData } from '../../users/account-data.ts'
import type { Actor } from '../../users/actor.ts'
import { createFilter, readFilter } from '../../users/filters.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'
import { Viewer } from './accounts.ts'

export const AccountDataType = builder.objectRef<AccountData>('AccountData').implement({
  description: 'A JSON object that a user keeps under a type.',
  fields: (t) => ({
    type: t.exposeString('type', { description: 'For example `m.direct`.' }),
    content: t.field({ type: 'JsonObject', resolve: (data) => data.content }),
  }),
})

builder.objectField(Viewer, 'accountData', (t) =>
  t.field({
    type: [AccountDataType],
    description: 'All global account data. Not for an appservice as the owner.',
    extensions: { puppet: false },
    resolve: (actor, _, context) => readAllAccountData(context.instance, actor),
  }),
)

const selfText = 'who is asking, when left out'
const puppetText = 'An appservice as the owner may use `m.direct` alone, and in rooms with its users everything of the room.'

builder.queryFields((t) => ({
  accountData: t.field({
    type: 'JsonObject',
    description: `The own global account data of a type, or that of a room. ${puppetText} Errors: M_NOT_FOUND, M_FORBIDDEN.`,
    args: { userId: t.arg.id({ description: selfText }), roomId: t.arg.id(), type: t.arg.string({ required: true }) },
    extensions: { puppet: true },
    resolve: (_, { userId, roomId, type }, context) => {
      const actor = requireActor(context)
      const own = { userId: userId ?? actor.userId, type }
      return roomId ? readRoomAccountData(context.instance, actor, { ...own, roomId }) : readAccountData(context.instance, actor, own)
    },
  }),
  tags: t.field({
    type: 'JsonObject',
    description: 'The own tags of a room: name → content, which may hold `order`. Errors: M_FORBIDDEN.',
    args: { userId: t.arg.id({ description: selfText }), roomId: t.arg.id({ required: true }) },
    extensions: { puppet: true },
    resolve: (_, args, context) => readTags(context.instance, requireActor(context), own(context.actor, args)),
  }),
  filter: t.field({
    type: 'JsonObject',
    description: 'A filter as it was uploaded. Not for an appservice as the owner. Errors: M_NOT_FOUND.',
    args: { userId: t.arg.id({ description: selfText }), filterId: t.arg.id({ required: true }) },
    extensions: { puppet: false },
    resolve: (_, args, context) => readFilter(context.instance, requireActor(context), own(context.actor, args)),
  }),
}))

const Filter = builder.objectRef<{ readonly filterId: string }>('Filter').implement({
  description: 'An uploaded filter for sync.',
  fields: (t) => ({ filterId: t.exposeID('filterId', { description: 'The same for the same filter.' }) }),
})

builder.mutationFields((t) => ({
  setAccountData: t.boolean({
    description: `Sets global account data, or that of a room; all devices are told, the one that asks too. ${puppetText} Errors: M_FORBIDDEN, M_BAD_JSON (405) for m.fully_read and m.push_rules.`,
    args: {
      userId: t.arg.id({ description: selfText }),
      roomId: t.arg.id(),
      type: t.arg.string({ required: true }),
      content: t.arg({ type: 'JsonObject', required: true }),
    },
    extensions: { puppet: true },
    resolve: (_, { roomId, ...args }, context) => {
      const actor = requireActor(context)
      const given = own(actor, args)
      return roomId ? setRoomAccountData(context.instance, actor, { ...given, roomId }) : setAccountData(context.instance, actor, given)
    },
  }),
  setTag: t.boolean({
    description:
      'Tags a room of the viewer’s, for example `m.favourite`. An appservice as the owner: rooms with a user of it. Errors: M_FORBIDDEN, M_TOO_LARGE.',
    args: {
      userId: t.arg.id({ description: selfText }),
      roomId: t.arg.id({ required: true }),
      tag: t.arg.string({ required: true }),
      content: t.arg({
        type: 'JsonObject',
        required: true,
        description: '`order`: where the room stands among those with this tag, from 0 to 1',
      }),
    },
    extensions: { puppet: true },
    resolve: (_, args, context) => setTag(context.instance, requireActor(context), own(context.actor, args)),
  }),
  removeTag: t.boolean({
    description:
      'Takes a tag off a room; answers too when there is none. An appservice as the owner: rooms with a user of it. Errors: M_FORBIDDEN.',
    args: { userId: t.arg.id({ description: selfText }), roomId: t.arg.id({ required: true }), tag: t.arg.string({ required: true }) },
    extensions: { puppet: true },
    resolve: (_, args, context) => removeTag(context.instance, requireActor(context), own(context.actor, args)),
  }),
  createFilter: t.field({
    type: Filter,
    description: 'Uploads a filter for sync. Not for an appservice as the owner. Errors: M_BAD_JSON, M_TOO_LARGE.',
    args: { userId: t.arg.id({ description: selfText }), filter: t.arg({ type: 'JsonObject', required: true }) },
    extensions: { puppet: false },
    resolve: (_, args, context) => createFilter(context.instance, requireActor(context), own(context.actor, args)),
  }),
}))

function own<T extends { readonly userId?: string | null | undefined }>(
  actor: Actor | null,
  args: T,
): Omit<T, 'userId'> & { userId: string } {
  return { ...args, userId: args.userId ?? actor?.userId ?? '' }
}
