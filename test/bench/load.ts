/** Requests to a server under measure, over kept connections. */
import { Pool } from 'undici'

export class Load {
  readonly url: string
  private readonly pool: Pool

  constructor(url: string, connections = 64) {
    this.url = url
    this.pool = new Pool(url, { connections, pipelining: 1 })
  }

  /** The parsed body; throws unless the status is 200. */
  async request(method: string, path: string, token: string, body?: unknown): Promise<Record<string, unknown>> {
    const text = await this.text(method, path, token, body)
    return JSON.parse(text) as Record<string, unknown>
  }

  async text(method: string, path: string, token: string, body?: unknown): Promise<string> {
    const reply = await this.pool.request({
      method: method as 'GET',
      path,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await reply.body.text()
    if (reply.statusCode !== 200) throw new Error(`${method} ${path}: ${reply.statusCode} ${text}`)
    return text
  }

  close(): Promise<void> {
    return this.pool.destroy()
  }
}

/** Runs `act` from `clients` loops at once for `ms`; how many times a second it was done. */
export async function rate(clients: number, ms: number, act: (client: number, n: number) => Promise<unknown>): Promise<number> {
  const start = performance.now()
  let done = 0
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      for (let n = 0; performance.now() - start < ms; n++) {
        await act(client, n)
        done++
      }
    }),
  )
  return (done * 1_000) / (performance.now() - start)
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}
