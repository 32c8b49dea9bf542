/** Taking rooms and bridges away. */
import { deleteBridge } from '../../appservices/deletion.ts'
import { deleteRoom } from '../../rooms/delete.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'
import { Job } from './jobs.ts'

builder.mutationFields((t) => ({
  deleteRoom: t.boolean({
    description:
      'Deletes a room with all that is in it: gone for everybody at once. For bridges that made it or have a user in it, but not as the owner, for the owner and for administrators. Errors: M_NOT_FOUND when there is none (any more), M_FORBIDDEN.',
    args: { roomId: t.arg.id({ required: true }) },
    extensions: { suspended: false },
    resolve: (_, { roomId }, context) => deleteRoom(context.instance, requireActor(context), roomId),
  }),
  deleteBridge: t.field({
    type: Job,
    description:
      'Deletes a bridge: its registration and all its tokens end at once, what waits for it is dropped. The job that is answered deletes the rooms that it made and its ghosts; a ghost that was in rooms of others leaves them and stays there as a user without a profile. For the owner and administrators. Errors: M_FORBIDDEN, M_NOT_FOUND.',
    args: { id: t.arg.string({ required: true }) },
    extensions: { suspended: false },
    resolve: (_, { id }, context) => deleteBridge(context.instance, requireActor(context), id),
  }),
}))
