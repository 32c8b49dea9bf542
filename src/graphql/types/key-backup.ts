/** Room keys that a user's clients keep with the homeserver, encrypted by them. */
import { createBackup, deleteBackup, readBackup, updateBackup } from '../../devices/key-backup.ts'
import { deleteRoomKeys, putRoomKeys } from '../../devices/key-backup-keys.ts'
import { type BackedUpKey, keyCursor, readKeyPage, readRoomKey, readRoomKeys } from '../../devices/key-backup-reads.ts'
import type { BackupVersionRow } from '../../storage/tables.ts'
import { count, readInTurn } from '../answer-size.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'

const RoomKey = builder.objectRef<BackedUpKey>('RoomKey').implement({
  description: 'A Megolm session in a backup.',
  fields: (t) => ({
    roomId: t.exposeID('roomId'),
    sessionId: t.exposeID('sessionId'),
    firstMessageIndex: t.exposeInt('firstMessageIndex', { description: 'of the first message that it decrypts' }),
    forwardedCount: t.exposeInt('forwardedCount', { description: 'how often it was passed on from device to device' }),
    isVerified: t.boolean({ description: 'whether it came from a verified device', resolve: ({ isVerified }) => isVerified === 1 }),
    sessionData: t.field({
      type: 'JsonObject',
      description: 'encrypted by the client',
      resolve: ({ sessionData }, _, context) => count(context, sessionData),
    }),
  }),
})

const KeyBackup = builder.objectRef<BackupVersionRow>('KeyBackup').implement({
  description: 'A backup of room keys. The newest one is the current one, which takes new keys.',
  fields: (t) => ({
    version: t.id({ description: 'a number, never given twice', resolve: ({ version }) => String(version) }),
    algorithm: t.exposeString('algorithm', { description: 'for example `m.megolm_backup.v1.curve25519-aes-sha2`' }),
    authData: t.field({ type: 'JsonObject', description: 'the public key, with signatures', resolve: ({ authData }) => authData }),
    count: t.int({ description: 'how many keys are in it', resolve: ({ sessions }) => sessions }),
    etag: t.string({ description: 'another one whenever a stored key changed', resolve: ({ etag }) => String(etag) }),
    createdAt: t.expose('createdAt', { type: 'Timestamp' }),
    keys: t.connection({
      type: RoomKey,
      description:
        'Room by room: at most 1 000 per page, usually 100, and fewer of large keys: at most 2 MB. Takes `first` and `after`. Errors: M_INVALID_PARAM, also for `last` and `before`; M_TOO_LARGE when the answer holds 32 MB of JSON already.',
      resolve: async (backup, args, context) => {
        const { keys, hasNextPage } = await readInTurn(context, () => readKeyPage(context.instance, backup, args))
        const edges = keys.map((node) => ({ cursor: keyCursor(node), node }))
        const [startCursor, endCursor] = [edges[0]?.cursor ?? null, edges.at(-1)?.cursor ?? null]
        return { edges, pageInfo: { hasNextPage, hasPreviousPage: Boolean(args.after), startCursor, endCursor } }
      },
    }),
  }),
})

const RoomKeyInput = builder.inputType('RoomKeyInput', {
  description: 'A Megolm session for a backup.',
  fields: (t) => ({
    roomId: t.id({ required: true }),
    sessionId: t.id({ required: true }),
    firstMessageIndex: t.int({ required: true, description: 'of the first message that it decrypts, 0 or more' }),
    forwardedCount: t.int({ required: true, description: 'how often it was passed on from device to device, 0 or more' }),
    isVerified: t.boolean({ required: true, description: 'whether it came from a verified device' }),
    sessionData: t.field({ type: 'JsonObject', required: true, description: 'encrypted by the client, at most 64 KiB' }),
  }),
})

const self = 'Of any user for themselves; not for an appservice as the owner.'
const algorithmText = 'at most 255 bytes'
const authText = 'the public key of the backup, with signatures; at most 64 KiB'

builder.queryFields((t) => ({
  keyBackup: t.field({
    type: KeyBackup,
    description: `The current backup, or that of a version. ${self} Errors: M_NOT_FOUND when there is none.`,
    args: { version: t.arg.id() },
    resolve: (_, { version }, context) => readBackup(context.instance, requireActor(context), version),
  }),
  roomKeys: t.field({
    type: 'RawJson',
    description: `All keys of a backup, or those of a room, as the Matrix API gives them: \`{"rooms": {id: {"sessions": {id: key}}}}\` or \`{"sessions": {id: key}}\`. ${self} Errors: M_NOT_FOUND for no such backup; M_TOO_LARGE above 64 MB, then \`keyBackup { keys }\` brings them in pages.`,
    args: { version: t.arg.id({ required: true }), roomId: t.arg.id() },
    resolve: (_, args, context) => readRoomKeys(context.instance, requireActor(context), args),
  }),
  roomKey: t.field({
    type: RoomKey,
    description: `One key of a backup. ${self} Errors: M_NOT_FOUND.`,
    args: { version: t.arg.id({ required: true }), roomId: t.arg.id({ required: true }), sessionId: t.arg.id({ required: true }) },
    resolve: (_, args, context) => readRoomKey(context.instance, requireActor(context), args),
  }),
}))

builder.mutationFields((t) => ({
  createKeyBackup: t.field({
    type: KeyBackup,
    description: `Makes a new backup, which becomes the current one. ${self} Errors: M_INVALID_PARAM, M_TOO_LARGE, M_RESOURCE_LIMIT_EXCEEDED for more than 100.`,
    args: {
      algorithm: t.arg.string({ required: true, description: algorithmText }),
      authData: t.arg({ type: 'JsonObject', required: true, description: authText }),
    },
    resolve: (_, args, context) => createBackup(context.instance, requireActor(context), args),
  }),
  updateKeyBackup: t.field({
    type: KeyBackup,
    description: `Replaces what is known of a backup's public key. ${self} Errors: M_NOT_FOUND, M_INVALID_PARAM for another algorithm, M_TOO_LARGE.`,
    args: {
      version: t.arg.id({ required: true }),
      algorithm: t.arg.string({ required: true, description: 'as it was' }),
      authData: t.arg({ type: 'JsonObject', required: true, description: authText }),
    },
    resolve: (_, args, context) => updateBackup(context.instance, requireActor(context), args),
  }),
  deleteKeyBackup: t.boolean({
    description: `Deletes a backup with all its keys; the newest of the others becomes the current one. One that was deleted before is no error. ${self} Errors: M_NOT_FOUND for a version that there never was.`,
    args: { version: t.arg.id({ required: true }) },
    resolve: (_, { version }, context) => deleteBackup(context.instance, requireActor(context), version),
  }),
  putRoomKeys: t.field({
    type: KeyBackup,
    description: `Puts up to 5 000 keys (16 MB) into the current backup, all or none. A key that is there stays, unless the new one is verified and it is not, or else begins earlier, or else was passed on less often. The bots in the room are told of what was stored (\`com.beeper.room_key.ack\`). ${self} Errors: M_NOT_FOUND for no such backup, M_WRONG_ROOM_KEYS_VERSION with \`current_version\` for one that is not the current one, M_INVALID_PARAM, M_TOO_LARGE.`,
    args: { version: t.arg.id({ required: true }), keys: t.arg({ type: [RoomKeyInput], required: true }) },
    resolve: (_, args, context) => putRoomKeys(context.instance, requireActor(context), args),
  }),
  deleteRoomKeys: t.field({
    type: KeyBackup,
    description: `Deletes all keys of a backup, those of a room or one; what is not there is no error. ${self} Errors: M_NOT_FOUND for no such backup, M_INVALID_PARAM for a session without its room.`,
    args: { version: t.arg.id({ required: true }), roomId: t.arg.id(), sessionId: t.arg.id() },
    resolve: (_, args, context) => deleteRoomKeys(context.instance, requireActor(context), args),
  }),
}))
