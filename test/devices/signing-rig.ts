/** People who cross-sign, and what others see of it. */
import assert from 'node:assert/strict'
import { type Client, type Reply, type TestServer, testPassword } from '../rig/server.ts'
import { type Identity, makeDeviceKeys, makeIdentity, type Signed, type SigningKey, signingKey } from './rig.ts'

export const crossSigningPath = '/keys/device_signing/upload'

export interface Person {
  readonly client: Client
  readonly identity: Identity
  /** of the client's device */
  readonly deviceKey: SigningKey
  readonly deviceKeys: Signed
}

export function accepted(reply: Reply): Reply['body'] {
  assert.equal(reply.status, 200, JSON.stringify(reply.body))
  return reply.body
}

export function refused({ status, body }: Reply, ...wanted: [number, string]): void {
  assert.deepEqual([status, body.errcode], wanted, JSON.stringify(body))
}

/** With keys of their device, and cross-signing keys. */
export async function crossSigner(server: TestServer, localpart: string): Promise<Person> {
  const client = await server.register(localpart, testPassword)
  const deviceKey = signingKey()
  const deviceKeys = makeDeviceKeys(client.userId, client.deviceId, deviceKey)
  accepted(await client.post('/keys/upload', { device_keys: deviceKeys }))
  const identity = makeIdentity(client.userId)
  accepted(await client.post(crossSigningPath, identity.body))
  return { client, identity, deviceKey, deviceKeys }
}

/** The whole answer of /keys/query about one user. */
export async function queryKeys(client: Pick<Client, 'post'>, userId: string): Promise<Signed> {
  return accepted(await client.post('/keys/query', { device_keys: { [userId]: [] } }))
}

/** The `failures` of an upload. */
export async function signKeys(client: Pick<Client, 'post'>, signatures: object): Promise<Signed> {
  const answer = accepted(await client.post('/keys/signatures/upload', signatures))
  assert.deepEqual(Object.keys(answer), ['failures'])
  return answer.failures
}

export function passwordOf(client: Pick<Client, 'userId'>, password = testPassword) {
  return { type: 'm.login.password', identifier: { type: 'm.id.user', user: client.userId }, password }
}

/** What a sync tells of device lists since its last one, without waiting. */
export class Listener {
  private readonly client: Client
  private since = ''

  private constructor(client: Client) {
    this.client = client
  }

  static async start(client: Client): Promise<Listener> {
    const listener = new Listener(client)
    await listener.heard()
    return listener
  }

  /** User ids, sorted. */
  async heard(): Promise<string[]> {
    const answer = await this.client.sync(this.since && `since=${this.since}&timeout=0`)
    this.since = answer.next_batch
    return (answer.device_lists?.changed ?? []).sort()
  }
}
