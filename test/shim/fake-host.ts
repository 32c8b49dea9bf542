/** A host with two instances and a few tokens, and nothing behind them. */
import { pino } from 'pino'
import { readConfig } from '../../src/config.ts'
import { forbidden, MatrixError } from '../../src/errors.ts'
import type { Host, Instance } from '../../src/graphql/context.ts'
import { type Ports, systemPorts } from '../../src/ports.ts'
import type { Actor } from '../../src/users/actor.ts'

export interface FakeHost extends Host {
  readonly tokens: Map<string, { instance: Instance; actor: Actor }>
  readonly logged: Record<string, unknown>[]
  /** milliseconds since the epoch; tests move it */
  time: number
}

export function fakeHost(environment: Record<string, string> = {}): FakeHost {
  const config = readConfig(environment)
  const logged: Record<string, unknown>[] = []
  const log = pino({ level: 'debug' }, { write: (line: string) => void logged.push(JSON.parse(line)) })
  const system = systemPorts(log)
  const ports: Ports = { ...system, now: () => host.time }
  const instances = new Map(['alice', 'bob'].map((name, index) => [name, fakeInstance(index + 1, name, config, ports)]))
  const instance = (name: string): Instance => {
    const found = instances.get(name)
    if (!found) throw new MatrixError('M_NOT_FOUND', 'No such homeserver')
    return found
  }
  const alice = instance('alice')
  const host: FakeHost = {
    config,
    ports,
    shards: [],
    logged,
    time: 1_700_000_000_000,
    tokens: new Map([
      ['alice-token', { instance: alice, actor: actor({ user: 1, userId: '@alice:localhost', device: 'PHONE' }) }],
      ['bob-token', { instance: instance('bob'), actor: actor({ user: 1, userId: '@bob:localhost', device: 'LAPTOP' }) }],
      ['as-token', { instance: alice, actor: actor({ user: 2, userId: '@bridgebot:localhost', appservice: 7 }) }],
    ]),
    instance: async (name) => instance(name),
    defaultInstance: async () => alice,
    byOwner: async (localpart) => instances.get(localpart) ?? null,
    async authenticate(token, prefix) {
      const found = host.tokens.get(token)
      if (!found || (prefix !== null && prefix !== found.instance.name))
        throw new MatrixError('M_UNKNOWN_TOKEN', 'Unrecognised access token')
      return found
    },
    isSuspended: () => false,
    onSessionEnd: () => () => undefined,
    async masquerade(_instance, as, { userId = as.userId, deviceId }) {
      if (!/^@(bridgebot|ghost_.*|alice):localhost$/.test(userId)) throw forbidden('Outside the namespaces')
      return { ...as, userId, device: deviceId ?? null, puppet: userId === '@alice:localhost' }
    },
  }
  return host
}

function actor(given: Partial<Actor>): Actor {
  return { user: 1, userId: '', device: null, appservice: null, puppet: false, admin: false, tokenHash: '', ...given }
}

function fakeInstance(key: number, name: string, config: Host['config'], ports: Ports): Instance {
  const { userDomain, bridgeDomain } = config
  return { key, name, ownerId: `@${name}:${userDomain}`, userDomain, bridgeDomain, config, ports, locals: new Map() } as unknown as Instance
}
