/**
 * "Position P is readable." Published after the commit, in order; carries what changed for whom, never data: readers read what they need.
 */
export type Kind =
  | 'event'
  | 'history'
  | 'membership'
  | 'receipt'
  | 'accountData'
  | 'typing'
  | 'ephemeral'
  | 'profile'
  | 'device'
  | 'deviceList'
  | 'toDevice'
  | 'keyCount'
  | 'departure'
  | 'unread'
  | 'appservice'
  | 'bridgeState'
  | 'job'

export interface Entry {
  /** everything up to here is readable */
  readonly position: number
  readonly kinds: ReadonlySet<Kind>
  /** room keys touched */
  readonly rooms: readonly number[]
  /** keys of the users with devices who can see it; their waiting syncs wake */
  readonly users: readonly number[]
  /** keys of the appservices that it concerns */
  readonly appservices: readonly number[]
}

/** How many entries an active instance remembers, so that a read touches only what changed. */
export const rememberedEntries = 10_000

export type Listener = (entry: Entry) => void

export class Bus {
  /** the highest readable position */
  published: number
  /** the position that the instance was opened at: what is only in memory says nothing about what lies before */
  readonly opened: number
  private readonly entries: Entry[] = []
  private start = 0
  /** every position up to here may have been forgotten */
  private forgotten: number
  private readonly byUser = new Map<number, Set<Listener>>()
  private readonly byAppservice = new Map<number, Set<Listener>>()
  private readonly all = new Set<Listener>()

  constructor(position: number) {
    this.published = position
    this.opened = position
    this.forgotten = position
  }

  publish(entry: Entry): void {
    if (entry.position > this.published) this.published = entry.position
    this.entries.push(entry)
    if (this.entries.length - this.start > rememberedEntries) {
      const oldest = this.entries[this.start++]!
      this.forgotten = Math.max(this.forgotten, oldest.position)
      // Dropping one element at a time from the front of an array would copy it each time.
      if (this.start > rememberedEntries) {
        this.entries.splice(0, this.start)
        this.start = 0
      }
    }
    for (const user of entry.users) notify(this.byUser.get(user), entry)
    for (const appservice of entry.appservices) notify(this.byAppservice.get(appservice), entry)
    notify(this.all, entry)
  }

  /** The entries after `since`, oldest first, or null when some of them are forgotten. */
  since(since: number): readonly Entry[] | null {
    if (since < this.forgotten) return null
    let low = this.start
    let high = this.entries.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.entries[middle]!.position <= since) low = middle + 1
      else high = middle
    }
    return this.entries.slice(low)
  }

  onUser(user: number, listener: Listener): () => void {
    return subscribe(this.byUser, user, listener)
  }

  onAppservice(appservice: number, listener: Listener): () => void {
    return subscribe(this.byAppservice, appservice, listener)
  }

  onAny(listener: Listener): () => void {
    this.all.add(listener)
    return () => this.all.delete(listener)
  }
}

function notify(listeners: ReadonlySet<Listener> | undefined, entry: Entry): void {
  if (listeners) for (const listener of [...listeners]) listener(entry)
}

function subscribe(map: Map<number, Set<Listener>>, key: number, listener: Listener): () => void {
  const listeners = map.get(key) ?? new Set()
  listeners.add(listener)
  map.set(key, listeners)
  return () => {
    listeners.delete(listener)
    if (listeners.size === 0) map.delete(key)
  }
}
