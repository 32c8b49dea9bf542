/**
 * A small bridge speaking real HTTP: it asks with its as_token, takes transactions, and can be told to fail, hang or crash. Its remote network
 * is the program that holds it: what people write in its rooms arrives at `onMessage`, and `say` speaks as one of its ghosts.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Reply } from './server.ts'

export interface BridgeRegistration {
  readonly id: string
  readonly as_token: string
  readonly hs_token: string
  readonly sender_localpart: string
}

// biome-ignore lint/suspicious/noExplicitAny: a bridge reads what it gets
type Event = any

export interface ReceivedTransaction {
  readonly txnId: string
  /** as it came */
  readonly text: string
  /** null when it was refused */
  readonly status: number | null
  /** performance.now() */
  readonly at: number
}

/**
 * `ok`: take it; a number: answer that status; `hang`: keep the connection open without an answer; `lose`: take it, but the answer is lost.
 */
export type Behaviour = 'ok' | 'hang' | 'lose' | number

export interface ExampleBridgeOptions {
  readonly homeserverUrl: string
  readonly registration: BridgeRegistration
  /** the domain of its ghosts */
  readonly domain: string
  /** knows only the paths of before Matrix r0.1 */
  readonly legacy?: boolean
  readonly port?: number
  readonly onMessage?: (event: Event, bridge: ExampleBridge) => Promise<void> | void
  /** what it answers when it is asked for a user, a room or a third party, by path and query behind the prefix; null: not at all */
  readonly onQuestion?: (question: string, bridge: ExampleBridge) => Promise<readonly [status: number, body: unknown] | null>
}

export class ExampleBridge implements AsyncDisposable {
  readonly options: ExampleBridgeOptions
  /** every attempt, in order */
  readonly attempts: ReceivedTransaction[] = []
  /** what came with transactions not seen before */
  readonly events: Event[] = []
  readonly ephemeral: Event[] = []
  readonly pings: string[] = []
  /** what it was asked, decoded, without the token */
  readonly questions: string[] = []
  behaviour: Behaviour = 'ok'
  port = 0
  /** transactions under way at once; never more than one */
  mostAtOnce = 0
  private atOnce = 0
  private readonly seen = new Set<string>()
  private server: Server | null = null
  private readonly waiting = new Set<() => void>()
  private txn = 0

  private constructor(options: ExampleBridgeOptions) {
    this.options = options
  }

  /** Listens on a free port of 127.0.0.1. */
  static async start(options: ExampleBridgeOptions): Promise<ExampleBridge> {
    const bridge = new ExampleBridge(options)
    bridge.port = options.port ?? 0
    await bridge.revive()
    return bridge
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  get botId(): string {
    return `@${this.options.registration.sender_localpart}:${this.options.domain}`
  }

  ghostId(name: string): string {
    return `@${this.options.registration.id}_${name}:${this.options.domain}`
  }

  /** Every connection breaks and nobody listens any more; what it has seen is kept, as in a database. */
  async crash(): Promise<void> {
    const { server } = this
    this.server = null
    if (!server) return
    const closed = new Promise((resolve) => server.close(resolve))
    server.closeAllConnections()
    await closed
  }

  /** Listens again, at the same address. */
  async revive(): Promise<void> {
    const server = createServer((request, response) => void this.take(request, response).catch(() => response.destroy()))
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(this.port, '127.0.0.1', resolve)
    })
    this.port = (server.address() as AddressInfo).port
    this.server = server
  }

  /** A request with the as_token, as the bot or as `as`. Paths may leave out /_matrix/client/v3. */
  async request(method: string, path: string, body?: unknown, as?: string): Promise<Reply> {
    const url = new URL(this.options.homeserverUrl + (path.startsWith('/_') ? path : `/_matrix/client/v3${path}`))
    if (as !== undefined) url.searchParams.set('user_id', as)
    const response = await fetch(url, {
      method,
      headers: { authorization: `Bearer ${this.options.registration.as_token}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return { status: response.status, headers: response.headers, body: await response.json() }
  }

  /** The same, for what must succeed. */
  async ask(method: string, path: string, body?: unknown, as?: string): Promise<Reply['body']> {
    const reply = await this.request(method, path, body, as)
    if (reply.status !== 200) throw new Error(`${method} ${path}: ${reply.status} ${JSON.stringify(reply.body)}`)
    return reply.body
  }

  /** A room with ghosts and people, all joined from the start. */
  async createPortal(name: string, ghosts: readonly string[], people: readonly string[]): Promise<string> {
    const members = [...ghosts.map((ghost) => this.ghostId(ghost)), ...people]
    const body = {
      name,
      preset: 'private_chat',
      invite: members,
      'com.beeper.initial_members': members,
      'com.beeper.auto_join_invites': true,
    }
    return (await this.ask('POST', '/createRoom', body)).room_id
  }

  /** A ghost writes; the event's id. */
  async say(roomId: string, ghost: string, text: string): Promise<string> {
    const path = `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${this.options.registration.id}-${this.txn++}`
    return (await this.ask('PUT', path, { msgtype: 'm.text', body: text }, this.ghostId(ghost))).event_id
  }

  /** Resolves as soon as `holds`, which is asked after every attempt; rejects after `timeoutMs`. */
  until(what: string, holds: () => boolean, timeoutMs = 10_000): Promise<void> {
    if (holds()) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.delete(look)
        reject(
          new Error(`the bridge waited in vain until ${what}; it has ${this.events.length} events of ${this.attempts.length} attempts`),
        )
      }, timeoutMs)
      const look = () => {
        if (!holds()) return
        clearTimeout(timer)
        this.waiting.delete(look)
        resolve()
      }
      this.waiting.add(look)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.crash()
  }

  private async take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { registration, legacy } = this.options
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const text = Buffer.concat(chunks).toString('utf8')
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://bridge')
    const answer = (status: number, body: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    if (request.headers.authorization !== `Bearer ${registration.hs_token}`)
      return void answer(403, { errcode: 'M_UNKNOWN_TOKEN', error: 'Bad hs_token' })
    const path = legacy ? pathname : pathname.replace(/^\/_matrix\/app\/v1(?=\/)/, '')
    if (request.method === 'POST' && path === '/ping') {
      if (typeof this.behaviour === 'number') return void answer(this.behaviour, { errcode: 'ORG.EXAMPLE', error: 'x'.repeat(3_000) })
      if (this.behaviour === 'hang') return
      this.pings.push(text)
      return void answer(200, {})
    }
    const [, question] =
      /^\/((?:users|rooms|thirdparty)\/.*)/.exec(legacy ? path.replace('/_matrix/app/unstable/thirdparty/', '/thirdparty/') : path) ?? []
    if (request.method === 'GET' && question && this.options.onQuestion && (legacy || path !== pathname)) {
      searchParams.delete('access_token')
      const asked = decodeURIComponent(question) + (searchParams.size > 0 ? `?${decodeURIComponent(searchParams.toString())}` : '')
      this.questions.push(asked)
      const given = await this.options.onQuestion(asked, this)
      return given ? void answer(...given) : undefined
    }
    const [, txnId] = /^\/transactions\/([^/]+)$/.exec(path) ?? []
    if (request.method !== 'PUT' || txnId === undefined || (!legacy && path === pathname))
      return void answer(404, { errcode: 'M_UNRECOGNIZED', error: 'Unknown path' })
    this.atOnce++
    this.mostAtOnce = Math.max(this.mostAtOnce, this.atOnce)
    try {
      await this.handle(decodeURIComponent(txnId), text, response, answer)
    } finally {
      this.atOnce--
      for (const look of [...this.waiting]) look()
    }
  }

  private async handle(
    txnId: string,
    text: string,
    response: ServerResponse,
    answer: (status: number, body: unknown) => unknown,
  ): Promise<void> {
    const { behaviour } = this
    const taken = behaviour === 'ok' || behaviour === 'lose'
    this.attempts.push({ txnId, text, status: taken ? 200 : typeof behaviour === 'number' ? behaviour : null, at: performance.now() })
    if (typeof behaviour === 'number') return void answer(behaviour, { errcode: 'ORG.EXAMPLE', error: 'Told to fail' })
    if (behaviour === 'hang') return
    if (!this.seen.has(txnId)) {
      this.seen.add(txnId)
      const body = JSON.parse(text) as { events: Event[]; ephemeral?: Event[] }
      this.events.push(...body.events)
      this.ephemeral.push(...(body.ephemeral ?? []))
      for (const event of body.events) {
        if (event.type === 'm.room.message' && !this.isOwn(event.sender)) await this.options.onMessage?.(event, this)
      }
    }
    if (behaviour === 'lose') response.destroy()
    else answer(200, {})
  }

  private isOwn(userId: string): boolean {
    return userId === this.botId || userId.startsWith(`@${this.options.registration.id}_`)
  }
}
