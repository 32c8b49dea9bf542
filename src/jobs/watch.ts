/** How far jobs are. */
import { notFound, unavailable } from '../errors.ts'
import type { JobRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'

/** Jobs that are listed. */
const mostListed = 100

/** The newest first. */
export function listJobs(instance: Instance): Promise<JobRow[]> {
  return instance.storage.find('job', { where: {}, orderBy: ['-key'], limit: mostListed })
}

/**
 * The job as it is, and again whenever it got further; the last one says that it ended. A slow reader gets fewer, never older ones.
 * Errors: M_NOT_FOUND; 503 when the homeserver closes: come again.
 */
export async function* followJob(instance: Instance, key: number, signal: AbortSignal): AsyncGenerator<JobRow> {
  let changed = Promise.withResolvers<void>()
  const wake = () => changed.resolve()
  const stopListening = instance.bus.onAny(({ kinds }) => {
    if (kinds.has('job')) wake()
  })
  signal.addEventListener('abort', wake)
  instance.leaving.addEventListener('abort', wake)
  try {
    for (let told = -1; !signal.aborted; ) {
      if (instance.leaving.aborted) throw unavailable('This homeserver is closing')
      changed = Promise.withResolvers()
      const job = await instance.storage.first('job', { key })
      if (!job) throw notFound('There is no such job')
      if (job.position !== told) yield job
      told = job.position
      if (job.endedAt !== null) return
      await changed.promise
    }
  } finally {
    stopListening()
    signal.removeEventListener('abort', wake)
    instance.leaving.removeEventListener('abort', wake)
  }
}
