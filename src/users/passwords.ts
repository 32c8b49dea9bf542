/** Password hashes: argon2id with the parameters that OWASP recommends. */
import { hash, verify } from '@node-rs/argon2'
import { MatrixError } from '../errors.ts'

const options = { memoryCost: 19_456, timeCost: 2, parallelism: 1 }

/** Shortest and longest password that a person may choose, in characters. */
const shortestPassword = 8
const longestPassword = 512

/** Errors: M_WEAK_PASSWORD, M_INVALID_PARAM for one that is too long. */
export function checkPassword(password: string): void {
  if (password.length < shortestPassword) throw new MatrixError('M_WEAK_PASSWORD', `A password has at least ${shortestPassword} characters`)
  if (password.length > longestPassword) throw new MatrixError('M_INVALID_PARAM', `A password has at most ${longestPassword} characters`)
}

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
