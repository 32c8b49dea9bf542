/** Backups of room keys, as clients make them. */
import assert from 'node:assert/strict'
import type { Client, Reply } from '../rig/server.ts'

export const algorithm = 'm.megolm_backup.v1.curve25519-aes-sha2'

/** A key as the Matrix API has it. */
export interface Key {
  readonly first_message_index: number
  readonly forwarded_count: number
  readonly is_verified: boolean
  readonly session_data: object
}

export function key(more: Partial<Key> = {}): Key {
  return { first_message_index: 0, forwarded_count: 0, is_verified: false, session_data: { ciphertext: 'text', mac: 'm' }, ...more }
}

export function refused(reply: Reply, status: number, errcode: string): void {
  assert.deepEqual([reply.status, reply.body.errcode], [status, errcode], JSON.stringify(reply.body))
}

export function accepted(reply: Reply): Reply['body'] {
  assert.equal(reply.status, 200, JSON.stringify(reply.body))
  return reply.body
}

/** Somebody's backups; what is refused throws unless it is asked for with `try…`. */
export class Backups {
  readonly client: Pick<Client, 'request'>

  constructor(client: Pick<Client, 'request'>) {
    this.client = client
  }

  async make(authData: object = { public_key: 'abc' }): Promise<string> {
    const { version, ...rest } = accepted(await this.client.request('POST', '/room_keys/version', { algorithm, auth_data: authData }))
    assert.deepEqual([typeof version, rest], ['string', {}])
    return version
  }

  tryInfo(version?: string): Promise<Reply> {
    return this.client.request('GET', `/room_keys/version${version === undefined ? '' : `/${version}`}`)
  }

  async info(version?: string): Promise<Reply['body']> {
    return accepted(await this.tryInfo(version))
  }

  drop(version: string): Promise<Reply> {
    return this.client.request('DELETE', `/room_keys/version/${version}`)
  }

  try(method: string, version: string, place: readonly string[], body?: unknown): Promise<Reply> {
    return this.client.request(method, keysPath(version, place), body)
  }

  /** All, those of a room, or one. */
  async get(version: string, ...place: string[]): Promise<Reply['body']> {
    return accepted(await this.try('GET', version, place))
  }

  async put(version: string, body: unknown, ...place: string[]): Promise<{ etag: string; count: number }> {
    return accepted(await this.try('PUT', version, place, body))
  }

  async remove(version: string, ...place: string[]): Promise<{ etag: string; count: number }> {
    return accepted(await this.try('DELETE', version, place))
  }
}

export function keysPath(version: string, place: readonly string[] = []): string {
  return `/room_keys/keys${place.map((part) => `/${encodeURIComponent(part)}`).join('')}?version=${version}`
}

/** So many keys of so many rooms, by room. */
export function manyKeys(rooms: number, keysOfRoom: number, sessionData: object = key().session_data, prefix = 's') {
  const sessions = (room: number) =>
    Array.from({ length: keysOfRoom }, (_, i) => [`${prefix}${room}-${i}`, key({ session_data: sessionData })])
  return {
    rooms: Object.fromEntries(
      Array.from({ length: rooms }, (_, room) => [`!r${room}:a`, { sessions: Object.fromEntries(sessions(room)) }]),
    ),
  }
}
