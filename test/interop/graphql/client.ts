/** A client that knows only GraphQL: fetch for queries and mutations, graphql-ws for subscriptions that go on where they were cut. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from 'graphql-ws'
import { WebSocket } from 'ws'

// biome-ignore lint/suspicious/noExplicitAny: a test reads what it asked for
type Data = any

export class GraphqlError extends Error {
  readonly errcode: string
  readonly extensions: Readonly<Record<string, unknown>>

  constructor(error: { readonly message: string; readonly extensions?: unknown }) {
    super(error.message)
    this.extensions = (error.extensions ?? {}) as Readonly<Record<string, unknown>>
    this.errcode = String(this.extensions['errcode'])
  }
}

/** One request without a token, or with one. Throws what the answer's first error says. */
export async function ask(url: string, token: string | null, query: string, variables: object = {}): Promise<Data> {
  const answer = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token !== null && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ query, variables }),
  })
  const { data, errors } = (await answer.json()) as { data?: Data; errors?: [{ message: string }] }
  if (errors?.[0]) throw new GraphqlError(errors[0])
  return data
}

export class GraphqlClient {
  readonly userId: string
  readonly deviceId: string
  readonly token: string
  private readonly address: () => string
  private txn = 0

  constructor(address: () => string, session: { userId: string; deviceId: string; accessToken: string }) {
    this.address = address
    this.userId = session.userId
    this.deviceId = session.deviceId
    this.token = session.accessToken
  }

  static async login(address: () => string, user: string, password: string): Promise<GraphqlClient> {
    const login = 'mutation ($input: LoginInput!) { login(input: $input) { userId deviceId accessToken homeserverUrl } }'
    return new GraphqlClient(address, (await ask(address(), null, login, { input: { type: 'm.login.password', user, password } })).login)
  }

  ask(query: string, variables: object = {}): Promise<Data> {
    return ask(this.address(), this.token, query, variables)
  }

  /** The id of the new event. */
  async send(roomId: string, content: string | object, type = 'm.room.message'): Promise<string> {
    const send =
      'mutation ($roomId: ID!, $type: String, $txnId: String!, $content: EventContent!) { sendMessage(roomId: $roomId, type: $type, txnId: $txnId, content: $content) { eventId } }'
    const given = typeof content === 'string' ? { msgtype: 'm.text', body: content } : content
    return (await this.ask(send, { roomId, type, txnId: `graphql${this.txn++}`, content: given })).sendMessage.eventId
  }

  async position(): Promise<number> {
    return (await this.ask('{ position }')).position
  }

  /** One subscription on a socket of its own, until it ends or is cut; what ends it with an error throws a GraphqlError. */
  subscription(query: string, variables: object = {}): Subscription {
    return new Subscription(this.address(), this.token, query, variables)
  }

  /** A subscription with `$after` that begins anew behind the last position it got, whenever it ends. */
  follow<T>(query: string, variables: object, read: (data: Data) => { position: number; value: T }): Follower<T> {
    return new Follower(this, query, variables, read)
  }
}

export class Subscription implements AsyncIterable<Data> {
  private readonly results: AsyncGenerator<Data, void>
  private readonly sockets: WebSocket[] = []

  constructor(url: string, token: string, query: string, variables: object) {
    const { sockets } = this
    const client = createClient({
      url: `${url.replace('http', 'ws')}/graphql`,
      connectionParams: { authorization: `Bearer ${token}` },
      retryAttempts: 0,
      webSocketImpl: class extends WebSocket {
        constructor(address: string, protocol: string) {
          super(address, protocol)
          sockets.push(this)
        }
      },
    })
    this.results = (async function* () {
      try {
        for await (const { data, errors } of client.iterate<Data>({ query, variables: { ...variables } })) {
          if (errors?.[0]) throw new GraphqlError(errors[0])
          yield data
        }
      } finally {
        await client.dispose()
      }
    })()
  }

  [Symbol.asyncIterator](): AsyncIterator<Data> {
    return this.results
  }

  /** Null when it has ended; what does not come within 10 s does not come. */
  async next(): Promise<Data> {
    const silence = setTimeout(() => this.cut(), 10_000)
    try {
      const { done, value } = await this.results.next()
      return done ? null : value
    } finally {
      clearTimeout(silence)
    }
  }

  /** The connection is gone, without a word. */
  cut(): void {
    for (const socket of this.sockets) socket.terminate()
  }

  /** The socket under it: what is not read from it the server keeps. */
  get socket(): WebSocket | undefined {
    return this.sockets.at(-1)
  }
}

export class Follower<T> {
  readonly values: T[] = []
  /** how often it was cut */
  cuts = 0
  /** positions as they came, one list for each connection */
  readonly positions: number[][] = []
  position: number | null = null
  private current: Subscription | null = null
  private stopped = false
  private readonly running: Promise<void>

  constructor(
    client: GraphqlClient,
    query: string,
    variables: object & { after?: number },
    read: (data: Data) => { position: number; value: T },
  ) {
    this.position = variables.after ?? null
    this.running = this.run(client, query, variables, read)
    // Thrown to who stops it.
    this.running.catch(() => undefined)
  }

  private async run(
    client: GraphqlClient,
    query: string,
    variables: object,
    read: (data: Data) => { position: number; value: T },
  ): Promise<void> {
    while (!this.stopped) {
      this.current = client.subscription(query, { ...variables, after: this.position })
      const positions: number[] = []
      this.positions.push(positions)
      try {
        for await (const data of this.current) {
          const { position, value } = read(data)
          positions.push(position)
          this.position = position
          this.values.push(value)
          if (this.stopped) return
        }
      } catch (error) {
        // Anything but a cut, a homeserver that closes, or one that is not there yet.
        if (error instanceof GraphqlError && error.extensions['retry_after_ms'] === undefined) throw error
      }
      await sleep(5)
    }
  }

  cut(): void {
    this.cuts += 1
    this.current?.cut()
  }

  async stop(): Promise<void> {
    this.stopped = true
    this.current?.cut()
    await this.running
  }
}

export async function until<T>(what: string, ready: () => T | Promise<T>, ms = 10_000): Promise<NonNullable<T>> {
  const deadline = performance.now() + ms
  for (;;) {
    const value = await ready()
    if (value) return value
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`)
    await sleep(5)
  }
}
