/** What is said between a SQLite engine and its writing thread. */
import type { Batch, Claim } from './fold.ts'

export type Request =
  | { readonly kind: 'commit'; readonly batch: Batch }
  | { readonly kind: 'take'; readonly instance: number; readonly owner: string }
  | { readonly kind: 'release'; readonly claim: Claim }
  | { readonly kind: 'vacuum'; readonly pages: number }
  | { readonly kind: 'close' }

/** `code` is SQLite's own, which an Error would lose on its way between threads. */
export interface Answer {
  readonly id: number
  readonly value?: unknown
  readonly error?: { readonly message: string; readonly code: string }
}

/** The code of a batch whose instance belongs to somebody else by now. */
export const notOwned = 'NOT_OWNED'
