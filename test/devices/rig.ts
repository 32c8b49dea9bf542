/** Keys of devices and of users, signed as clients sign them. */
import { generateKeyPairSync, sign } from 'node:crypto'

// biome-ignore lint/suspicious/noExplicitAny: a test reads what it made
export type Signed = any

/** An ed25519 key. */
export interface SigningKey {
  /** unpadded base64 */
  readonly publicKey: string
  /** The object with one signature more, by `ed25519:<name>` of the user; `name`: a device id, or the public key when left out. */
  sign(object: object, userId: string, name?: string): Signed
}

export function signingKey(): SigningKey {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const name = unpadded(Buffer.from(publicKey.export({ format: 'jwk' }).x!, 'base64url'))
  return {
    publicKey: name,
    sign(object, userId, by = name) {
      const { signatures = {}, unsigned, ...signed } = object as Signed
      const signature = unpadded(sign(null, Buffer.from(canonical(signed)), privateKey))
      const own = { ...signatures[userId], [`ed25519:${by}`]: signature }
      return { ...signed, signatures: { ...signatures, [userId]: own }, ...(unsigned ? { unsigned } : {}) }
    },
  }
}

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '')
}

/** Of objects with plain names. */
function canonical(value: Signed): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  const keys = Object.keys(value).sort()
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(',')}}`
}

/** The three cross-signing keys of a user. */
export interface Identity {
  readonly master: SigningKey
  readonly selfSigning: SigningKey
  readonly userSigning: SigningKey
  /** what is uploaded of them */
  readonly body: Readonly<Record<'master_key' | 'self_signing_key' | 'user_signing_key', Signed>>
}

export function makeIdentity(userId: string, master = signingKey()): Identity {
  const [selfSigning, userSigning] = [signingKey(), signingKey()]
  const part = (usage: string, { publicKey }: SigningKey) => ({
    user_id: userId,
    usage: [usage],
    keys: { [`ed25519:${publicKey}`]: publicKey },
  })
  const body = {
    master_key: part('master', master),
    self_signing_key: master.sign(part('self_signing', selfSigning), userId),
    user_signing_key: master.sign(part('user_signing', userSigning), userId),
  }
  return { master, selfSigning, userSigning, body }
}

/** What a device uploads as `device_keys`. */
export function makeDeviceKeys(userId: string, deviceId: string, key = signingKey()): Signed {
  const keys = { [`ed25519:${deviceId}`]: key.publicKey, [`curve25519:${deviceId}`]: signingKey().publicKey }
  const algorithms = ['m.olm.v1.curve25519-aes-sha2', 'm.megolm.v1.aes-sha2']
  return key.sign({ user_id: userId, device_id: deviceId, algorithms, keys }, userId, deviceId)
}

/** One-time keys, or a fallback key, that a device signed: `algorithm:id` → key. */
export function makeKeys(
  userId: string,
  deviceId: string,
  names: readonly string[],
  options: { fallback?: boolean; by?: SigningKey } = {},
) {
  const by = options.by ?? signingKey()
  const one = () => by.sign({ key: signingKey().publicKey, ...(options.fallback && { fallback: true }) }, userId, deviceId)
  return Object.fromEntries(names.map((name) => [`signed_curve25519:${name}`, one()])) as Record<string, Signed>
}
