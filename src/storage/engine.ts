/** What a database engine gives to a shard. Everything else (queue, folding, ownership rules) is the same for both. */
import type { Batch, Claim } from './fold.ts'
import type { Queries, Query } from './query.ts'
import type { Storage } from './storage.ts'

/** Ownership as found when it was taken. */
export interface Taken {
  readonly epoch: number
  readonly ceiling: number
  readonly clean: boolean
}

export interface Engine {
  readonly name: 'sqlite' | 'postgresql'
  readonly queries: Queries
  read(query: Query): Promise<unknown[]>
  storage(instance: number): Storage
  /** One transaction. Rejects with a CommitError, or with the database's own error after a rollback. */
  commit(batch: Batch): Promise<void>
  /** Makes this process the owner under a new epoch, or rejects with 503. */
  take(instance: number, owner: string): Promise<Taken>
  release(claim: Claim): Promise<void>
  /** Makes the leases of the claims last on; answers with those that no longer hold. */
  renew(claims: readonly Claim[]): Promise<Claim[]>
  /** Runs while nobody else on this database runs anything under the same name. */
  exclusively<T>(name: string, run: () => Promise<T>): Promise<T>
  reclaimSpace(): Promise<void>
  close(): Promise<void>
}

/**
 * A commit that says more than "rolled back because of this change": `unknown`: it may have happened; `notOwned`: an instance in it
 * is no longer ours; `fatal`: the disk did not keep its word, so nothing later can be trusted.
 */
export class CommitError extends Error {
  readonly kind: 'unknown' | 'notOwned' | 'fatal'

  constructor(kind: 'unknown' | 'notOwned' | 'fatal', cause: Error) {
    super(cause.message, { cause })
    this.name = 'CommitError'
    this.kind = kind
  }
}
