/** Counts what a client asks of the server, so that one that repeats itself without end is found. */

interface Asked {
  /** milliseconds since the process began */
  readonly at: number
  /** method, address and body: a request that says the same as another is a repetition */
  readonly request: string
  /** method and address without ids and tokens */
  readonly kind: string
  readonly body: string
}

/**
 * Far above what a client does that is in order, also when a fast machine crowds it into one second; one in a loop asks some hundred times
 * a second.
 */
const most = {
  /** requests that are the same to the letter; questions for the same user */
  same: 40,
  /** requests of one method and address */
  ofKind: 300,
  ofKindInOneSecond: 100,
  /** syncs that were answered before their time with nothing new */
  emptySyncs: 4,
}

/** In every answer to a sync, so that they are no news. */
const inEverySync = ['next_batch', 'device_one_time_keys_count', 'device_unused_fallback_key_types']

export class RequestCounter {
  readonly asked: Asked[] = []
  private emptySyncs = 0
  private lastCounts = ''

  /** Instead of the global fetch. */
  readonly fetch: typeof fetch = async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input)
    const method = init?.method ?? 'GET'
    const body = typeof init?.body === 'string' ? init.body : ''
    const path = url.pathname
      .split('/')
      // Ids have a sigil, transaction ids and the like are long.
      .map((part) => (/^(%40|%21|%24|[@!$])/.test(part) || part.length > 28 ? '{id}' : part))
      .join('/')
    const at = performance.now()
    this.asked.push({ at, request: `${method} ${url.pathname}${url.search} ${body}`, kind: `${method} ${path}`, body })
    const answer = await fetch(input, init)
    if (path.endsWith('/sync') && answer.ok) {
      const { next_batch: _, ...news } = (await answer.clone().json()) as Record<string, unknown>
      const waited = performance.now() - at >= Number(url.searchParams.get('timeout')) * 0.9
      const nothing = Object.keys(news).every((key) => inEverySync.includes(key)) && JSON.stringify(news) === this.lastCounts
      if (nothing && !waited) this.emptySyncs += 1
      const { device_one_time_keys_count, device_unused_fallback_key_types } = news
      this.lastCounts = JSON.stringify({ device_one_time_keys_count, device_unused_fallback_key_types })
    }
    return answer
  }

  /** The bodies of requests of a kind, of which a piece is enough, oldest first. */
  // biome-ignore lint/suspicious/noExplicitAny: a test reads what the client sent
  bodies(kind: string): any[] {
    return this.asked.filter((each) => each.kind.includes(kind)).map(({ body }) => JSON.parse(body || '{}'))
  }

  /** What was asked more often than is in order; empty when all is well. */
  loops(): string[] {
    return [
      ...tooMany(this.asked, 'request', most.same, most.same),
      ...tooMany(this.asked, 'kind', most.ofKind, most.ofKindInOneSecond),
      ...tooMany(queriedUsers(this.asked), 'request', most.same, most.same),
      ...(this.emptySyncs > most.emptySyncs ? [`${this.emptySyncs} syncs that brought nothing`] : []),
    ]
  }
}

/** A keys/query once for each user in it: a loop over one user is one, whoever else is asked about beside it. */
function queriedUsers(asked: readonly Asked[]): Asked[] {
  return asked.flatMap((each) => {
    if (!each.kind.endsWith('/keys/query')) return []
    const { device_keys: users } = JSON.parse(each.body) as { device_keys: object }
    return Object.keys(users).map((user) => ({ ...each, request: `keys/query of ${user}` }))
  })
}

function tooMany(asked: readonly Asked[], by: 'request' | 'kind', inAll: number, perSecond: number): string[] {
  return [...Map.groupBy(asked, (each) => each[by])].flatMap(([what, requests]) => {
    const busiest = Math.max(...requests.map(({ at }, i) => requests.slice(i).filter((each) => each.at < at + 1_000).length))
    if (requests.length <= inAll && busiest <= perSecond) return []
    return [`${requests.length} times, ${busiest} of them in one second: ${what.slice(0, 300)}`]
  })
}
