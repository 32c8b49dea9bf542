/** Password hashes: argon2id with the parameters that OWASP recommends. */
import { hash, verify } from '@node-rs/argon2'

const options = { memoryCost: 19_456, timeCost: 2, parallelism: 1 }

export function hashPassword(password: string): Promise<string> {
  return hash(password, options)
}

/** Takes as long for an account without a password as for one with. */
export async function verifyPassword(stored: string | null, password: string): Promise<boolean> {
  if (stored === null) {
    await hash(password, options)
    return false
  }
  return verify(stored, password)
}
