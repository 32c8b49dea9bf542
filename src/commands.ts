/** Commands of the command line: each is a client of the running server's GraphQL. */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { parse as parseYaml } from 'yaml'
import { ask, type Surroundings } from './commands/ask.ts'
import { showProgress } from './commands/progress.ts'

export const usage = `hungryserv                       starts the server (see docs/configuration.md for its settings)

hungryserv instance list
hungryserv instance create NAME --owner NAME [--user-domain D] [--bridge-domain D]
hungryserv instance suspend|resume|delete NAME

hungryserv bridge list
hungryserv bridge register ID [--url URL | --websocket] [--file registration.yaml]
                                 registers a bridge and prints its registration YAML
hungryserv bridge registration ID
hungryserv bridge config TYPE [--id ID] [--http | --url URL] [--standard]
                                 registers the bridge if need be and prints a complete bridgev2 config for it: with a
                                 websocket, or pushed to over HTTP; --standard leaves out what only Hungryserv can do
hungryserv bridge pause|resume|retry|delete|rotate-tokens ID

hungryserv password USER [--instance NAME]
                                 gives a person a new password and prints it; the person's sessions end

hungryserv user lock|unlock|suspend|unsuspend USER [--instance NAME]
                                 locked: no token works and nobody logs in; suspended: reads, but sends nothing

hungryserv token create [TOKEN] [--uses N]
                                 a registration token

Commands ask the server that runs on this data folder; HUNGRYSERV_URL and HUNGRYSERV_TOKEN name another one.
`

/** The exit code. */
export async function runCommand(words: readonly string[], surroundings: Surroundings): Promise<number> {
  const options = {
    owner: { type: 'string' },
    'user-domain': { type: 'string' },
    'bridge-domain': { type: 'string' },
    url: { type: 'string' },
    websocket: { type: 'boolean' },
    http: { type: 'boolean' },
    standard: { type: 'boolean' },
    file: { type: 'string' },
    id: { type: 'string' },
    uses: { type: 'string' },
    instance: { type: 'string' },
  } as const
  try {
    const { values, positionals } = parseArgs({ args: [...words], options, allowPositionals: true })
    const [noun, verb, third] = positionals
    const alone = noun === 'password'
    const command = commands[alone ? noun : `${noun} ${verb}`]
    const name = alone ? verb : third
    if (!command) {
      surroundings.complain(usage)
      return 2
    }
    surroundings.print(
      await command({
        ask: (query, variables) => ask(surroundings, query, variables),
        showProgress: (job) => showProgress(surroundings, job),
        name,
        values,
      }),
    )
    return 0
  } catch (error) {
    surroundings.complain(`${error instanceof Error ? error.message : error}\n`)
    return 1
  }
}

interface Asked {
  ask(query: string, variables?: Record<string, unknown>): Promise<Record<string, unknown>>
  /** Follows a job to its end. */
  showProgress(job: string): Promise<void>
  readonly name: string | undefined
  readonly values: {
    readonly owner?: string
    readonly 'user-domain'?: string
    readonly 'bridge-domain'?: string
    readonly url?: string
    readonly websocket?: boolean
    readonly http?: boolean
    readonly standard?: boolean
    readonly file?: string
    readonly id?: string
    readonly uses?: string
    readonly instance?: string
  }
}

const commands: Readonly<Record<string, (asked: Asked) => Promise<string>>> = {
  async 'instance list'({ ask }) {
    const { instances } = (await ask('{ instances { name ownerId userDomain bridgeDomain status } }')) as {
      instances: Record<string, string>[]
    }
    return instances
      .map((row) => `${row['name']}\t${row['ownerId']}\t${row['userDomain']}\t${row['bridgeDomain']}\t${row['status']}\n`)
      .join('')
  },
  async 'instance create'({ ask, name, values }) {
    const query =
      'mutation($name: String!, $owner: String!, $userDomain: String, $bridgeDomain: String) { createInstance(name: $name, owner: $owner, userDomain: $userDomain, bridgeDomain: $bridgeDomain) { ownerId password } }'
    const variables = {
      name: named(name),
      owner: values.owner ?? named(name),
      userDomain: values['user-domain'] ?? null,
      bridgeDomain: values['bridge-domain'] ?? null,
    }
    const { createInstance } = (await ask(query, variables)) as { createInstance: { ownerId: string; password: string } }
    return `${createInstance.ownerId}   ${createInstance.password}\nThe password is shown only now.\n`
  },
  'instance suspend': ({ ask, name }) => done(ask('mutation($name: String!) { suspendInstance(name: $name) }', { name: named(name) })),
  'instance resume': ({ ask, name }) => done(ask('mutation($name: String!) { resumeInstance(name: $name) }', { name: named(name) })),
  'instance delete': ({ ask, name }) => done(ask('mutation($name: String!) { deleteInstance(name: $name) }', { name: named(name) })),
  async 'bridge list'({ ask }) {
    const { bridges } = (await ask('{ bridges { id url status queueLength lastError } }')) as { bridges: Record<string, unknown>[] }
    return bridges
      .map((row) => `${row['id']}\t${row['url'] ?? '-'}\t${row['status']}\t${row['queueLength']} queued\t${row['lastError'] ?? ''}\n`)
      .join('')
  },
  async 'bridge register'({ ask, name, values }) {
    const given = values.file ? (parseYaml(readFileSync(values.file, 'utf8')) as Record<string, unknown>) : {}
    const variables = {
      id: name ?? given['id'],
      registration: given,
      url: values.websocket ? 'websocket' : (values.url ?? given['url'] ?? null),
    }
    const query =
      'mutation($id: String!, $url: String, $registration: JsonObject) { registerBridge(id: $id, url: $url, registration: $registration) { registrationYaml } }'
    const { registerBridge } = (await ask(query, variables)) as { registerBridge: { registrationYaml: string } }
    return registerBridge.registrationYaml
  },
  async 'bridge registration'({ ask, name }) {
    const { bridge } = (await ask('query($id: String!) { bridge(id: $id) { registrationYaml } }', { id: named(name) })) as {
      bridge: { registrationYaml: string }
    }
    return bridge.registrationYaml
  },
  async 'bridge config'({ ask, name, values }) {
    const query =
      'mutation($type: String!, $id: String, $url: String, $http: Boolean, $software: BridgeSoftware) { configureBridge(type: $type, id: $id, url: $url, http: $http) { configYaml(software: $software) } }'
    const variables = {
      type: named(name),
      id: values.id ?? null,
      url: values.url ?? null,
      http: values.http ?? values.standard ?? null,
      software: values.standard ? 'STANDARD' : null,
    }
    const { configureBridge } = (await ask(query, variables)) as { configureBridge: { configYaml: string } }
    return configureBridge.configYaml
  },
  'bridge pause': ({ ask, name }) => done(ask('mutation($id: String!) { pauseBridge(id: $id) { id } }', { id: named(name) })),
  'bridge resume': ({ ask, name }) => done(ask('mutation($id: String!) { resumeBridge(id: $id) { id } }', { id: named(name) })),
  'bridge retry': ({ ask, name }) => done(ask('mutation($id: String!) { retryBridge(id: $id) { id } }', { id: named(name) })),
  async 'bridge delete'({ ask, showProgress, name }) {
    const query = 'mutation($id: String!) { deleteBridge(id: $id) { id } }'
    const { deleteBridge } = (await ask(query, { id: named(name) })) as { deleteBridge: { id: string } }
    return done(showProgress(deleteBridge.id))
  },
  async 'bridge rotate-tokens'({ ask, name }) {
    const query = 'mutation($id: String!) { rotateBridgeTokens(id: $id) { registrationYaml } }'
    const { rotateBridgeTokens } = (await ask(query, { id: named(name) })) as { rotateBridgeTokens: { registrationYaml: string } }
    return rotateBridgeTokens.registrationYaml
  },
  async password({ ask, name, values }) {
    const query = 'mutation($userId: ID!, $instance: String) { setPassword(userId: $userId, instance: $instance) }'
    const { setPassword } = (await ask(query, { userId: named(name), instance: values.instance ?? null })) as { setPassword: string }
    return `${setPassword}\n`
  },
  'user lock': (asked) => moderate(asked, { locked: true }),
  'user unlock': (asked) => moderate(asked, { locked: false }),
  'user suspend': (asked) => moderate(asked, { suspended: true }),
  'user unsuspend': (asked) => moderate(asked, { suspended: false }),
  async 'token create'({ ask, name, values }) {
    const query = 'mutation($token: String, $uses: Int) { createRegistrationToken(token: $token, usesAllowed: $uses) { token } }'
    const { createRegistrationToken } = (await ask(query, { token: name ?? null, uses: values.uses ? Number(values.uses) : null })) as {
      createRegistrationToken: { token: string }
    }
    return `${createRegistrationToken.token}\n`
  },
}

function moderate({ ask, name, values }: Asked, change: { locked: boolean } | { suspended: boolean }): Promise<string> {
  const [mutation, flag] = 'locked' in change ? ['setUserLocked', 'locked'] : ['setUserSuspended', 'suspended']
  const query = `mutation($userId: ID!, $${flag}: Boolean!, $instance: String) { ${mutation}(userId: $userId, ${flag}: $${flag}, instance: $instance) { userId } }`
  return done(ask(query, { userId: named(name), ...change, instance: values.instance ?? null }))
}

function named(name: string | undefined): string {
  if (!name) throw new Error('A name is missing; see hungryserv help')
  return name
}

async function done(answer: Promise<unknown>): Promise<string> {
  await answer
  return 'done\n'
}
