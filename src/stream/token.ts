/**
 * The one token of the server: since, next_batch, prev_batch, from, to and at alike. `s<n>` is the gap behind position n: backwards it
 * gives orders ≤ n, forwards orders > n. Below 0 it lies in history that was prepended to a room.
 */
import { invalidParam } from '../errors.ts'

const pattern = /^s(0|-?[1-9][0-9]{0,15})$/

export function formatToken(position: number): string {
  return `s${position}`
}

/** Errors: M_INVALID_PARAM for what this server never gave out. `name` is the parameter it came in. */
export function parseToken(token: string, name = 'token'): number {
  const position = pattern.test(token) ? Number(token.slice(1)) : Number.NaN
  if (!Number.isSafeInteger(position)) throw invalidParam(`${name}: ${token} is not a token of this server`)
  return position
}
