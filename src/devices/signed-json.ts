/** Signed JSON, as devices and users sign their keys. https://spec.matrix.org/v1.19/appendices/#signing-json */
import { createPublicKey, verify } from 'node:crypto'
import { MatrixError } from '../errors.ts'
import { isObject, type Json, type JsonObject } from '../rules/values.ts'

/** The only algorithm of signatures. */
export const ed25519 = 'ed25519'

/**
 * The text that is signed: keys in the order of their code points, no spaces, whole numbers only.
 * https://spec.matrix.org/v1.19/appendices/#canonical-json Errors: M_BAD_JSON for what has no such text.
 */
export function canonicalJson(value: Json): string {
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) throw notCanonical('numbers are whole and within ±(2^53 − 1)')
    return String(value)
  }
  if (typeof value === 'string') return canonicalText(value)
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (!isObject(value)) return JSON.stringify(value)
  const keys = Object.keys(value).sort(byCodePoint)
  return `{${keys.map((key) => `${canonicalText(key)}:${canonicalJson(value[key]!)}`).join(',')}}`
}

function canonicalText(text: string): string {
  if (!text.isWellFormed()) throw notCanonical('text must be Unicode')
  return JSON.stringify(text)
}

function notCanonical(why: string): MatrixError {
  return new MatrixError('M_BAD_JSON', `What is signed is canonical JSON: ${why}`)
}

function byCodePoint(a: string, b: string): number {
  for (let i = 0; i < a.length && i < b.length; i++) {
    const difference = rank(a.charCodeAt(i)) - rank(b.charCodeAt(i))
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

/** In UTF-16 what lies beyond U+FFFF begins with a unit that is lower than U+E000. */
function rank(unit: number): number {
  return unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit
}

/** What a signature is about. */
export function withoutSignatures({ signatures: _, unsigned: __, ...signed }: JsonObject): JsonObject {
  return signed
}

/** A user's signatures on the object: key id, such as `ed25519:DEVICE` → unpadded base64. */
export function signaturesOf(object: JsonObject, userId: string): ReadonlyMap<string, string> {
  const { signatures } = object
  const own = isObject(signatures) && Object.hasOwn(signatures, userId) ? signatures[userId] : null
  return new Map(isObject(own) ? Object.entries(own).flatMap(([keyId, text]) => (typeof text === 'string' ? [[keyId, text]] : [])) : [])
}

/** Whether `signature` is that of `publicKey` on a canonical text, both of them base64. */
export function verifies(text: string, publicKey: string, signature: string): boolean {
  const bytes = decodeBase64(signature, 64)
  if (!bytes || !isPublicKey(publicKey)) return false
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(publicKey, 'base64').toString('base64url') }
  try {
    return verify(null, Buffer.from(text), createPublicKey({ key: jwk, format: 'jwk' }), bytes)
  } catch {
    // No point of the curve.
    return false
  }
}

export function isPublicKey(text: string): boolean {
  return decodeBase64(text, 32) !== null
}

/** Null for other letters, another length, or bits that belong to no byte. Padding may be there. https://spec.matrix.org/v1.19/appendices/#unpadded-base64 */
function decodeBase64(text: string, length: number): Buffer | null {
  const bytes = Buffer.from(text, 'base64')
  const padded = bytes.toString('base64')
  return bytes.length === length && (text === padded || text === padded.replace(/=+$/, '')) ? bytes : null
}
