/** Sends a case over a kept connection, and says what is wrong with the answer. */
import { Agent, request as send } from 'node:http'
import type { Case } from './cases.ts'

export interface Reply {
  readonly status: number
  readonly headers: NodeJS.Dict<string | string[]>
  readonly text: string
  /** it waited, and was cut off by us */
  readonly cut: boolean
}

const waitMs = 80
const limitMs = 30_000

export class Requests implements Disposable {
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 64 })
  private readonly url: () => string

  constructor(url: () => string) {
    this.url = url
  }

  /** `null`: no answer at all. */
  send(request: Case, path: string, headers: Readonly<Record<string, string>>): Promise<Reply | null> {
    const { hostname, port } = new URL(this.url())
    return new Promise((resolve) => {
      const body = request.body === null ? null : Buffer.from(request.body, 'latin1')
      let status = 0
      let answered: NodeJS.Dict<string | string[]> = {}
      let text = ''
      let cut = false
      const finish = () => {
        clearTimeout(timer)
        resolve(status === 0 && !cut ? null : { status, headers: answered, text, cut })
      }
      const length = body === null || headers['transfer-encoding'] ? {} : { 'content-length': String(body.length) }
      const outgoing = send(
        { hostname, port, agent: this.agent, method: request.method, path, headers: { ...length, ...headers } },
        (incoming) => {
          status = incoming.statusCode ?? 0
          answered = incoming.headers
          incoming.setEncoding('utf8')
          incoming.on('data', (chunk: string) => {
            text += chunk
          })
          incoming.once('end', finish)
          incoming.once('error', finish)
        },
      )
      outgoing.once('error', finish)
      const timer = setTimeout(
        () => {
          cut = request.waits
          outgoing.destroy()
        },
        request.waits ? waitMs : limitMs,
      )
      if (body !== null) outgoing.write(body)
      outgoing.end()
    })
  }

  [Symbol.dispose](): void {
    this.agent.destroy()
  }
}

/** Statuses of 5xx that the specification names: a bridge that does not answer, media that does not come. */
const named = [
  ...['M_URL_NOT_SET', 'M_BAD_STATUS', 'M_CONNECTION_FAILED', 'M_CONNECTION_TIMEOUT', 'M_NOT_YET_UPLOADED'],
  'FI.MAU.WS_NOT_CONNECTED',
]

/** What is wrong with the answer; null: nothing. */
export function wrongIn(request: Case, reply: Reply | null): string | null {
  if (!reply) return 'no answer'
  if (reply.cut && reply.status === 0) return null
  const { status, headers, text } = reply
  const type = String(headers['content-type'])
  if (headers['access-control-allow-origin'] !== '*') return `${status} without CORS headers: ${text.slice(0, 200)}`
  if (text.includes('Internal server error')) return `${status}: an internal error`
  if (status < 400) return isGraphql(request) ? wrongInGraphql(request, reply) : null
  if (request.method === 'HEAD') return null
  if (type.startsWith('text/event-stream')) return wrongInGraphql(request, { ...reply, text: /^data: (.+)$/m.exec(text)?.[1] ?? '' })
  let body: { errcode?: unknown; error?: unknown; errors?: unknown; flows?: unknown }
  try {
    body = JSON.parse(text)
  } catch {
    return `${status} without JSON: ${text.slice(0, 200)}`
  }
  // "User-interactive authentication": the first refusal says what is asked for, and nothing else.
  if (status === 401 && body.flows !== undefined && body.errcode === undefined) return null
  if (isGraphql(request) && body.errors !== undefined && body.errcode === undefined) return wrongInGraphql(request, reply)
  if (typeof body.errcode !== 'string' || !/^[A-Z][A-Z_.]+$/.test(body.errcode))
    return `${status} without an errcode: ${text.slice(0, 200)}`
  if (typeof body.error !== 'string') return `${status} without words: ${text.slice(0, 200)}`
  if (status >= 500 && !named.includes(body.errcode)) return `${status} ${text.slice(0, 200)}`
  return null
}

export function isRefused(reply: Reply | null): boolean {
  return reply !== null && reply.status >= 400
}

function isGraphql(request: Case): boolean {
  return request.path.includes('/graphql')
}

function wrongInGraphql(request: Case, { status, text, cut }: Reply): string | null {
  if (cut || request.method === 'HEAD' || request.method === 'OPTIONS') return null
  if (status >= 500) return `${status} ${text.slice(0, 200)}`
  // A subscription that waits says nothing; GraphiQL is a page.
  if (text === '' || text.startsWith(':') || text.startsWith('<')) return null
  let errors: { extensions?: { errcode?: unknown; flows?: unknown } }[]
  try {
    errors = JSON.parse(text).errors ?? []
  } catch {
    return `${status} without JSON: ${text.slice(0, 200)}`
  }
  const bare = errors.find(({ extensions }) => typeof extensions?.errcode !== 'string' && extensions?.flows === undefined)
  return bare ? `an error without an errcode: ${JSON.stringify(bare).slice(0, 200)}` : null
}
