/** The rows of deleted room keys, taken away in slices by a job. Nobody finds them any more: what led to them is gone. */
import { type JobKind, sliceOfRows } from '../jobs/jobs.ts'

interface Arguments {
  readonly user: number
  readonly backup: number
  readonly sessions: number
}

/** Counted in keys. */
export const reclaimBackupJob: JobKind = async ({ storage }, job) => {
  const { user, backup, sessions: total } = JSON.parse(job.arguments) as Arguments
  const rooms = await storage.find('backupRoom', { where: { user, backup }, orderBy: ['key'], limit: sliceOfRows })
  if (rooms.length === 0) return null
  const where = { user, backupRoom: { in: rooms.map(({ key }) => key) } }
  const sessions = await storage.keys('backupSession', { where, limit: sliceOfRows })
  return {
    cursor: '',
    done: job.done + sessions.length,
    total,
    write(decision) {
      for (const session of sessions) decision.changes.remove('backupSession', session)
      // Rooms go when nothing is left that only they lead to.
      if (sessions.length < sliceOfRows) for (const room of rooms) decision.changes.remove('backupRoom', room)
    },
  }
}
