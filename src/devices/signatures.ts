/** Signatures on keys that are here already. https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload */
import { MatrixError, notFound } from '../errors.ts'
import { checkIdentifier, isUserId } from '../rules/event-limits.ts'
import { isObject, type JsonObject, sameJson } from '../rules/values.ts'
import type { SignatureRow, UserRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { findUser, requireUser, userOf } from '../users/users.ts'
import { noteDeviceListChange, noteOwnChange } from './device-lists.ts'
import { deviceSigningKey, putSignature, signaturesBy, signaturesOn } from './signature-rows.ts'
import { canonicalJson, ed25519, signaturesOf, verifies, withoutSignatures } from './signed-json.ts'

/** Objects, and signatures on them, of one request. */
const mostAtOnce = 100
/** Signatures of other users on one master key, and of one user on those of others. */
const mostOfOthers = 1_000

/** One signed object of a request. */
interface Signed {
  readonly userId: string
  /** device id or public key */
  readonly target: string
  readonly object: JsonObject
  /** what is signed */
  readonly text: string
  /** those of who uploads: key id → signature */
  readonly signatures: ReadonlyMap<string, string>
}

/** What an object is compared with. */
interface Subject {
  readonly user: number
  readonly object: JsonObject
  /** those whose signature counts on it: key id → public key */
  readonly signers: ReadonlyMap<string, string>
}

type NewSignature = Pick<SignatureRow, 'user' | 'target' | 'keyId' | 'signature'>

/**
 * Adds signatures by the own self-signing key on own devices, by own devices on the own master key, and by the own user-signing key on the master
 * keys of others, which nobody else sees. Other signatures are passed over; one that is there already changes nothing. What could not be
 * taken is answered, by user and key: M_INVALID_SIGNATURE, M_NOT_FOUND, M_RESOURCE_LIMIT_EXCEEDED.
 * `signatures`: user id → device id or public key → signed object.
 * Errors: M_BAD_JSON for other shapes, M_TOO_LARGE for more than 100 of them, M_FORBIDDEN for a user who is not made yet.
 */
export async function uploadSignatures(instance: Instance, actor: Actor, args: { readonly signatures: JsonObject }): Promise<JsonObject> {
  const uploads = readUploads(actor.userId, args.signatures)
  return command(instance, (decision) => {
    const signer = userOf(decision, requireUser(actor))
    // All that is read is read first: nothing is verified twice.
    decision.all([
      () => signaturesBy(decision, signer.key),
      () => signaturesOn(decision, signer.key),
      ...uploads.map((upload) => () => findSubject(decision, signer, upload)),
    ])
    const accepted: NewSignature[] = []
    const failures = new Map<string, [string, JsonObject][]>()
    for (const upload of uploads) {
      try {
        accepted.push(...judge(decision, signer, upload))
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error
        const { userId, target } = upload
        failures.set(userId, [...(failures.get(userId) ?? []), [target, { errcode: error.errcode, error: error.message }]])
      }
    }
    add(decision, signer, accepted)
    return Object.fromEntries([...failures].map(([userId, byKey]) => [userId, Object.fromEntries(byKey)]))
  })
}

function readUploads(signer: string, signatures: JsonObject): Signed[] {
  const uploads: Signed[] = []
  let count = 0
  for (const [userId, byKey] of Object.entries(signatures)) {
    if (!isObject(byKey)) throw new MatrixError('M_BAD_JSON', `The keys of ${userId} must be an object`)
    for (const [target, object] of Object.entries(byKey)) {
      if (!isObject(object)) throw new MatrixError('M_BAD_JSON', `The key ${target} of ${userId} must be an object`)
      const own = signaturesOf(object, signer)
      count += Math.max(1, own.size)
      if (count > mostAtOnce) throw new MatrixError('M_TOO_LARGE', `At most ${mostAtOnce} signatures are taken at once`)
      uploads.push({ userId, target, object, text: canonicalJson(withoutSignatures(object)), signatures: own })
    }
  }
  return uploads
}

/** Null where there is no such key, or none that the signer may sign. */
function findSubject(decision: Decision, signer: UserRow, upload: Signed): Subject | null {
  const { userId, target } = upload
  const isOwn = userId === signer.userId
  const owner = isOwn ? signer : isUserId(userId) && !checkIdentifier('user_id', userId) ? findUser(decision, userId) : null
  const master = owner && decision.get('crossSigningKey', { user: owner.key, usage: 'master' })
  if (owner && master?.publicKey === target) {
    const signers = isOwn ? ownDevices(decision, signer, upload) : crossSigningSigner(decision, signer, 'user_signing')
    return { user: owner.key, object: JSON.parse(master.json) as JsonObject, signers }
  }
  const device = isOwn ? deviceKeys(decision, signer, target) : null
  return device && { user: signer.key, object: device, signers: crossSigningSigner(decision, signer, 'self_signing') }
}

function crossSigningSigner(decision: Decision, { key }: UserRow, usage: 'self_signing' | 'user_signing'): Subject['signers'] {
  const row = decision.get('crossSigningKey', { user: key, usage })
  return new Map(row ? [[`${ed25519}:${row.publicKey}`, row.publicKey]] : [])
}

/** Of the devices that signed, those that exist. */
function ownDevices(decision: Decision, signer: UserRow, { signatures }: Signed): Subject['signers'] {
  return new Map(
    [...signatures.keys()].flatMap((keyId) => {
      const deviceId = keyId.startsWith(`${ed25519}:`) ? keyId.slice(ed25519.length + 1) : ''
      const keys = deviceKeys(decision, signer, deviceId)
      const publicKey = keys && deviceSigningKey(keys, deviceId)
      return publicKey ? [[keyId, publicKey]] : []
    }),
  )
}

function deviceKeys(decision: Decision, { key }: UserRow, deviceId: string): JsonObject | null {
  const row = checkIdentifier('device_id', deviceId) ? null : decision.get('deviceKeys', { user: key, deviceId })
  return row && (JSON.parse(row.json) as JsonObject)
}

/** What is new of it. Throws a MatrixError where it cannot be taken. */
function judge(decision: Decision, signer: UserRow, upload: Signed): NewSignature[] {
  const subject = findSubject(decision, signer, upload)
  if (!subject) throw notFound('There is no such device, nor is it the master key')
  const { user, object, signers } = subject
  const { target, text } = upload
  if (!sameJson(withoutSignatures(object), withoutSignatures(upload.object)))
    throw invalidSignature('What was signed is not what is stored')
  const made = [...upload.signatures].filter(([keyId]) => signers.has(keyId))
  if (made.length === 0) throw invalidSignature('No key that may sign it did')
  const embedded = signaturesOf(object, signer.userId)
  const onIt = signaturesOn(decision, user).filter((row) => row.target === target)
  const fresh = made.filter(
    ([keyId, signature]) =>
      embedded.get(keyId) !== signature &&
      !onIt.some((row) => row.signer === signer.key && row.keyId === keyId && row.signature === signature),
  )
  for (const [keyId, signature] of fresh)
    if (!verifies(text, signers.get(keyId)!, signature)) throw invalidSignature(`The signature by ${keyId} is wrong`)
  if (fresh.length > 0 && user !== signer.key) {
    const others = onIt.filter((row) => row.signer !== user && row.signer !== signer.key)
    const elsewhere = signaturesBy(decision, signer.key).filter((row) => row.user !== signer.key && row.user !== user)
    if (Math.max(others.length, elsewhere.length) >= mostOfOthers)
      throw new MatrixError('M_RESOURCE_LIMIT_EXCEEDED', `At most ${mostOfOthers} users sign a key, and as many keys are signed by a user`)
  }
  return fresh.map(([keyId, signature]) => ({ user, target, keyId, signature }))
}

function invalidSignature(why: string): MatrixError {
  return new MatrixError('M_INVALID_SIGNATURE', why)
}

function add(decision: Decision, signer: UserRow, signatures: readonly NewSignature[]): void {
  if (signatures.length === 0) return
  const place = { instance: decision.instance.key, signer: signer.key, position: decision.takePosition() }
  for (const signature of signatures) putSignature(decision, { ...place, ...signature })
  if (signatures.some(({ user }) => user === signer.key)) noteDeviceListChange(decision, signer.key)
  // Whom I trust is nobody else's business.
  if (signatures.some(({ user }) => user !== signer.key)) noteOwnChange(decision, signer.key)
}
