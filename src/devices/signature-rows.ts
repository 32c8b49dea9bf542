/**
 * Signatures that came after the keys they are on. Those on a user's keys, and those that a user made, are held as one list each, so that all
 * of them go when a key does.
 */
import { type JsonObject, sameJson } from '../rules/values.ts'
import type { DeviceKeysRow, SignatureRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import { ed25519, withoutSignatures } from './signed-json.ts'

/** Those on a user's devices and cross-signing keys. */
export function signaturesOn(decision: Decision, user: number): readonly SignatureRow[] {
  return decision.need(`signatures on\0${user}`, () => decision.instance.storage.find('signature', { where: { user } }))
}

/** Those that a user's devices and cross-signing keys made. */
export function signaturesBy(decision: Decision, signer: number): readonly SignatureRow[] {
  return decision.need(`signatures by\0${signer}`, () => decision.instance.storage.find('signature', { where: { signer } }))
}

/** Takes the place of an earlier one by the same key on the same. */
export function putSignature(decision: Decision, row: SignatureRow): void {
  replace(decision, row, row)
  decision.write('signature', row)
}

function removeSignatures(decision: Decision, rows: readonly SignatureRow[]): void {
  for (const row of rows) {
    replace(decision, row, null)
    decision.changes.remove('signature', row)
  }
}

function replace(decision: Decision, row: SignatureRow, by: SignatureRow | null): void {
  const { user, target, signer, keyId } = row
  const on = signaturesOn(decision, user).filter((other) => other.target !== target || other.signer !== signer || other.keyId !== keyId)
  const made = signaturesBy(decision, signer).filter((other) => other.user !== user || other.target !== target || other.keyId !== keyId)
  decision.set(`signatures on\0${user}`, by ? [...on, by] : on)
  decision.set(`signatures by\0${signer}`, by ? [...made, by] : made)
}

/** A user's key says something else from now on: what signed it before signs it no more. `target`: device id or public key. */
export function dropSignaturesOn(decision: Decision, user: number, target: string): void {
  removeSignatures(
    decision,
    signaturesOn(decision, user).filter((row) => row.target === target),
  )
}

/** A user's key is gone: what it signed is signed no more. `name`: the device id or public key that its key id ends with. */
export function dropSignaturesBy(decision: Decision, signer: number, name: string): void {
  const keyId = `${ed25519}:${name}`
  removeSignatures(
    decision,
    signaturesBy(decision, signer).filter((row) => row.keyId === keyId),
  )
}

/** In the decision that replaces or removes the keys of a device; null: they are gone. */
export function deviceKeysChanged(decision: Decision, before: DeviceKeysRow, after: JsonObject | null): void {
  const { user, deviceId } = before
  const old = JSON.parse(before.json) as JsonObject
  if (after && sameJson(withoutSignatures(old), withoutSignatures(after))) return
  dropSignaturesOn(decision, user, deviceId)
  if (!after || deviceSigningKey(old, deviceId) !== deviceSigningKey(after, deviceId)) dropSignaturesBy(decision, user, deviceId)
}

/** The public key that a device signs with, as its device keys say; null where they say none. */
export function deviceSigningKey({ keys }: JsonObject, deviceId: string): string | null {
  const key = (keys as JsonObject | null | undefined)?.[`${ed25519}:${deviceId}`]
  return typeof key === 'string' ? key : null
}
