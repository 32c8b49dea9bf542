/**
 * Whatever lasts: a durable row, done in slices through ordinary change sets, so that others get their turn in between. One at a time per
 * instance, the oldest first; goes on where it was when the instance opens again.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { JobRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import { type Instance, local } from '../stream/instance.ts'

/** Rows of one table that one slice touches at most. */
export const sliceOfRows = 200

/** A job whose slice failed waits so long, twice as long each time; others get their turn meanwhile. */
const retryMs = 1_000
const longestRetryMs = 60_000

/** What comes next: written together with how far the job is then. */
export interface Slice {
  readonly cursor: string
  readonly done: number
  /** how much there is to do, where that was found out */
  readonly total?: number
  write(decision: Decision): void
}

/** Prepares the next slice of a job; null when all is done. A slice that was prepared twice must do no harm. */
export type JobKind = (instance: Instance, job: JobRow) => Promise<Slice | null>
export type JobKinds = Readonly<Record<string, JobKind>>

/** Begins a job in the decision's own change set. `given` is what it is about, as its kind has it. */
export function putJob(decision: Decision, kind: string, given: object): JobRow {
  const { instance } = decision
  const key = decision.takePosition()
  const job: JobRow = {
    instance: instance.key,
    key,
    kind,
    arguments: JSON.stringify(given),
    cursor: '',
    done: 0,
    total: 0,
    error: null,
    createdAt: decision.now,
    endedAt: null,
    position: key,
  }
  decision.write('job', job)
  decision.announce('job', {})
  decision.onCommitted(() => loopOf(instance)?.wake())
  return job
}

const loops = local(() => ({ loop: null as JobLoop | null }))

function loopOf(instance: Instance): JobLoop | null {
  return loops(instance).loop
}

/** Does the jobs of an instance that was opened, those of its earlier life first. Ends when it is left. */
export function startJobs(instance: Instance, kinds: JobKinds): void {
  const loop = new JobLoop(instance, kinds)
  loops(instance).loop = loop
  instance.leaving.addEventListener('abort', () => loop.wake())
  void loop.run()
}

class JobLoop {
  private readonly instance: Instance
  private readonly kinds: JobKinds
  /** when a job that failed is tried again, ms */
  private readonly retries = new Map<number, { at: number; delayMs: number }>()
  private awake = Promise.withResolvers<void>()

  constructor(instance: Instance, kinds: JobKinds) {
    this.instance = instance
    this.kinds = kinds
  }

  wake(): void {
    this.awake.resolve()
  }

  async run(): Promise<void> {
    const { instance } = this
    let freed = false
    while (!instance.leaving.aborted) {
      this.awake = Promise.withResolvers()
      try {
        const waiting = await instance.storage.find('job', { where: { endedAt: null }, orderBy: ['key'] })
        const next = waiting.find(({ key }) => (this.retries.get(key)?.at ?? 0) <= instance.ports.now())
        if (next) {
          // Who put the job is answered first.
          await nextTurn()
          await this.attempt(next)
          freed = true
          continue
        }
        // What many jobs freed goes back to the disk once.
        if (freed) await instance.shard.reclaimSpace()
        freed = false
        await this.rest(waiting)
      } catch (error) {
        if (instance.leaving.aborted) return
        instance.ports.log.warn({ err: error }, 'jobs were interrupted')
        await this.sleep(retryMs)
      }
    }
  }

  private async attempt(job: JobRow): Promise<void> {
    const { ports } = this.instance
    try {
      await this.work(job)
      this.retries.delete(job.key)
    } catch (error) {
      if (this.instance.leaving.aborted) return
      const delayMs = Math.min((this.retries.get(job.key)?.delayMs ?? retryMs / 2) * 2, longestRetryMs)
      this.retries.set(job.key, { at: ports.now() + delayMs, delayMs })
      ports.log.warn({ err: error, job: job.key, kind: job.kind }, 'a job failed and is tried again')
      const [now] = await this.instance.storage.find('job', { where: { key: job.key } })
      if (now) await this.keep({ ...now, error: error instanceof Error ? error.message : String(error) })
    }
  }

  private async work(given: JobRow): Promise<void> {
    const kind = this.kinds[given.kind]
    if (!kind) throw new Error(`No jobs of the kind ${given.kind} are known here`)
    for (let job = given; !this.instance.leaving.aborted; ) {
      const slice = await kind(this.instance, job)
      if (!slice) {
        await this.keep({ ...job, done: Math.max(job.done, job.total), total: Math.max(job.done, job.total), error: null }, true)
        return
      }
      const { cursor, done, total = job.total } = slice
      job = await this.keep({ ...job, cursor, done, total: Math.max(total, done), error: null }, false, slice)
    }
  }

  private keep(job: JobRow, ended = false, slice?: Slice): Promise<JobRow> {
    return command(this.instance, (decision) => {
      slice?.write(decision)
      const row = { ...job, endedAt: ended ? decision.now : null, position: decision.takePosition() }
      decision.write('job', row)
      decision.announce('job', {})
      return row
    })
  }

  /** Until a job is put, or one that failed may be tried again. */
  private rest(waiting: readonly JobRow[]): Promise<void> {
    const times = waiting.flatMap(({ key }) => this.retries.get(key)?.at ?? [])
    return times.length === 0 ? this.awake.promise : this.sleep(Math.min(...times) - this.instance.ports.now())
  }

  private async sleep(delayMs: number): Promise<void> {
    const cancel = this.instance.ports.timer(Math.max(delayMs, 1), () => this.wake())
    await this.awake.promise
    cancel()
  }
}
