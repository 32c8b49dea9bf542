/** What a request carries from its first hook to its answer. */
import { invalidParam } from '../src/errors.ts'
import { type Context, connectionClosed, type Host, type Instance } from '../src/graphql/context.ts'
import type { Release } from './admission.ts'

/** The resolvers' context of one REST request. The signal is made when somebody asks for it: most requests never wait. */
export class RequestContext implements Context {
  readonly host: Host
  readonly ip: string
  readonly userAgent: string | null
  actor: Context['actor'] = null
  ts: number | undefined
  prefixed = false
  /** as the client named it; null when it did not */
  contentType: string | null = null
  private found: Instance | null = null
  private controller: AbortController | null = null
  private closed = false
  private readonly releases: Release[] = []

  constructor(host: Host, ip: string, userAgent: string | undefined) {
    this.host = host
    this.ip = ip
    this.userAgent = userAgent ?? null
  }

  get instance(): Instance {
    if (!this.found) throw new Error('the instance of this request is not known yet')
    return this.found
  }

  set instance(instance: Instance) {
    this.found = instance
  }

  get hasInstance(): boolean {
    return this.found !== null
  }

  get signal(): AbortSignal {
    if (!this.controller) {
      this.controller = new AbortController()
      if (this.closed) this.controller.abort(connectionClosed)
    }
    return this.controller.signal
  }

  /** A place in a line, given back at the latest when the connection closes. */
  hold(release: Release): void {
    if (this.closed) release()
    else this.releases.push(release)
  }

  release(): void {
    for (const release of this.releases.splice(0)) release()
  }

  close(): void {
    this.closed = true
    this.release()
    this.controller?.abort(connectionClosed)
  }
}

/** For what does not go through the core, which checks its own arguments. */
export function checkParams(params: Readonly<Record<string, string>>): void {
  for (const name in params) {
    const value = params[name]!
    if (value.includes('\0') || !value.isWellFormed()) throw invalidParam(`${name} holds a character that cannot be stored`)
  }
}
