/** What the jobs of an instance can be, and who sees how far they are. */
import { bridgeDeletion, bridgeDeletionJob } from '../appservices/deletion.ts'
import { requireManager } from '../appservices/managers.ts'
import { accountDeactivation, deactivationJob } from '../devices/deactivation.ts'
import { reclaimBackup } from '../devices/key-backup.ts'
import { reclaimBackupJob } from '../devices/key-backup-reclaim.ts'
import { notFound } from '../errors.ts'
import type { JobKinds } from '../jobs/jobs.ts'
import { followJob, listJobs } from '../jobs/watch.ts'
import { reclaimRooms } from '../rooms/delete.ts'
import { reclaimRoomsJob } from '../rooms/delete-rows.ts'
import { moveHistoryJob } from '../rooms/merge-history.ts'
import { moveHistory } from '../rooms/merge-plan.ts'
import type { JobRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'

export const jobKinds: JobKinds = {
  [reclaimRooms]: reclaimRoomsJob,
  [reclaimBackup]: reclaimBackupJob,
  [moveHistory]: moveHistoryJob,
  [accountDeactivation]: deactivationJob,
  [bridgeDeletion]: bridgeDeletionJob,
}

/** The newest first. Errors: M_FORBIDDEN. */
export async function readJobs(instance: Instance, actor: Actor): Promise<JobRow[]> {
  requireManager(instance, actor)
  return listJobs(instance)
}

/** How far a job is, until it ends. Errors: M_FORBIDDEN, M_NOT_FOUND. */
export async function* watchJob(instance: Instance, actor: Actor, id: string, signal: AbortSignal): AsyncGenerator<JobRow> {
  requireManager(instance, actor)
  const key = /^[1-9][0-9]{0,15}$/.test(id) ? Number(id) : Number.NaN
  if (!Number.isSafeInteger(key)) throw notFound('There is no such job')
  yield* followJob(instance, key, signal)
}
