/** Requests as a patient client makes them: what only failed is repeated, with the same transaction id, until it is answered. */
import { setTimeout as sleep } from 'node:timers/promises'

// biome-ignore lint/suspicious/noExplicitAny: the body as whatever the test expects it to be
export type Body = any

export interface Answer {
  readonly status: number
  readonly body: Body
}

export interface PatientOptions {
  readonly url: string
  readonly token: string
  /** whom an appservice acts for, and on which device */
  readonly userId?: string
  readonly deviceId?: string
  /** ends all patience */
  readonly signal: AbortSignal
}

export class PatientClient {
  /** requests that were repeated because no answer came, or 503 */
  repeated = 0
  private readonly options: PatientOptions

  constructor(options: PatientOptions) {
    this.options = options
  }

  /** The body of the answer. Throws for any answer but 200 and 503: nobody was logged out, and nothing was refused. */
  async ask(method: string, path: string, body?: object): Promise<Body> {
    const answer = await this.answer(method, path, body)
    if (answer.status !== 200) throw new Error(`${method} ${path} was answered with ${answer.status} ${JSON.stringify(answer.body)}`)
    return answer.body
  }

  /** The answer, which may be a refusal. */
  async answer(method: string, path: string, body?: object): Promise<Answer> {
    for (;;) {
      const answer = await this.once(method, path, body)
      if (answer) return answer
      this.repeated++
      await sleep(20)
    }
  }

  /** Without patience: null when no answer came, or 503, so that nobody knows what became of it. */
  async once(method: string, path: string, body?: object): Promise<Answer | null> {
    const { url, token, userId, deviceId, signal } = this.options
    const address = new URL(url + (path.startsWith('/_') ? path : `/_matrix/client/v3${path}`))
    if (userId !== undefined) address.searchParams.set('user_id', userId)
    if (deviceId !== undefined) address.searchParams.set('device_id', deviceId)
    const reply = await fetch(address, {
      method,
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.any([signal, AbortSignal.timeout(20_000)]),
      ...(body ? { body: JSON.stringify(body) } : {}),
    })
      .then(async (response) => ({ status: response.status, text: await response.text() }))
      .catch((error: unknown) => {
        if (signal.aborted) throw error
        return null
      })
    return reply && reply.status !== 503 ? { status: reply.status, body: JSON.parse(reply.text) } : null
  }
}

interface Account {
  readonly userId: string
  readonly password: string
}

export async function logIn(url: string, { userId, password }: Account, signal: AbortSignal, deviceId?: string): Promise<string> {
  const client = new PatientClient({ url, token: '', signal })
  const body = { type: 'm.login.password', identifier: { type: 'm.id.user', user: userId }, password, device_id: deviceId }
  return (await client.ask('POST', '/login', body)).access_token
}

export function roomPath(roomId: string): string {
  return `/rooms/${encodeURIComponent(roomId)}`
}
