/** What lasts longer than a request, and how far it is. */
import { readJobs, watchJob } from '../../instances/job-kinds.ts'
import type { JobRow } from '../../storage/tables.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'

const managers = 'For the owner and administrators.'

const JobKind = builder.enumType('JobKind', {
  values: {
    DELETE_BRIDGE: { value: 'deleteBridge', description: 'Deletes the rooms and the ghosts of a bridge; counted in both.' },
    DEACTIVATE_ACCOUNT: { value: 'deactivateAccount', description: 'Takes somebody out of all rooms; counted in rooms.' },
    RECLAIM_ROOMS: { value: 'reclaimRooms', description: 'Gives back the space of deleted rooms; counted in rooms.' },
    RECLAIM_BACKUP: { value: 'reclaimBackup', description: 'Gives back the space of deleted room keys; counted in keys.' },
    MOVE_HISTORY: {
      value: 'moveHistory',
      description:
        'Brings the history of rooms that were merged or split, and what their readers keep about them, into the new ones; counted in events.',
    },
  } as const,
})

export const Job = builder.objectRef<JobRow>('Job').implement({
  description: 'Something that is done bit by bit, also across restarts. It is listed for a day after its end.',
  fields: (t) => ({
    id: t.id({ resolve: ({ key }) => String(key) }),
    kind: t.field({ type: JobKind, resolve: ({ kind }) => kind as 'deleteBridge' }),
    about: t.field({
      type: 'JsonObject',
      description: 'What it is about: of a bridge its `id`, for example.',
      resolve: (job) => job.arguments,
    }),
    done: t.int({ resolve: ({ done }) => done }),
    total: t.int({ description: 'May grow while it is done; equal to `done` at its end.', resolve: ({ total }) => total }),
    error: t.exposeString('error', {
      nullable: true,
      description: 'Why the last attempt failed; it is tried again, after a minute at the latest.',
    }),
    createdAt: t.field({ type: 'Timestamp', resolve: ({ createdAt }) => createdAt }),
    endedAt: t.field({ type: 'Timestamp', nullable: true, description: 'Null until all is done.', resolve: ({ endedAt }) => endedAt }),
  }),
})

builder.queryFields((t) => ({
  jobs: t.field({
    type: [Job],
    description: `The newest 100, the newest first. ${managers} Errors: M_FORBIDDEN.`,
    resolve: (_, __, context) => readJobs(context.instance, requireActor(context)),
  }),
}))

builder.subscriptionFields((t) => ({
  job: t.field({
    type: Job,
    description: `A job as it is, then whenever it got further; ends with it. ${managers} Errors: M_FORBIDDEN, M_NOT_FOUND.`,
    args: { id: t.arg.id({ required: true }) },
    subscribe: (_, { id }, context) => watchJob(context.instance, requireActor(context), id, context.signal),
    resolve: (job) => job,
  }),
}))
