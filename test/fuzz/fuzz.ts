/** A server with two homeservers that takes generated requests, and what must hold of it whatever they were. */

import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { pino } from 'pino'
import type { NamedEndpoint } from '../../shim/endpoint.ts'
import { allEndpoints } from '../../shim/table.ts'
import { schema } from '../../src/graphql/schema.ts'
import { type RootField, rootFields } from '../crossing/documents.ts'
import { digestOf, furnish, type Home, sessionOf } from '../crossing/home.ts'
import { startServer, type TestServer } from '../rig/server.ts'
import type { ActorName, Case } from './cases.ts'
import { restCases } from './cases.ts'
import { graphqlCases } from './graphql-cases.ts'
import { isRefused, type Reply, Requests, wrongIn } from './requests.ts'

export interface Find {
  readonly case: Case
  readonly what: string
  /** what the server logged */
  readonly log: string
}

export type Operation = NamedEndpoint | RootField

/** Every operation of both faces. */
export const operations: readonly Operation[] = [...allEndpoints.filter(({ kind }) => kind !== 'upgrade'), ...rootFields(schema)]

export function nameOf(operation: Operation): string {
  return 'path' in operation ? operation.name : `${operation.operation} ${operation.name}`
}

const inFlight = 32

/** Bridges that are drawn at random are nowhere, which is said after half a minute. */
function isExpected(line: string): boolean {
  return line.includes('a bridge is unreachable')
}

export class Fuzz implements AsyncDisposable {
  readonly server: TestServer
  readonly requests: Requests
  private home: Home
  private readonly neighbour: Home
  private readonly neighbourRows: string
  private readonly logged: string[]
  private readonly tokens = new Map<ActorName, string>()
  private startBytes = 0
  private turns = 0
  sent = 0

  private constructor(server: TestServer, home: Home, neighbour: Home, neighbourRows: string, logged: string[]) {
    this.server = server
    this.home = home
    this.neighbour = neighbour
    this.neighbourRows = neighbourRows
    this.logged = logged
    this.requests = new Requests(() => server.url)
  }

  /** `databaseUrl`: of a fresh PostgreSQL database; a SQLite file without it. */
  static async open(databaseUrl?: string): Promise<Fuzz> {
    const logged: string[] = []
    const log = pino({ level: 'error' }, { write: (line: string) => void (isExpected(line) || logged.push(line)) })
    const config = { registration: 'open', jwtSecret: 'a secret of some length' } as const
    const server = await startServer({ ports: { log }, config, ...(databaseUrl && { databaseUrl }) })
    await server.administrator.graphql('mutation { createInstance(name: "neighbour", owner: "bob") { ownerId } }')
    const home = await furnish(server, 'default')
    const neighbour = await furnish(server, 'neighbour')
    const fuzz = new Fuzz(server, home, neighbour, await digestOf(neighbour.instance), logged)
    await fuzz.renew()
    return fuzz
  }

  /** Cases of one operation, which name ids of the home. */
  casesOf(operation: Operation): fc.Arbitrary<Case> {
    return 'path' in operation ? restCases(operation, this.home) : graphqlCases(operation, this.home)
  }

  /** Sends them, many at a time. */
  async run(cases: readonly Case[]): Promise<{ finds: Find[]; refused: Case[] }> {
    const finds: Find[] = []
    const refused: Case[] = []
    const queue = cases.values()
    await Promise.all(
      Array.from({ length: inFlight }, async () => {
        for (const each of queue) {
          const logged = this.logged.length
          const reply = await this.send(each)
          const what = wrongIn(each, reply)
          if (what) finds.push({ case: this.named(each), what, log: this.logged.slice(logged).join('') })
          if (!what && refusedWhole(each, reply)) refused.push(each)
        }
      }),
    )
    if (finds.length === 0 && this.logged.length > 0)
      finds.push({ case: this.named(cases[0]!), what: 'an error was logged', log: this.logged.join('') })
    this.logged.length = 0
    return { finds, refused }
  }

  /** Sent again together, what was refused writes no row. What is taken this time is left out. */
  async refusedWrite(refused: readonly Case[]): Promise<Case[]> {
    let left = refused
    for (let tries = 0; tries < 4 && left.length > 0; tries++) {
      await this.settle()
      const before = await this.rows()
      const again = await this.run(left)
      if ((await this.rows()) === before) return []
      if (again.refused.length === left.length) break
      left = again.refused
    }
    const guilty: Case[] = []
    for (const each of left) {
      await this.settle()
      const before = await this.rows()
      const reply = await this.send(each)
      if (refusedWhole(each, reply) && (await this.rows()) !== before) guilty.push(this.named(each))
    }
    return guilty
  }

  async send(given: Case): Promise<Reply | null> {
    this.sent++
    const token = this.tokens.get(given.actor)
    const as = given.actor === 'ghost' ? this.home.ghost : given.actor === 'puppet' ? this.home.owner.userId : null
    const path = as ? `${given.path}${given.path.includes('?') ? '&' : '?'}user_id=${encodeURIComponent(as)}` : given.path
    return this.requests.send(given, path, { ...(token !== undefined && { authorization: `Bearer ${token}` }), ...given.headers })
  }

  /** Sessions, the bridge and the portal may be gone: they are repaired, or made anew. */
  async renew(): Promise<void> {
    const { server } = this
    this.home = { ...this.home, instance: await server.server.host.defaultInstance() }
    const administrator = server.client(this.tokens.get('administrator') ?? server.administrator.token)
    const works = (await administrator.get('/account/whoami')).status === 200
    const { userId } = server.administrator
    this.tokens.set('administrator', works ? administrator.token : (await sessionOf(server, this.home.instance, userId)).accessToken)
    await this.forgive()
    if (!this.tokens.has('owner') || !(await this.isWhole())) {
      this.home = await furnish(server, 'default', ++this.turns)
      const { owner, person, asToken } = this.home
      for (const actor of ['bot', 'ghost', 'puppet'] as const) this.tokens.set(actor, asToken)
      this.tokens.set('owner', owner.token).set('person', person.token)
    }
    this.logged.length = 0
  }

  /** Who was locked or suspended would be refused everything, and nothing behind the refusals be looked at. */
  private async forgive(): Promise<void> {
    const administrator = this.server.client(this.tokens.get('administrator')!)
    for (const { userId } of [this.home.owner, this.home.person]) {
      await administrator.put(`/_matrix/client/v1/admin/lock/${encodeURIComponent(userId)}`, { locked: false })
      await administrator.put(`/_matrix/client/v1/admin/suspend/${encodeURIComponent(userId)}`, { suspended: false })
    }
  }

  /** Whether the portal has its three members, and all of them a token. Who left is asked in again. */
  private async isWhole(): Promise<boolean> {
    const { server, home } = this
    const room = `/rooms/${encodeURIComponent(home.ids.room[0]!)}`
    const bot = server.client(this.tokens.get('bot')!)
    const members = await bot.get(`${room}/joined_members`)
    if (members.status !== 200) return false
    for (const userId of [home.ghost, home.owner.userId].filter((each) => !members.body.joined[each])) {
      await bot.post(`${room}/unban`, { user_id: userId })
      await bot.post(`${room}/invite`, { user_id: userId })
      const joined = await bot.post(`${room}/join?user_id=${encodeURIComponent(userId)}`)
      if (joined.status !== 200) return false
    }
    const owner = server.client(this.tokens.get('owner')!)
    await owner.put(`/pushrules/global/override/${home.ids.pushRule[0]}`, { conditions: [], actions: ['notify'] })
    await owner.put(`/directory/room/${encodeURIComponent(home.ids.alias[0]!)}`, { room_id: home.ids.room[0] })
    const replies = await Promise.all([
      owner.get(`${room}/joined_members`),
      server.client(this.tokens.get('person')!).get('/account/whoami'),
      bot.get(`/account/whoami?user_id=${encodeURIComponent(home.ghost)}`),
    ])
    return replies.every(({ status }) => status === 200)
  }

  /** What holds at the end. */
  async check(): Promise<string[]> {
    const wrong: string[] = []
    if ((await digestOf(this.neighbour.instance)) !== this.neighbourRows) wrong.push('rows of the other homeserver changed')
    const ready = await fetch(`${this.server.url}/ready`)
    if (ready.status !== 200) wrong.push(`not ready: ${ready.status}`)
    await this.renew()
    const sync = await this.server.client(this.tokens.get('owner')!).get('/sync?filter={"room":{"timeline":{"limit":1}}}')
    if (sync.status !== 200) wrong.push(`the owner cannot sync: ${sync.status} ${JSON.stringify(sync.body)}`)
    const other = await this.neighbour.owner.get('/sync')
    if (other.status !== 200) wrong.push(`the other owner cannot sync: ${other.status}`)
    return wrong
  }

  measureStart(): void {
    this.startBytes = usedBytes()
  }

  /** Bytes of heap kept since measureStart. */
  grownBytes(): number {
    return usedBytes() - this.startBytes
  }

  /** With names in the place of this run's ids, so that it means the same in another run. */
  named(given: Case): Case {
    let text = JSON.stringify(given)
    for (const [name, id] of namesOf(this.home)) {
      text = text.replaceAll(JSON.stringify(id).slice(1, -1), `<${name}>`).replaceAll(encodeURIComponent(id), `<${name}|encoded>`)
    }
    return JSON.parse(text) as Case
  }

  /** The other way round. */
  unnamed(given: Case): Case {
    let text = JSON.stringify(given)
    for (const [name, id] of namesOf(this.home)) {
      text = text.replaceAll(`<${name}>`, JSON.stringify(id).slice(1, -1)).replaceAll(`<${name}|encoded>`, encodeURIComponent(id))
    }
    return JSON.parse(text) as Case
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.requests[Symbol.dispose]()
    await this.server[Symbol.asyncDispose]()
  }

  /** Rows written so far: every command writes through the shard. */
  private async rows(): Promise<number> {
    const { instance } = this.home
    await instance.shard.flushed(instance.key)
    return instance.shard.stats().rows
  }

  /** What was cut off may still be under way. */
  private async settle(): Promise<void> {
    for (let rows = -1, next = await this.rows(); next !== rows; next = await this.rows()) {
      rows = next
      await sleep(20)
    }
  }
}

/** Nothing of it was done: a refusal by its status, or of the root field. An error further down does not undo a mutation. */
function refusedWhole(given: Case, reply: Reply | null): boolean {
  if (reply === null || reply.cut) return false
  if (!given.path.includes('/graphql') || reply.status >= 400) return isRefused(reply)
  // One field refused among several that were not.
  if (given.body?.includes('a1: ')) return false
  return rootErrors(reply.text)
}

function rootErrors(text: string): boolean {
  if (!text.startsWith('{')) return false
  const { data, errors } = JSON.parse(text) as { data?: unknown; errors?: { path?: unknown[] }[] }
  return !data && (errors ?? []).some(({ path }) => (path?.length ?? 0) <= 1)
}

function namesOf({ ids }: Home): (readonly [string, string])[] {
  const kinds = ['room', 'event', 'device', 'filter', 'media', 'cursor'] as const
  return kinds.flatMap((kind) => ids[kind].map((id, n) => [`${kind}.${n}`, String(id)] as const).filter(([, id]) => id.length > 5))
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function usedBytes(): number {
  collect()
  return process.memoryUsage().heapUsed
}

export function sample(cases: fc.Arbitrary<Case>, count: number, seed: number): Case[] {
  return fc.sample(cases, { numRuns: count, seed })
}

export function printed({ case: given, what, log }: Find): string {
  const stacks = [...log.matchAll(/"stack":"((?:[^"\\]|\\.)*)"/g)].map((match) => JSON.parse(`"${match[1]}"`) as string)
  return [`${given.operation}: ${what}`, JSON.stringify(given).slice(0, 3_000), ...new Set(stacks)].join('\n')
}
