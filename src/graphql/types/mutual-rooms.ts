/** The rooms that the viewer has in common with somebody. */
import { mutualRoomCursor, mutualRooms } from '../../rooms/mutual-rooms.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'
import { Room } from './rooms.ts'

builder.queryFields((t) => ({
  mutualRooms: t.connection(
    {
      type: Room,
      description:
        'The rooms that both the viewer and another user are joined to, at most 100 per page; none with a user who does not exist. Takes `first` and `after`. Anybody with a token; not for an appservice as the owner. Errors: M_INVALID_PARAM for oneself and for what is no user id, also for `last` and `before`; M_FORBIDDEN for a viewer who is not made yet.',
      args: { userId: t.arg.id({ required: true }) },
      extensions: { puppet: false },
      resolve: async (_, args, context) => {
        const { rooms, count, hasNextPage } = await mutualRooms(context.instance, requireActor(context), args)
        const edges = rooms.map((node) => ({ cursor: mutualRoomCursor(node), node }))
        const [startCursor, endCursor] = [edges[0]?.cursor ?? null, edges.at(-1)?.cursor ?? null]
        return { count, edges, pageInfo: { hasNextPage, hasPreviousPage: Boolean(args.after), startCursor, endCursor } }
      },
    },
    { fields: (fields) => ({ count: fields.exposeInt('count', { description: 'Of all pages.' }) }) },
  ),
}))
