/** The one writing connection of a PostgreSQL shard. Work on it is done one piece at a time; it is made again when it was lost. */
import pg from 'pg'
import { unavailable } from '../errors.ts'
import { CommitError, type Taken } from './engine.ts'
import type { Batch, Claim } from './fold.ts'
import { isOutage, writingConfig } from './postgres-connection.ts'
import { arrayText, idleForm, type Statement, statementsOf } from './postgres-statements.ts'

const nowMs = '(extract(epoch FROM clock_timestamp()) * 1000)::bigint'
const claimed = 'unnest($1::int[], $2::text[], $3::bigint[]) AS c("instance", "owner", "epoch")'
const sameClaim = 'o."instance" = c."instance" AND o."owner" = c."owner" AND o."epoch" = c."epoch"'

/** Locks the rows until the commit, so that nobody takes an instance over in the middle, and fails when one is missing. */
const ownedText = `WITH held AS (SELECT 1 FROM "ownership" o JOIN ${claimed} ON ${sameClaim} ORDER BY o."instance" FOR SHARE OF o)
  SELECT 1 / (CASE WHEN count(*) = cardinality($1::int[]) THEN 1 ELSE 0 END) FROM held`
const ceilingText = `UPDATE "ownership" o SET "ceiling" = c."ceiling" FROM unnest($1::int[], $2::bigint[]) AS c("instance", "ceiling")
  WHERE o."instance" = c."instance"`
const renewText = `UPDATE "ownership" o SET "leaseUntil" = ${nowMs} + $4 FROM ${claimed} WHERE ${sameClaim} RETURNING o."instance"`

/** Held in common by the connections of one owner; who gets it alone knows that the owner has none. */
const ownerLock = 'hashtextextended($1, 0)'

/** An owner without a connection for so long is dead; one that only lost it has a new one by then. */
const mostGoneMs = 3_000

export interface PostgresWriterOptions {
  readonly url: string
  /** the name under which this process takes instances */
  readonly owner: string
  /** of a transaction, or of anything else that is asked of the database */
  readonly timeoutMs: number
  readonly leaseMs: number
  /** The connection is gone, and with it the certainty about everything queued. */
  onLost(error: Error): void
}

export class PostgresWriter {
  private readonly url: string
  private readonly owner: string
  private readonly timeoutMs: number
  private readonly leaseMs: number
  private readonly onLost: (error: Error) => void
  private connection: { client: pg.Client; prepared: Set<string> } | null = null
  private turn: Promise<unknown> = Promise.resolve()
  private closed = false
  /** other owners without a connection, and since when, ms */
  private readonly gone = new Map<string, number>()

  constructor({ url, owner, timeoutMs, leaseMs, onLost }: PostgresWriterOptions) {
    this.url = url
    this.owner = owner
    this.timeoutMs = timeoutMs
    this.leaseMs = leaseMs
    this.onLost = onLost
  }

  commit(batch: Batch): Promise<void> {
    return this.inTurn(async () => {
      const statements: Statement[] = []
      if (batch.claims.length > 0) statements.push({ name: 'owned', text: ownedText, values: claimArrays(batch.claims) })
      const raised = batch.claims.filter(({ ceiling }) => ceiling !== null)
      if (raised.length > 0) statements.push({ name: 'ceiling', text: ceilingText, values: [instances(raised), ceilings(raised)] })
      for (const change of batch.changes) statements.push(...statementsOf(change))
      try {
        const { client, prepared } = await this.connect()
        await prepare(client, prepared, statements)
        // All at once. After the first that fails the server ignores the rest, and COMMIT is answered with ROLLBACK.
        const answers = await Promise.allSettled([
          client.query('BEGIN ISOLATION LEVEL READ COMMITTED'),
          ...statements.map(({ name, text, values }) => client.query({ name, text, values: values as string[] })),
          client.query('COMMIT'),
        ])
        throwFirst(answers, batch.claims.length > 0)
        for (const { name } of statements) prepared.add(name)
      } catch (error) {
        if (!isOutage(error) || error instanceof CommitError) throw error
        // Silence or a broken wire: the next piece of work shall not try the same connection.
        if (!(error instanceof pg.DatabaseError)) this.abandon(error as Error)
        throw new CommitError('unknown', error as Error)
      }
    })
  }

  take(instance: number): Promise<Taken> {
    return this.inTurn(async () => {
      try {
        const { client } = await this.connect()
        return await this.takeRow(client, instance)
      } catch (error) {
        throw isOutage(error) && (error as Error).name !== 'MatrixError' ? unavailable('the database cannot be reached') : error
      }
    })
  }

  release({ instance, owner, epoch }: Claim): Promise<void> {
    return this.inTurn(async () => {
      const { client } = await this.connect()
      await client.query(
        `UPDATE "ownership" SET "owner" = '', "leaseUntil" = 0, "clean" = 1 WHERE "instance" = $1 AND "owner" = $2 AND "epoch" = $3`,
        [instance, owner, epoch],
      )
    })
  }

  renew(claims: readonly Claim[]): Promise<Claim[]> {
    if (claims.length === 0) return Promise.resolve([])
    return this.inTurn(async () => {
      const { client } = await this.connect()
      const { rows } = await client.query<{ instance: number }>({
        name: 'renew',
        text: renewText,
        values: [...claimArrays(claims), this.leaseMs],
      })
      const held = new Set(rows.map(({ instance }) => instance))
      return claims.filter(({ instance }) => !held.has(instance))
    })
  }

  async close(): Promise<void> {
    this.closed = true
    await this.turn.catch(() => undefined)
    await this.connection?.client.end()
  }

  private async takeRow(client: pg.Client, instance: number): Promise<Taken> {
    const { owner } = this
    await client.query('BEGIN')
    try {
      // Somebody who holds the row is committing; if that takes long, the instance is in use.
      await client.query('SET LOCAL lock_timeout = 5000')
      await client.query(
        `INSERT INTO "ownership" ("instance", "owner", "epoch", "leaseUntil", "ceiling", "clean") VALUES ($1, '', 0, 0, 0, 1) ON CONFLICT DO NOTHING`,
        [instance],
      )
      const { rows } = await client.query<{ owner: string; epoch: number; ceiling: number; clean: number; alive: boolean }>(
        `SELECT "owner", "epoch", "ceiling", "clean", "leaseUntil" > ${nowMs} AS alive FROM "ownership" WHERE "instance" = $1 FOR UPDATE`,
        [instance],
      )
      const found = rows[0]
      if (!found) throw unavailable('the instance is being removed')
      if (found.owner !== '' && found.owner !== owner && found.alive && !(await this.isDead(client, found.owner)))
        throw unavailable('another process has this instance', this.leaseMs)
      const epoch = found.epoch + 1
      await client.query(
        `UPDATE "ownership" SET "owner" = $2, "epoch" = $3, "leaseUntil" = ${nowMs} + $4, "clean" = 0 WHERE "instance" = $1`,
        [instance, owner, epoch, this.leaseMs],
      )
      await client.query('COMMIT')
      return { epoch, ceiling: found.ceiling, clean: found.clean === 1 }
    } catch (error) {
      await client.query('ROLLBACK').catch(() => undefined)
      if (error instanceof pg.DatabaseError && error.code === '55P03') throw unavailable('another process is using this instance')
      throw error
    }
  }

  /**
   * Whether the lease of another owner need not be waited for. Were it alive after all, behind a connection that only the server took for
   * dead, it could write nothing more: each of its batches asks for its own epoch.
   */
  private async isDead(client: pg.Client, owner: string): Promise<boolean> {
    const { rows } = await client.query<{ free: boolean }>(`SELECT pg_try_advisory_xact_lock(${ownerLock}) AS free`, [owner])
    const now = performance.now()
    const since = this.gone.get(owner)
    if (!rows[0]?.free) this.gone.delete(owner)
    else if (since === undefined) this.gone.set(owner, now)
    else return now - since >= Math.min(mostGoneMs, this.leaseMs / 10)
    return false
  }

  /** One piece of work at a time: a transaction must not find another one's statements among its own. */
  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.turn.then(work)
    this.turn = result.catch(() => undefined)
    return result
  }

  private abandon(error: Error): void {
    const { connection } = this
    if (!connection) return
    this.connection = null
    connection.client.end().catch(() => undefined)
    if (!this.closed) this.onLost(error)
  }

  private async connect(): Promise<{ client: pg.Client; prepared: Set<string> }> {
    if (this.connection) return this.connection
    if (this.closed) throw unavailable('the shard is closed')
    const client = new pg.Client(writingConfig(this.url, this.timeoutMs, this.leaseMs))
    const connection = { client, prepared: new Set<string>() }
    const lost = (error: Error) => {
      if (this.connection === connection) this.abandon(error)
    }
    client.on('error', lost)
    client.on('end', () => lost(new Error('the connection to the database ended')))
    try {
      await client.connect()
      await client.query(`SELECT pg_advisory_lock_shared(${ownerLock})`, [this.owner])
    } catch (error) {
      client.end().catch(() => undefined)
      throw error
    }
    this.connection = connection
    return connection
  }
}

/** A statement must have been parsed before it travels twice in one pipeline. */
async function prepare(client: pg.Client, prepared: Set<string>, statements: readonly Statement[]): Promise<void> {
  const names = statements.map(({ name }) => name)
  const missing = statements.filter(({ name }, i) => !prepared.has(name) && names.indexOf(name) === i && names.lastIndexOf(name) !== i)
  for (const { name, text, values } of missing.map(idleForm)) await client.query({ name, text, values: values as string[] })
}

function throwFirst(answers: readonly PromiseSettledResult<pg.QueryResult>[], owned: boolean): void {
  const outage = answers.find((answer) => answer.status === 'rejected' && isOutage(answer.reason))
  if (outage?.status === 'rejected') throw outage.reason
  for (const [i, answer] of answers.entries()) {
    if (answer.status === 'fulfilled') continue
    // BEGIN is the first, the question of ownership the second.
    if (owned && i === 1) throw new CommitError('notOwned', new Error('an instance was taken over', { cause: answer.reason }))
    throw answer.reason
  }
  const last = answers.at(-1)
  if (last?.status === 'fulfilled' && last.value.command !== 'COMMIT')
    throw new CommitError('unknown', new Error(`COMMIT was answered with ${last.value.command}`))
}

function claimArrays(claims: readonly Claim[]): string[] {
  return [
    instances(claims),
    arrayText(
      'text',
      claims.map(({ owner }) => owner),
    ),
    arrayText(
      'bigint',
      claims.map(({ epoch }) => epoch),
    ),
  ]
}

function instances(claims: readonly Claim[]): string {
  return arrayText(
    'int',
    claims.map(({ instance }) => instance),
  )
}

function ceilings(claims: readonly Claim[]): string {
  return arrayText(
    'bigint',
    claims.map(({ ceiling }) => ceiling),
  )
}
