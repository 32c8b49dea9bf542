/** The command line's way to the running server: GraphQL over HTTP. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../config.ts'

export interface Surroundings {
  readonly config: Config
  readonly environment: Readonly<Record<string, string | undefined>>
  print(text: string): void
  complain(text: string): void
  /** writes over the line before; only where somebody looks at a terminal */
  readonly overwrite?: ((text: string) => void) | undefined
}

/** Where a running server leaves its address and a token for the command line. */
export function commandLineFile(config: Config): string {
  return join(config.dataDir, 'command-line.json')
}

interface Result {
  readonly data?: Record<string, unknown>
  readonly errors?: readonly { readonly message: string }[]
}

/** A query or mutation. Errors: the server's own words, or that none runs. */
export async function ask(
  surroundings: Surroundings,
  query: string,
  variables: Record<string, unknown> = {},
): Promise<Record<string, unknown>> {
  const response = await post(surroundings, 'application/json', query, variables)
  return dataOf((await response.json()) as Result)
}

/** A subscription, by server-sent events: its results as they come. */
export async function* follow(
  surroundings: Surroundings,
  query: string,
  variables: Record<string, unknown>,
): AsyncGenerator<Record<string, unknown>> {
  const response = await post(surroundings, 'text/event-stream', query, variables)
  let text = ''
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += chunk
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const event = text.slice(0, end)
      text = text.slice(end + 2)
      if (/^event: ?complete$/m.test(event)) return
      const data = /^data: ?(.+)$/m.exec(event)?.[1]
      if (data !== undefined) yield dataOf(JSON.parse(data) as Result)
    }
  }
  throw new Error('The server went away')
}

function dataOf({ data, errors }: Result): Record<string, unknown> {
  if (errors?.length) throw new Error(errors.map((error) => error.message).join('\n'))
  return data ?? {}
}

async function post({ config, environment }: Surroundings, accept: string, query: string, variables: object): Promise<Response> {
  const { url, token } = findServer(config, environment)
  return fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept },
    body: JSON.stringify({ query, variables }),
  }).catch((error: unknown) => {
    throw new Error(`No Hungryserv answers at ${url}: start it with "npm start" first (${error instanceof Error ? error.message : error})`)
  })
}

function findServer(config: Config, environment: Surroundings['environment']): { url: string; token: string } {
  const { HUNGRYSERV_URL: url, HUNGRYSERV_TOKEN: token } = environment
  if (url && token) return { url, token }
  try {
    return JSON.parse(readFileSync(commandLineFile(config), 'utf8')) as { url: string; token: string }
  } catch {
    throw new Error(`No Hungryserv has run on ${config.dataDir} yet: start it with "npm start" first`)
  }
}
