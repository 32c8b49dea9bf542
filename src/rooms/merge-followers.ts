/** What goes where an event goes that moves into another room: that it waits for an appservice, and that somebody has not read it. */
import type { InterestRow, NotificationRow } from '../storage/tables.ts'
import type { Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Move, Place, Plan } from './merge-plan.ts'
import { putMark } from './notifications.ts'
import { membershipOf } from './room-core.ts'
import { spotName } from './spot.ts'

/** Events that got their places in a room. */
export interface Arrival {
  readonly room: number
  /** it was merged or split itself meanwhile: nobody sees it, and what it has moves on */
  readonly isHidden: boolean
  /** by event id */
  readonly orders: ReadonlyMap<string, number>
}

type Follow = (decision: Decision, arrival: Arrival, places: readonly Place[]) => void

export async function prepareFollowers(instance: Instance, move: Move, plan: Plan, slice: readonly Place[]): Promise<Follow> {
  const users = slice.flatMap(({ spots }) => spots.flatMap((spot) => plan.marks.get(spotName(spot)) ?? [])).map(({ user }) => user)
  const senders = await sendersIn(instance, move, new Set(users))
  return (decision, arrival, places) => {
    const orders = new Map<string, number>()
    const interests: Redirected[] = []
    const marks: NotificationRow[] = []
    for (const { eventId, spots } of places) {
      const order = arrival.orders.get(eventId)
      if (order === undefined) continue
      for (const name of spots.map(spotName)) {
        orders.set(name, order)
        for (const row of plan.waiting.get(name) ?? []) interests.push({ row, order })
        for (const mark of plan.marks.get(name) ?? []) marks.push({ ...mark, room: arrival.room, order })
      }
    }
    redirect(decision, arrival.room, interests, orders)
    putMarks(
      decision,
      arrival,
      marks.filter(({ room, user }) => !senders.has(`${room} ${user}`)),
    )
  }
}

interface Redirected {
  readonly row: InterestRow
  /** of the event in its new room */
  readonly order: number
}

/** What waits keeps its position, so appservices get everything in its order. An event that stood in two rooms comes once. */
function redirect(decision: Decision, room: number, interests: readonly Redirected[], orders: ReadonlyMap<string, number>): void {
  const told = new Set<string>()
  const appservices = new Set<number>()
  for (const { row, order } of interests) {
    // Delivered meanwhile.
    if ((decision.get('appservice', { key: row.appservice })?.cursor ?? Number.POSITIVE_INFINITY) >= row.position) continue
    const name = `${row.appservice} ${order}`
    // Past memory: decisions put interest and never look for it.
    if (told.has(name)) decision.changes.remove('interest', row)
    else decision.write('interest', { ...row, room, order })
    told.add(name)
    appservices.add(row.appservice)
  }
  for (const appservice of appservices) redirectFrozen(decision, appservice, room, orders)
  if (appservices.size > 0) decision.announce('history', { appservices })
}

/** A transaction that was tried already keeps its id and its events: only where they stand is another place. */
function redirectFrozen(decision: Decision, appservice: number, room: number, orders: ReadonlyMap<string, number>): void {
  const frozen = decision.get('frozen', { appservice })
  if (!frozen) return
  const places = JSON.parse(frozen.events) as [number, number][]
  const events = JSON.stringify(
    places.map(([from, order]) => {
      const next = orders.get(spotName({ room: from, order }))
      return next === undefined ? [from, order] : [room, next]
    }),
  )
  if (events !== frozen.events) decision.put('frozen', { ...frozen, events })
}

function putMarks(decision: Decision, { room, isHidden }: Arrival, marks: readonly NotificationRow[]): void {
  if (isHidden) {
    for (const mark of marks) decision.write('notification', mark)
    return
  }
  const unread = marks.filter((mark) => membershipOf(decision, room, mark.user)?.membership === 'join' && !hasRead(decision, mark))
  for (const mark of unread) putMark(decision, mark)
  if (unread.length > 0) decision.announce('unread', { rooms: [room], users: new Set(unread.map(({ user }) => user)) })
}

/** Whether the user has read on in the new room already. */
function hasRead(decision: Decision, { room, user, order, thread }: NotificationRow): boolean {
  const threads = ['', thread || 'main']
  return ['m.read', 'm.read.private'].some((type) =>
    threads.some((each) => (decision.get('receipt', { room, user, type, thread: each })?.order ?? Number.NEGATIVE_INFINITY) >= order),
  )
}

/** "room user" of those who have sent something into a new room, which counts as reading. */
async function sendersIn({ storage }: Instance, { parts }: Move, users: ReadonlySet<number>): Promise<ReadonlySet<string>> {
  const found = new Set<string>()
  for (const { room } of parts) {
    for (const sender of users) {
      const [sent] = await storage.find('event', { where: { room, sender, stateKey: null, order: { gt: 0 } }, limit: 1 })
      if (sent) found.add(`${room} ${sender}`)
    }
  }
  return found
}
