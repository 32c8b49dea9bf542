/** A homeserver in a process of its own that can be killed, and its owner, who insists. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ServerProcess, startProcess } from '../../bench/server-process.ts'
import { Client } from '../../rig/server.ts'
import { freePort } from '../go/bridge-process.ts'
import { until } from '../go/sdk-client.ts'
import type { Json } from './peer-process.ts'

export const domain = 'home.test'

export class Scene implements AsyncDisposable {
  server: ServerProcess
  readonly owner: Client
  private readonly environment: Record<string, string>
  private txn = 0

  static async open(): Promise<Scene> {
    const environment = { USER_DOMAIN: domain, PORT: String(await freePort()) }
    const server = await startProcess({ dataDir: mkdtempSync(join(tmpdir(), 'hungryserv-peers-')), environment })
    const visitor = new Client(() => server.url, '', '')
    const { userId, password } = server.owner
    const answer = await visitor.post('/login', { type: 'm.login.password', identifier: { type: 'm.id.user', user: userId }, password })
    return new Scene(server, environment, new Client(() => server.url, answer.body.access_token, userId))
  }

  private constructor(server: ServerProcess, environment: Record<string, string>, owner: Client) {
    this.server = server
    this.environment = environment
    this.owner = owner
  }

  /** `kill -9`, and up again at the same address. */
  async killServer(): Promise<void> {
    await this.server.stop('SIGKILL')
    this.server = await startProcess({ dataDir: this.server.dataDir, environment: this.environment, accounts: this.server })
  }

  /** The owner sends something, under one transaction id until the server says that it has it: the event's id. */
  async send(roomId: string, content: Json, type = 'm.room.message'): Promise<string> {
    const path = `/rooms/${encodeURIComponent(roomId)}/send/${type}/p${this.txn++}`
    const reply = await until('an answer to what the owner sent', async () => {
      const given = await this.owner.put(path, content).catch(() => null)
      return given && given.status < 500 ? given : null
    })
    if (reply.status !== 200) throw new Error(`${path}: ${reply.status} ${JSON.stringify(reply.body)}`)
    return reply.body.event_id
  }

  say(roomId: string, text: string): Promise<string> {
    return this.send(roomId, { msgtype: 'm.text', body: text })
  }

  /** The room's events that are no state, oldest first. */
  async events(roomId: string): Promise<Json[]> {
    const found: Json[] = []
    const path = `/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=100`
    for (let from = ''; ; ) {
      const { body } = await this.owner.get(path + from)
      found.push(...body.chunk)
      if (!body.end) return found.reverse().filter((event) => event.state_key === undefined)
      from = `&from=${encodeURIComponent(body.end)}`
    }
  }

  /** What somebody said there, oldest first. */
  async said(roomId: string, sender: string): Promise<string[]> {
    return (await this.events(roomId)).filter((event) => event.sender === sender).map((event) => event.content.body)
  }

  /** What GraphQL says of the bridges. */
  async bridges(): Promise<{ id: string; queueLength: number; failures: number }[]> {
    return (await this.owner.graphql('{ bridges { id queueLength failures } }')).data.bridges
  }

  /** Until every bridge has what waited for it. */
  async delivered(): Promise<void> {
    await until(
      'the last delivery',
      async () => (await this.bridges()).every(({ queueLength, failures }) => queueLength === 0 && failures === 0),
      45_000,
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop()
    if (process.env['KEEP_DATA']) process.stdout.write(`${this.server.dataDir}\n`)
    else rmSync(this.server.dataDir, { recursive: true, force: true })
  }
}
