/** Every setting, read and checked once at start. docs/configuration.md lists them. */
import { isIP } from 'node:net'
import { homedir } from 'node:os'
import { compileNetworks } from './rules/networks.ts'

export interface Config {
  readonly host: string
  readonly port: number
  readonly dataDir: string
  /** file:… or postgresql://… */
  readonly databaseUrl: string
  /** how long PostgreSQL may take over one transaction or query */
  readonly databaseTimeoutMs: number
  readonly userDomain: string
  readonly bridgeDomain: string
  /** localpart of the default instance's owner */
  readonly owner: string
  /** what clients are told to use, without a slash at the end; null: not told */
  readonly publicUrl: string | null
  /** where clients PUT the bytes of media whose id they created first, without a slash at the end; null: at the usual place */
  readonly uploadUrl: string | null
  /** what calls run over: the service that lets people into a LiveKit server, without a slash at the end; null: none */
  readonly rtcLivekitUrl: string | null
  readonly publicProfiles: boolean
  readonly registration: 'off' | 'token' | 'open'
  readonly jwtSecret: string | null
  /** with which another program of the operator's registers bridges; null: none may */
  readonly managementSecret: string | null
  readonly logLevel: string
  readonly legacyMedia: 'open' | 'closed' | { readonly before: number }
  readonly maxUploadBytes: number
  /** how long it can be read what a redacted event said; 0: not at all */
  readonly redactedContentDays: number
  /** null: none */
  readonly rateLimits: RateLimits | null
  readonly sqliteAutoCheckpoint: boolean
  readonly graphiql: boolean
  readonly introspection: boolean
  /** who may read /metrics: those on this machine, anybody, nobody */
  readonly metrics: 'local' | 'on' | 'off'
  /** networks (CIDR) in which an owner may have appservices; an operator may have them anywhere */
  readonly appserviceNetworks: readonly string[]
  /** networks (CIDR) of the proxies whose `X-Forwarded-For` is believed */
  readonly trustedProxies: readonly string[]
}

/** Tokens per second, and how many may be saved up, for each class of requests. */
export type RateLimits = Readonly<Record<RateClass, { readonly perSecond: number; readonly burst: number }>>
export type RateClass = 'usual' | 'message' | 'login' | 'media'

/** People do not notice these; runaway clients do. */
const usualRates: RateLimits = {
  usual: { perSecond: 50, burst: 500 },
  message: { perSecond: 50, burst: 500 },
  login: { perSecond: 0.2, burst: 20 },
  media: { perSecond: 20, burst: 200 },
}

type Environment = Readonly<Record<string, string | undefined>>

/** Throws an Error that names the variable and what it takes. */
export function readConfig(environment: Environment): Config {
  const read = <T>(name: string, fallback: string, parse: (text: string) => T): T => {
    const text = environment[name] ?? fallback
    try {
      return parse(text)
    } catch (error) {
      throw new Error(`${name}=${text}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  const dataDir = read('DATA_DIR', './data', (text) => text.replace(/^~(?=\/)/, homedir()))
  const userDomain = read('USER_DOMAIN', 'localhost', domain)
  return {
    host: read('HOST', '127.0.0.1', String),
    port: read('PORT', '8008', (text) => integer(text, 0, 65_535)),
    dataDir,
    databaseUrl: read('DATABASE_URL', `file:${dataDir}/hungryserv.db`, databaseUrl),
    // Shorter than the time between two renewals of a lease: a database that hangs must not cost the instances as well.
    databaseTimeoutMs: read('DATABASE_TIMEOUT_MS', '15000', (text) => integer(text, 100, 20_000)),
    userDomain,
    bridgeDomain: read('BRIDGE_DOMAIN', userDomain, domain),
    owner: read('OWNER', 'owner', owner),
    publicUrl: read('PUBLIC_URL', '', url),
    uploadUrl: read('UPLOAD_URL', '', url),
    rtcLivekitUrl: read('RTC_LIVEKIT_URL', '', url),
    publicProfiles: read('PUBLIC_PROFILES', 'off', flag),
    registration: read('REGISTRATION', 'off', (text) => oneOf(text, ['off', 'token', 'open'] as const)),
    jwtSecret: read('JWT_SECRET', '', (text) => text || null),
    managementSecret: read('MANAGEMENT_SECRET', '', managementSecret),
    logLevel: read('LOG_LEVEL', 'info', (text) => oneOf(text, ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const)),
    legacyMedia: read('LEGACY_MEDIA', 'open', legacyMedia),
    maxUploadBytes: read('MAX_UPLOAD_BYTES', '104857600', (text) => integer(text, 1, Number.MAX_SAFE_INTEGER)),
    redactedContentDays: read('REDACTED_CONTENT_DAYS', '7', (text) => integer(text, 0, 3_650)),
    rateLimits: read('RATE_LIMITS', 'on', rateLimits),
    sqliteAutoCheckpoint: read('SQLITE_AUTO_CHECKPOINT', 'on', flag),
    graphiql: read('GRAPHIQL', 'on', flag),
    introspection: read('INTROSPECTION', 'on', flag),
    metrics: read('METRICS', 'local', (text) => oneOf(text, ['local', 'on', 'off'] as const)),
    appserviceNetworks: read('APPSERVICE_NETWORKS', '127.0.0.0/8,::1/128', networks),
    trustedProxies: read('TRUST_PROXY', 'off', proxies),
  }
}

function managementSecret(text: string): string | null {
  if (text !== '' && !/^[\x21-\x7e]{16,}$/.test(text)) throw new Error('takes at least 16 visible ASCII characters')
  return text || null
}

function integer(text: string, lowest: number, highest: number): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < lowest || value > highest) throw new Error(`takes a whole number from ${lowest} to ${highest}`)
  return value
}

function flag(text: string): boolean {
  return oneOf(text, ['on', 'off'] as const) === 'on'
}

/** `login=1/5`: one a second, five at once; several with commas. */
function rateLimits(text: string): RateLimits | null {
  if (text === 'on') return usualRates
  if (text === 'off') return null
  const rates: Record<string, { perSecond: number; burst: number }> = { ...usualRates }
  for (const part of text.split(',')) {
    const [, name = '', perSecond = '', burst = ''] = /^([a-z]+)=(\d+(?:\.\d+)?)\/(\d+)$/.exec(part.trim()) ?? []
    if (!Object.hasOwn(usualRates, name) || Number(perSecond) === 0 || Number(burst) === 0) {
      throw new Error(
        `takes on, off, or ${Object.keys(usualRates).join(', ')} with requests per second and burst, such as login=1/5,media=20/200`,
      )
    }
    rates[name] = { perSecond: Number(perSecond), burst: Number(burst) }
  }
  return rates as unknown as RateLimits
}

function oneOf<const T extends string>(text: string, values: readonly T[]): T {
  const value = values.find((candidate) => candidate === text)
  if (!value) throw new Error(`takes one of ${values.join(', ')}`)
  return value
}

function domain(text: string): string {
  if (!/^[A-Za-z0-9.-]+(:\d{1,5})?$/.test(text) || text.length > 230) throw new Error('takes a server name, such as example.com')
  return text
}

function localpart(text: string): string {
  if (!/^[a-z0-9._=/+-]+$/.test(text)) throw new Error('takes a localpart: a-z, 0-9 and ._=/+-')
  return text
}

function owner(text: string): string {
  if (text === 'admin') throw new Error('takes another name: admin is the administrator of the whole server')
  return localpart(text)
}

function databaseUrl(text: string): string {
  if (!/^(file:.+|postgres(ql)?:\/\/.+)$/.test(text)) throw new Error('takes file:PATH or postgresql://…')
  return text
}

function url(text: string): string | null {
  if (text === '') return null
  const parsed = new URL(text)
  if (!/^https?:$/.test(parsed.protocol)) throw new Error('takes an http or https address')
  return text.replace(/\/+$/, '')
}

function networks(text: string): string[] {
  const cidrs = text.split(',').filter(Boolean)
  compileNetworks(cidrs)
  return cidrs
}

/** An address alone is a network of one. */
function proxies(text: string): string[] {
  if (text === 'off') return []
  if (text === 'on') return ['0.0.0.0/0', '::/0']
  return networks(text.replace(/[^,\s]+/g, (part) => (isIP(part) ? `${part}/${isIP(part) === 4 ? 32 : 128}` : part)))
}

function legacyMedia(text: string): Config['legacyMedia'] {
  if (text === 'open' || text === 'closed') return text
  const before = Date.parse(text)
  if (Number.isNaN(before)) throw new Error('takes open, closed or a date such as 2026-01-31')
  return { before }
}
