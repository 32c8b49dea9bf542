/** Whatever goes wrong becomes `{errcode, error, ...fields}`. https://spec.matrix.org/v1.19/client-server-api/#standard-error-response */
import { MatrixError } from '../src/errors.ts'

/** "CORS on every answer, errors included": https://spec.matrix.org/v1.19/client-server-api/#web-browser-clients */
export const corsHeaders = {
  'access-control-allow-origin': '*',
  'access-control-allow-methods': 'GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS',
  'access-control-allow-headers': 'X-Requested-With, Content-Type, Authorization, Date, Range, If-None-Match',
  'access-control-expose-headers': 'Retry-After, ETag, Content-Disposition, Content-Length, Content-Range, X-Request-Id',
} as const

/** Browsers ask again after a day; they keep it for two hours at most anyway. */
export const preflightHeaders = { ...corsHeaders, 'access-control-max-age': '86400' } as const

export interface Failure {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Readonly<Record<string, unknown>>
  /** nobody foresaw it: log it with its stack */
  readonly unexpected: boolean
}

export function failureOf(error: unknown): Failure {
  const known = error instanceof MatrixError ? error : fromFramework(error)
  if (!known) {
    return { status: 500, headers: {}, body: { errcode: 'M_UNKNOWN', error: 'Internal server error' }, unexpected: true }
  }
  const waitMs = known.fields['retry_after_ms']
  return {
    status: known.status,
    // "Servers SHOULD set the Retry-After header": whole seconds, never too early
    headers: typeof waitMs === 'number' ? { 'retry-after': String(Math.max(1, Math.ceil(waitMs / 1_000))) } : {},
    body: { errcode: known.errcode, error: known.message, ...known.fields },
    unexpected: known.status === 500,
  }
}

/** Fastify's own refusals, by their status: too large a body, a length that does not fit, a path that cannot be decoded. */
function fromFramework(error: unknown): MatrixError | null {
  if (!(error instanceof Error) || !('statusCode' in error) || !('code' in error) || !String(error.code).startsWith('FST_')) return null
  if (error.statusCode === 413) return new MatrixError('M_TOO_LARGE', 'The request body is too large')
  if (error.code === 'FST_ERR_BAD_URL') return new MatrixError('M_INVALID_PARAM', 'The path is not valid percent-encoded UTF-8')
  if (error.statusCode === 414) return new MatrixError('M_INVALID_PARAM', 'A part of the path is too long')
  if (error.statusCode === 400) return new MatrixError('M_NOT_JSON', 'The request body was cut off')
  return null
}

export function unrecognized(): MatrixError {
  return new MatrixError('M_UNRECOGNIZED', 'Unrecognized request')
}

export function wrongMethod(): MatrixError {
  return new MatrixError('M_UNRECOGNIZED', 'Unrecognized request method', {}, 405)
}
