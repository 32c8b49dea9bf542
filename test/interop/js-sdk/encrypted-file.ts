/** Attachments of encrypted rooms: https://spec.matrix.org/v1.19/client-server-api/#sending-encrypted-attachments */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'

export interface EncryptedFile {
  readonly url: string
  readonly v: 'v2'
  readonly key: { readonly alg: 'A256CTR'; readonly ext: true; readonly k: string; readonly key_ops: string[]; readonly kty: 'oct' }
  /** base64 without padding; its lower 64 bits, the counter, begin at zero */
  readonly iv: string
  /** of the ciphertext */
  readonly hashes: { readonly sha256: string }
}

const unpadded = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64').replaceAll('=', '')
const sha256 = (bytes: Uint8Array) => unpadded(createHash('sha256').update(bytes).digest())

/** The ciphertext, and what the event says of it once it has an address. */
export function encryptFile(plain: Uint8Array): { ciphertext: Buffer<ArrayBuffer>; describe(url: string): EncryptedFile } {
  const key = randomBytes(32)
  const iv = Buffer.concat([randomBytes(8), Buffer.alloc(8)])
  const cipher = createCipheriv('aes-256-ctr', key, iv)
  const ciphertext = Buffer.concat([cipher.update(plain), cipher.final()])
  const jwk = { alg: 'A256CTR', ext: true, k: key.toString('base64url'), key_ops: ['encrypt', 'decrypt'], kty: 'oct' } as const
  return {
    ciphertext,
    describe: (url) => ({
      url,
      v: 'v2',
      key: { ...jwk, key_ops: [...jwk.key_ops] },
      iv: unpadded(iv),
      hashes: { sha256: sha256(ciphertext) },
    }),
  }
}

/** Throws when the ciphertext is not the one that was sent. */
export function decryptFile(ciphertext: Uint8Array, { key, iv, hashes }: EncryptedFile): Buffer {
  if (sha256(ciphertext) !== hashes.sha256) throw new Error('not the file that was sent')
  const decipher = createDecipheriv('aes-256-ctr', Buffer.from(key.k, 'base64url'), Buffer.from(iv, 'base64'))
  return Buffer.concat([decipher.update(ciphertext), decipher.final()])
}
