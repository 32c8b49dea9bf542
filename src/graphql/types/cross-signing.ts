/** Cross-signing keys, and signatures on keys. */
import { uploadCrossSigningKeys } from '../../devices/cross-signing.ts'
import { uploadSignatures } from '../../devices/signatures.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'

builder.mutationFields((t) => ({
  uploadCrossSigningKeys: t.boolean({
    description:
      'Stores the own cross-signing keys; those left out stay, unless a new master key comes without them. Asks people who have a master key for their password, unless nothing in the keys is new: the first refusal carries `flows` and `session`. Not for an appservice as the owner. Errors: M_FORBIDDEN for a wrong password or a key that is called like an own device, M_MISSING_PARAM without any master key, M_INVALID_PARAM for what is no such key, M_INVALID_SIGNATURE where the master key did not sign the others, M_BAD_JSON, M_TOO_LARGE for a key of more than 16 KiB, M_LIMIT_EXCEEDED.',
    args: {
      masterKey: t.arg({ type: 'JsonObject', description: '{ user_id, usage: ["master"], keys, signatures }, as signed' }),
      selfSigningKey: t.arg({ type: 'JsonObject', description: 'signs the own devices; signed by the master key' }),
      userSigningKey: t.arg({ type: 'JsonObject', description: 'signs the master keys of others; signed by the master key' }),
      auth: t.arg({ type: 'JsonObject', description: 'the stage `m.login.password`, or `org.matrix.login.jwt` of who has no password' }),
    },
    extensions: { puppet: false },
    resolve: (_, args, context) => uploadCrossSigningKeys(context.instance, requireActor(context), { ...args, ip: context.ip }),
  }),
  uploadSignatures: t.field({
    type: 'JsonObject',
    description:
      'Adds signatures by the own self-signing key on own devices, by own devices on the own master key, by the own user-signing key on the master keys of others. Answers what could not be taken: user ID → device ID or public key → { errcode, error }, with M_INVALID_SIGNATURE, M_NOT_FOUND or M_RESOURCE_LIMIT_EXCEEDED; empty when all were. Not for an appservice as the owner. Errors: M_BAD_JSON, M_TOO_LARGE for more than 100 signatures, M_FORBIDDEN for a user who is not made yet.',
    args: {
      signatures: t.arg({
        type: 'JsonObject',
        required: true,
        description: 'user ID → device ID or public key of a master key → the device keys or the key, with signatures',
      }),
    },
    extensions: { puppet: false },
    resolve: (_, args, context) => uploadSignatures(context.instance, requireActor(context), args),
  }),
}))
