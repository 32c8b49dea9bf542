/**
 * User-interactive authentication: 401 says what to do, the same request comes again with `auth`, until a flow is complete.
 * https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api
 */
import { MatrixError } from '../errors.ts'
import { newSecret } from '../ids.ts'
import type { JsonObject } from '../rules/values.ts'
import { type Instance, local } from '../stream/instance.ts'

/** Checks what a client says for one stage; throws a MatrixError when it is wrong. */
export type StageCheck = (auth: JsonObject) => void | Promise<void>

export interface Authentication<Body> {
  /** what the session is good for: method, path and user. Another request may not use it */
  readonly purpose: string
  /** each a list of stages; any one of them is enough */
  readonly flows: readonly (readonly string[])[]
  readonly checks: Readonly<Record<string, StageCheck>>
  readonly auth: JsonObject | null
  /** kept from the first request: clients may send `auth` alone later */
  readonly body: Body
}

interface Session {
  readonly purpose: string
  readonly body: unknown
  /** stage → what the client sent for it */
  readonly completed: Map<string, JsonObject>
  readonly expiresAt: number
  /** of the body, as JSON text */
  readonly length: number
}

const lifetimeMs = 15 * 60_000
/** Kept at the same time; the oldest go first. */
const mostSessions = 2_000
/** Of their bodies, as JSON text. Everybody may begin a session, and nobody need go on with it. */
const mostLength = 4_000_000

const sessionsOf = local(() => new Map<string, Session>())

export interface Authenticated<Body> {
  /** the body of the request that began it */
  readonly body: Body
  /** what the client sent for a stage */
  readonly stages: ReadonlyMap<string, JsonObject>
}

/**
 * Resolves when a flow is complete; its session is used up then. Errors: 401 with `flows`, `params` and `session`, and with M_FORBIDDEN after
 * a wrong answer; M_UNKNOWN (400) for a session that does not exist, has expired, or began with another request.
 */
export async function authenticateInteractively<Body>(instance: Instance, request: Authentication<Body>): Promise<Authenticated<Body>> {
  const sessions = sessionsOf(instance)
  const { auth } = request
  const named = auth?.['session']
  const id = typeof named === 'string' ? named : begin(instance, sessions, request)
  const session = sessions.get(id)
  if (!session || session.purpose !== request.purpose || session.expiresAt < instance.ports.now()) {
    throw new MatrixError('M_UNKNOWN', 'Unknown session ID', {}, 400)
  }
  const type = auth?.['type']
  if (auth && typeof type === 'string' && !session.completed.has(type)) {
    const check = request.flows.some((stages) => stages.includes(type)) ? request.checks[type] : undefined
    if (!check) throw challenge(request, id, session, new MatrixError('M_UNRECOGNIZED', `Unknown stage ${type}`))
    try {
      await check(auth)
    } catch (error) {
      throw error instanceof MatrixError && error.errcode === 'M_FORBIDDEN' ? challenge(request, id, session, error) : error
    }
    session.completed.set(type, auth)
  }
  const complete = request.flows.some((stages) => stages.every((stage) => session.completed.has(stage)))
  // Gone when a request at the same time completed it: a session is used once.
  if (complete && !sessions.delete(id)) throw new MatrixError('M_UNKNOWN', 'Unknown session ID', {}, 400)
  if (!complete) throw challenge(request, id, session, null)
  return { body: session.body as Body, stages: session.completed }
}

function begin<Body>(instance: Instance, sessions: Map<string, Session>, request: Authentication<Body>): string {
  const now = instance.ports.now()
  const { length } = JSON.stringify(request.body)
  let held = length
  for (const session of sessions.values()) held += session.length
  for (const [id, session] of sessions) {
    if (session.expiresAt >= now && sessions.size < mostSessions && held <= mostLength) break
    sessions.delete(id)
    held -= session.length
  }
  const id = newSecret(instance.ports)
  sessions.set(id, { purpose: request.purpose, body: request.body, completed: new Map(), expiresAt: now + lifetimeMs, length })
  return id
}

/** "The first answer has no errcode": its absence tells clients that nothing went wrong yet. */
function challenge(request: Authentication<unknown>, id: string, session: Session, wrong: MatrixError | null): MatrixError {
  const fields = {
    flows: request.flows.map((stages) => ({ stages })),
    params: {},
    session: id,
    ...(session.completed.size > 0 || wrong ? { completed: [...session.completed.keys()] } : {}),
    ...(wrong ? {} : { errcode: undefined, error: undefined }),
  }
  return new MatrixError(wrong?.errcode ?? 'M_FORBIDDEN', wrong?.message ?? 'More authentication is needed', fields, 401)
}
